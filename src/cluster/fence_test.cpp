#include "cluster/fence.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/bytes.h"
#include "os/file.h"

namespace forerun::cluster {
namespace {

class FenceTest : public testing::Test {
 protected:
  FenceTest() {
    char name[] = "/tmp/forerun-fence-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~FenceTest() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<Fence> open(const std::string& scope = "etcd default") {
    return std::move(*Fence::open(folder_ + "/fence", scope));
  }

  std::string folder_;
};

TEST_F(FenceTest, RefusesTokensOlderThanTheNewest) {
  const auto fence = open();
  EXPECT_TRUE(fence->admit(5, "a move").has_value());
  EXPECT_TRUE(fence->admit(5, "a move").has_value());
  EXPECT_TRUE(fence->admit(7, "a move").has_value());
  EXPECT_EQ(fence->admit(6, "a move").error().code, ErrorCode::kDenied);
  EXPECT_EQ(fence->highest(), 7u);
}

TEST_F(FenceTest, RefusesAnActWithoutAToken) {
  EXPECT_EQ(open()->admit(0, "a move").error().code, ErrorCode::kDenied);
}

TEST_F(FenceTest, RemembersAcrossRestarts) {
  ASSERT_TRUE(open()->admit(9, "a move").has_value());
  EXPECT_EQ(open()->admit(8, "a move").error().code, ErrorCode::kDenied);
}

TEST_F(FenceTest, BeginsAnewInAnotherCluster) {
  ASSERT_TRUE(open("etcd one")->admit(9, "a move").has_value());
  EXPECT_TRUE(open("etcd two")->admit(1, "a move").has_value());
}

TEST_F(FenceTest, RefusesAFileThatIsNone) {
  for (const char* bad : {"", "etcd default", "etcd default x\n", "etcd default 7", "7 7x\n"}) {
    ASSERT_TRUE(os::write_file_atomic(folder_ + "/fence", as_bytes(bad)).has_value());
    const auto opened = Fence::open(folder_ + "/fence", "etcd default");
    ASSERT_FALSE(opened.has_value()) << bad;
    EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
  }
}

TEST_F(FenceTest, LetsNothingNewPassThatItCannotRemember) {
  const auto fence = open();
  std::filesystem::remove_all(folder_);
  EXPECT_FALSE(fence->admit(5, "a move").has_value());
  EXPECT_EQ(fence->highest(), 0u);
}

}  // namespace
}  // namespace forerun::cluster
