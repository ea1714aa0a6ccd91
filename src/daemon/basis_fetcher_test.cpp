#include "daemon/basis_fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "daemon/fetch_service.h"
#include "repository/delta_fixture.h"
#include "repository/memory_store.h"

namespace forerun::daemon {
namespace {

using namespace repository::testing;
using ::testing::HasSubstr;

// Counts what is asked of a store.
class CountedSource final : public repository::Source {
 public:
  explicit CountedSource(repository::Source& source) : source_(source) {}
  Result<Buffer> fetch(const std::string& path, size_t size_max) override {
    {
      const std::lock_guard lock(mutex_);
      ++asked_[path];
    }
    return source_.fetch(path, size_max);
  }
  Result<std::vector<std::string>> list_images() override { return source_.list_images(); }
  std::string_view name() const override { return source_.name(); }
  int asked(const ChunkId& id) {
    const std::lock_guard lock(mutex_);
    return asked_[repository::chunk_path(id)];
  }

 private:
  repository::Source& source_;
  std::mutex mutex_;
  std::map<std::string, int> asked_;
};

struct BasisFetcherTest : testing::Test {
  BasisFetcherTest() {
    tier = *tier::Tier::open({.memory_bytes_max = 64 * repository::kChunkSize, .file_bytes_max = 0},
                             nullptr, nullptr);
    service.emplace(FetchService::Options{.threads_per_source = 8}, clock, *tier,
                    std::vector<repository::Source*>{&near, &far},
                    [this](const prefetch::FetchEnd& end) { fetched_bytes += end.fetched_bytes; });
  }
  Result<repository::ChunkPtr> get(const repository::ChunkRef& ref) {
    auto got = service->get(std::span(&ref, 1), VmId{1});
    if (!got) return std::unexpected(got.error());
    return got->front();
  }

  const ToldByTwo told;
  ManualClock clock;
  repository::MemoryStore near_store, far_store;
  CountedSource near{near_store}, far{far_store};
  std::unique_ptr<tier::Tier> tier;
  std::atomic<uint64_t> fetched_bytes = 0;
  std::optional<FetchService> service;
};

TEST_F(BasisFetcherTest, BringsADeltaWithItsBasesAndCountsThem) {
  told.put(near_store);
  const auto got = get(told.ref);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ((*got)->content, told.chunk->content);
  EXPECT_EQ(tier->where(told.first->id), tier::Level::kMemory);
  EXPECT_EQ(tier->where(told.second->id), tier::Level::kMemory);
  service.reset();  // what ended is counted
  EXPECT_EQ(fetched_bytes, told.stored.size() + 2 * repository::kStoredSizeMax);
}

TEST_F(BasisFetcherTest, FetchesNoBasisThatIsHere) {
  told.put(near_store);
  tier->insert(told.first, tier::Admission::kDemand);
  tier->insert(told.second, tier::Admission::kDemand);
  ASSERT_TRUE(get(told.ref));
  EXPECT_EQ(near.asked(told.first->id), 0);
  service.reset();
  EXPECT_EQ(fetched_bytes, told.stored.size());
}

TEST_F(BasisFetcherTest, TakesABasisFromAnotherSource) {
  told.put(near_store);
  ASSERT_TRUE(*near_store.remove(repository::chunk_path(told.second->id), Nanos::max()));
  put_whole(far_store, told.second);
  ASSERT_TRUE(get(told.ref));
  EXPECT_EQ(far.asked(told.first->id), 0);
  EXPECT_EQ(far.asked(told.second->id), 1);
}

TEST_F(BasisFetcherTest, SaysWhichBasisIsMissing) {
  told.put(near_store);
  ASSERT_TRUE(*near_store.remove(repository::chunk_path(told.second->id), Nanos::max()));
  BasisFetcher fetcher(*tier, {&near});
  uint64_t bytes = 0;
  const auto got = fetcher.get(whole_ref(told.second), 0, tier::Admission::kDemand, bytes);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(got.error().message, HasSubstr(told.second->id.hex()));
  EXPECT_EQ(bytes, 0u);
}

TEST_F(BasisFetcherTest, FetchesOnceForManyWhoWaitAndEndsThemAll) {
  told.put(near_store);
  BasisFetcher fetcher(*tier, {&near});
  std::atomic<uint64_t> bytes = 0;
  std::atomic<int> got = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        uint64_t mine = 0;
        got += fetcher.get(whole_ref(told.first), 0, tier::Admission::kDemand, mine).has_value();
        bytes += mine;
      });
  }
  EXPECT_EQ(got, 8);
  EXPECT_EQ(near.asked(told.first->id), 1);
  EXPECT_EQ(bytes, repository::kStoredSizeMax);
}

}  // namespace
}  // namespace forerun::daemon
