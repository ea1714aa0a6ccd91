#include "os/waiting_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "os/file.h"

namespace forerun::os {
namespace {

class WaitingFileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-waiting-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    ASSERT_TRUE(write_file_atomic(folder_ + "/a", as_bytes("old")));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string content() const { return std::string(as_text(*read_file(folder_ + "/a", 100))); }
  std::string folder_;
};

TEST_F(WaitingFileTest, TakesItsPlaceWhenItIsToldTo) {
  auto waiting = WaitingFile::write(folder_, "a", as_bytes("new"));
  ASSERT_TRUE(waiting);
  EXPECT_EQ(content(), "old");
  WaitingFile moved = std::move(*waiting);
  EXPECT_TRUE(moved.take_place());
  EXPECT_EQ(content(), "new");
  EXPECT_EQ(list_folder(folder_), std::vector<std::string>{"a"});
}

TEST_F(WaitingFileTest, OneThatNeverDidLeavesNothing) {
  ASSERT_TRUE(WaitingFile::write(folder_, "a", as_bytes("new")));
  EXPECT_EQ(content(), "old");
  EXPECT_EQ(list_folder(folder_), std::vector<std::string>{"a"});
}

TEST_F(WaitingFileTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_FALSE(WaitingFile::write(folder_ + "/none", "a", as_bytes("new")));
}

}  // namespace
}  // namespace forerun::os
