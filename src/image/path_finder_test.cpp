#include "image/path_finder.h"

#include <gtest/gtest.h>

#include "image/memory_file_system.h"

namespace forerun::image {
namespace {

struct PathFinderTest : testing::Test {
  PathFinderTest() {
    files.add_file("/usr/lib/x/a.so", "content");
    files.add_link("/lib", "usr/lib");
    files.add_link("/usr/lib/y", "/lib/x/./../x");
    files.add_link("/loop", "/loop");
    files.add_link("/out", "../../../../usr/lib/x/a.so");
  }
  MemoryFileSystem files;
  PathFinder finder{files};
};

TEST_F(PathFinderTest, FollowsRelativeAndAbsoluteLinks) {
  const auto found = finder.find("/lib/y/a.so");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->path, "/usr/lib/x/a.so");
  EXPECT_EQ(found->file, files.id_of("/usr/lib/x/a.so"));
  EXPECT_EQ(found->passed.front(), files.root());
}

TEST_F(PathFinderTest, LinksNeverLeadOutOfTheRoot) {
  const auto found = finder.find("/out");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, "/usr/lib/x/a.so");
}

TEST_F(PathFinderTest, CirclesEnd) {
  EXPECT_EQ(finder.find("/loop").error().code, ErrorCode::kTooLarge);
}

TEST_F(PathFinderTest, SaysWhatIsMissing) {
  EXPECT_EQ(finder.find("/usr/none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(finder.find("/usr/lib/x/a.so/b").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(finder.find("usr").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(finder.find("/")->path, "/");
}

}  // namespace
}  // namespace forerun::image
