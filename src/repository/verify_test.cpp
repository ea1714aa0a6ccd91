#include "repository/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repository/memory_store.h"
#include "repository/store_fixture.h"

namespace forerun::repository {
namespace {

using ::testing::ElementsAre;
using namespace repository::testing;

VerifyReport verified(Source& source, const VerifyOptions& options = {}) {
  auto report = verify(source, image_kinds(), options);
  EXPECT_TRUE(report) << report.error().message;
  return report ? *report : VerifyReport{};
}

TEST(Verify, FindsNothingWrongWithAWholeRepository) {
  MemoryStore store;
  put_image(store, "one", "abc.a");
  put_image(store, "two", "bcd");

  const VerifyReport report = verified(store);

  EXPECT_TRUE(report.problems.empty());
  EXPECT_EQ(report.totals.objects_checked, 4u);
  EXPECT_EQ(report.totals.chunks_total, 4u);
  EXPECT_EQ(report.totals.chunks_checked, 4u);
  EXPECT_GT(report.totals.bytes_read, 0u);
}

TEST(Verify, OfAnEmptyRepositoryHasNothingToSay) {
  MemoryStore store;
  EXPECT_EQ(verified(store).totals, VerifyProgress{});
}

TEST(Verify, NamesAMissingChunkAndEveryImageThatNeedsIt) {
  MemoryStore store;
  put_image(store, "one", "ab");
  put_image(store, "three", "xy");
  put_image(store, "two", "bc");
  ASSERT_TRUE(*store.remove(path_of('b'), Nanos::max()));

  const VerifyReport report = verified(store);

  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0].path, path_of('b'));
  EXPECT_EQ(report.problems[0].error.code, ErrorCode::kNotFound);
  EXPECT_THAT(report.problems[0].needed_by, ElementsAre("images/one.json", "images/two.json"));
  EXPECT_EQ(report.problems[0].needed_by_count, 2u);
}

TEST(Verify, NamesAChunkWithAnotherContent) {
  MemoryStore store;
  put_image(store, "one", "ab");
  store.spoil(path_of('a'), chunk_of('b').stored);

  const VerifyReport report = verified(store);

  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0].path, path_of('a'));
  EXPECT_EQ(report.problems[0].error.code, ErrorCode::kCorrupt);
}

TEST(Verify, TakesAChunkThatIsPackedInAnotherWay) {
  MemoryStore store;
  put_image(store, "one", "a");
  Buffer as_it_is(1);
  as_it_is.resize(1 + kChunkSize, std::byte{'a'});
  store.spoil(path_of('a'), as_it_is);

  EXPECT_TRUE(verified(store).problems.empty());
}

TEST(Verify, NamesAMissingIndexAndGoesOn) {
  MemoryStore store;
  put_image(store, "one", "ab");
  put_tag(store, "two", "cd");

  const VerifyReport report = verified(store);

  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0].path, index_path(digest_of("cd")));
  EXPECT_THAT(report.problems[0].needed_by, ElementsAre("images/two.json"));
  EXPECT_EQ(report.totals.chunks_checked, 2u);
}

TEST(Verify, NamesDamagedTagsAndIndexes) {
  MemoryStore store;
  put_image(store, "one", "ab");
  put_image(store, "two", "cd");
  store.spoil("images/one.json", Buffer(10));
  store.spoil(index_path(digest_of("cd")), serialize(index_of("ab")));

  const VerifyReport report = verified(store);

  ASSERT_EQ(report.problems.size(), 2u);
  EXPECT_EQ(report.problems[0].path, "images/one.json");
  EXPECT_EQ(report.problems[1].path, index_path(digest_of("cd")));
  EXPECT_EQ(report.problems[1].error.code, ErrorCode::kCorrupt);
}

TEST(Verify, GoesOnWhereItWasStopped) {
  MemoryStore store;
  const std::string letters = "abcdefghijklmnopqrstuvwxyz";
  put_image(store, "one", letters);
  for (const char letter : letters) store.spoil(path_of(letter), Buffer(3));
  VerifyOptions options{.batch_chunks = 4};
  std::string cursor;
  options.on_progress = [&](const VerifyProgress& progress) -> Status {
    cursor = progress.cursor;
    if (progress.chunks_checked >= 12) return fail(ErrorCode::kTimedOut, "enough");
    return {};
  };
  ASSERT_EQ(verify(store, image_kinds(), options).error().message, "enough");
  options.cursor = cursor;
  options.on_progress = nullptr;

  const VerifyReport rest = verified(store, options);

  EXPECT_EQ(rest.problems.size(), letters.size() - 12);
  EXPECT_EQ(rest.totals.chunks_checked, letters.size());
}

TEST(Verify, CountsWhatItDoesNotList) {
  MemoryStore store;
  put_image(store, "one", "abcdef");
  for (const char letter : std::string("abcdef")) store.spoil(path_of(letter), {});

  const VerifyReport report = verified(store, {.problems_max = 2});

  EXPECT_EQ(report.problems.size(), 2u);
  EXPECT_EQ(report.totals.problems, 6u);
}

// A source that has gone says nothing about what it holds.
class GoneSource final : public Source {
 public:
  explicit GoneSource(MemoryStore& store) : store_(store) {}
  Result<Buffer> fetch(const std::string& path, size_t size_max) override {
    if (path.starts_with("chunks/")) return fail(ErrorCode::kUnavailable, "no route");
    return store_.fetch(path, size_max);
  }
  Result<std::vector<std::string>> list_images() override { return store_.list_images(); }
  std::string_view name() const override { return "gone"; }

 private:
  MemoryStore& store_;
};

TEST(Verify, CallsNothingDamagedThatItCannotReach) {
  MemoryStore store;
  put_image(store, "one", "ab");
  GoneSource gone(store);
  const auto report = verify(gone, image_kinds(), {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forerun::repository
