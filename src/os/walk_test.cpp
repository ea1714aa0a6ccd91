#include "os/walk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "os/file.h"

namespace forerun::os {
namespace {

class WalkTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-walk-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { ASSERT_TRUE(remove_tree(folder_)); }
  void put(const std::string& name) {
    ASSERT_TRUE(write_file_atomic(folder_ + "/" + name, as_bytes(name)));
  }
  std::string folder_;
};

TEST_F(WalkTest, RemovesATreeAndFollowsNoLink) {
  ASSERT_TRUE(make_folders(folder_ + "/tree/a/b"));
  put("kept");
  put("tree/a/b/file");
  ASSERT_EQ(::symlink(folder_.c_str(), (folder_ + "/tree/a/link").c_str()), 0);
  ASSERT_TRUE(remove_tree(folder_ + "/tree"));
  EXPECT_FALSE(path_exists(folder_ + "/tree"));
  EXPECT_TRUE(path_exists(folder_ + "/kept"));
}

TEST_F(WalkTest, RemovingWhatIsNotThereIsNoError) { EXPECT_TRUE(remove_tree(folder_ + "/absent")); }

}  // namespace
}  // namespace forerun::os
