#include "daemon/fetch_service.h"

#include <gtest/gtest.h>

#include "core/codec.h"
#include "repository/memory_store.h"
#include "repository/put_chunk.h"

namespace forerun::daemon {
namespace {

constexpr VmId kVm{1};

class FetchServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    tier_ = *tier::Tier::open(
        {.memory_bytes_max = 64 * repository::kChunkSize, .file_bytes_max = 0}, nullptr, nullptr);
    service_.emplace(FetchService::Options{.threads_per_source = 8, .abandoned_vms_max = 4}, clock_,
                     *tier_, std::vector<repository::Source*>{&store_},
                     [](const prefetch::FetchEnd&) {});
  }

  // Returns a chunk that the store has.
  repository::ChunkRef stored(uint64_t seed) {
    ByteWriter writer;
    for (uint64_t i = 0; i < 512; ++i) writer.u64(seed + i);
    const Buffer content = writer.take();
    return repository::put_chunk(store_, sha256(content), content, 1)->ref;
  }
  Result<std::vector<repository::ChunkPtr>> get(const repository::ChunkRef& chunk, VmId vm) {
    return service_->get(std::span(&chunk, 1), vm);
  }

  ManualClock clock_;
  repository::MemoryStore store_;
  std::unique_ptr<tier::Tier> tier_;
  std::optional<FetchService> service_;
};

TEST_F(FetchServiceTest, BringsWhatIsAskedForIntoTheTier) {
  const repository::ChunkRef chunk = stored(1);
  const auto got = get(chunk, kVm);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->front()->id, chunk.id);
  EXPECT_EQ(tier_->where(chunk.id), tier::Level::kMemory);
}

TEST_F(FetchServiceTest, RefusesReadsOfAbandonedVms) {
  service_->abandon(kVm);
  const auto got = get(stored(1), kVm);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(get(stored(1), VmId{2}));
}

TEST_F(FetchServiceTest, RemembersTheLastVmsThatWereAbandoned) {
  for (uint32_t vm = 1; vm <= 5; ++vm) service_->abandon(VmId{vm});
  EXPECT_TRUE(get(stored(1), VmId{1}));
  for (uint32_t vm = 2; vm <= 5; ++vm) EXPECT_FALSE(get(stored(2), VmId{vm}));
}

TEST_F(FetchServiceTest, ServesNobodyOnceStopped) {
  service_->stop();
  const auto got = get(stored(1), kVm);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forerun::daemon
