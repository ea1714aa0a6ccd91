#include "repository/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repository/memory_store.h"
#include "repository/store_fixture.h"
#include "repository/verify.h"

namespace forerun::repository {
namespace {

using namespace repository::testing;
using ::testing::HasSubstr;

struct ExportTest : ::testing::Test {
  ExportTest() {
    put_image(store, "one", "abc.a");
    put_image(store, "two", "bcd");
    put_chunks(store, "e");  // nothing leads to it
    EXPECT_TRUE(store.put("priors/" + digest_of("bcd").hex(), Buffer(9)));
  }
  Result<ExportProgress> exported(const std::vector<std::string>& roots) {
    return export_tree(store, target, image_kinds(), {.roots = roots});
  }
  MemoryStore store, target;
};

TEST_F(ExportTest, CopiesWhatANameLeadsToAndNothingElse) {
  const auto done = exported({"images/two.json"});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->objects_done, 6u);  // tag, index, prior, three chunks
  EXPECT_EQ(done->objects_total, 6u);
  EXPECT_EQ(target.objects().size(), 6u);
  EXPECT_TRUE(verify(target, image_kinds(), {})->problems.empty());
  EXPECT_EQ(target.list_images(), std::vector<std::string>{"two"});
}

TEST_F(ExportTest, PutsTagsLast) {
  ASSERT_TRUE(exported({"images/two.json", "images/one.json"}));
  const auto history = target.history();
  const auto tag = std::ranges::find(history, "images/one.json");
  ASSERT_NE(tag, history.end());
  for (const auto& [path, data] : target.objects())
    if (!path.starts_with("images/")) EXPECT_LT(std::ranges::find(history, path), tag) << path;
  EXPECT_EQ(*(tag - 1), "flush");
}

TEST_F(ExportTest, KeepsWhatIsThereAndReplacesWhatIsDamaged) {
  ASSERT_TRUE(exported({"images/two.json"}));
  target.spoil(path_of('c'), Buffer(5));
  const auto again = exported({"images/two.json"});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->objects_reused, 4u);
  EXPECT_TRUE(verify(target, image_kinds(), {})->problems.empty());
}

TEST_F(ExportTest, RefusesWhatIsDamagedOrMissing) {
  store.spoil(path_of('b'), chunk_of('a').stored);
  EXPECT_EQ(exported({"images/two.json"}).error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(target.contains("images/two.json"));
  ASSERT_TRUE(*store.remove(index_path(digest_of("abc.a")), Nanos::max()));
  const auto missing = exported({"images/one.json"});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("which images/one.json needs"));
  EXPECT_EQ(exported({"images/none.json"}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(exported({index_path(digest_of("bcd"))}).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace forerun::repository
