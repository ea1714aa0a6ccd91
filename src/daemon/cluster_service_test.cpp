#include "daemon/cluster_service.h"

#include <filesystem>

namespace forerun::daemon {
namespace {

// Without its threads: nothing registers, and the store is written as other hosts would.
class ClusterServiceTest : public testing::Test {
 protected:
  ClusterServiceTest() {
    char name[] = "/tmp/forerun-cluster-XXXXXX";
    config_ = default_config();
    config_.state_dir = folder_ = mkdtemp(name);
    config_.cluster_host = "a";
    service_ = std::move(*ClusterService::open(config_, clock_));
  }
  ~ClusterServiceTest() override { std::filesystem::remove_all(folder_); }

  // Makes `host` the leader; returns its token.
  uint64_t elect(const std::string& host) {
    const std::string key = service_->state().leader_key();
    cluster::StateStore& store = service_->state().store();
    [[maybe_unused]] const auto gone = store.commit({{}, {{key, std::nullopt}}});
    return static_cast<uint64_t>(
        store.commit({{}, {{key, encode(cluster::LeaderRecord{host, "id"})}}})->revision);
  }

  std::string folder_;
  ManualClock clock_;
  Config config_;
  std::unique_ptr<ClusterService> service_;
};

TEST_F(ClusterServiceTest, TakesActsOfTheLeaderOnly) {
  const uint64_t token = elect("b");
  EXPECT_EQ(service_->admit_from("c", token, "a move").error().code, ErrorCode::kDenied);
  EXPECT_EQ(service_->admit_from("b", token + 1, "a move").error().code, ErrorCode::kDenied);
  EXPECT_EQ(service_->admit_from("b", 0, "a move").error().code, ErrorCode::kDenied);
  EXPECT_TRUE(service_->admit_from("b", token, "a move").has_value());
}

TEST_F(ClusterServiceTest, IsNotShutOffByATokenThatNobodyWon) {
  const uint64_t token = elect("b");
  EXPECT_FALSE(service_->admit_from("c", UINT64_MAX, "a move").has_value());
  EXPECT_EQ(service_->info().fence_token, 0u);
  EXPECT_TRUE(service_->admit_from("b", token, "a move").has_value());
}

TEST_F(ClusterServiceTest, RefusesALeaderThatIsNoneAnyMoreAlsoAfterARestart) {
  const uint64_t first = elect("b");
  ASSERT_TRUE(service_->admit_from("b", first, "a move").has_value());
  const uint64_t second = elect("c");
  ASSERT_TRUE(service_->admit_from("c", second, "a move").has_value());
  EXPECT_EQ(service_->admit_from("b", first, "a move").error().code, ErrorCode::kDenied);
  service_.reset();
  service_ = std::move(*ClusterService::open(config_, clock_));
  EXPECT_EQ(service_->admit_from("b", first, "a move").error().code, ErrorCode::kDenied);
  EXPECT_EQ(service_->info().fence_token, second);
}

TEST_F(ClusterServiceTest, LeadsNothingBeforeItIsStarted) {
  EXPECT_FALSE(service_->leadership().is_leader);
  EXPECT_FALSE(service_->info().is_registered);
  EXPECT_EQ(service_->info().store, "sqlite");
  EXPECT_TRUE(service_->hosts().empty());
}

}  // namespace
}  // namespace forerun::daemon
