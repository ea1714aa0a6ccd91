#include "daemon/cluster_config.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace forerun::daemon {
namespace {

constexpr const char* kWhole = R"(
[cluster]
store = "etcd"
name = "north"
host = "h1"
zone = "z1"
address = "10.0.0.1:7070"
labels = ["rack=7", "gpu="]
lease_seconds = 5
endpoints = ["https://10.0.0.1:2379", "https://[::1]:2379"]
ca = "/etc/ca.pem"
certificate = "/etc/c.pem"
key = "/etc/k.pem"
)";

class ClusterConfigTest : public testing::Test {
 protected:
  ClusterConfigTest() {
    char name[] = "/tmp/forerun-cluster-XXXXXX";
    config_ = default_config();
    config_.state_dir = folder_ = mkdtemp(name);
    config_.run_dir = "/run/forerun";
  }
  ~ClusterConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string why(const std::string& lines) {
    Config config = config_;
    Status status = apply_toml(config, "[cluster]\n" + lines, "f.toml");
    if (status) status = check(config);
    return status ? "nothing" : status.error().message;
  }

  std::string folder_;
  Config config_;
};

TEST_F(ClusterConfigTest, ReadsTheWholeSection) {
  ASSERT_TRUE(apply_toml(config_, kWhole, "f.toml").has_value());
  EXPECT_TRUE(check(config_).has_value());
  const auto host = describe_host(config_);
  ASSERT_TRUE(host.has_value()) << host.error().message;
  EXPECT_EQ(host->name, "h1");
  EXPECT_EQ(host->zone, "z1");
  EXPECT_EQ(host->address, "10.0.0.1:7070");
  EXPECT_EQ(host->labels, (std::map<std::string, std::string>{{"rack", "7"}, {"gpu", ""}}));
  EXPECT_GE(host->cpus, 1u);
  EXPECT_EQ(config_.cluster_endpoints.size(), 2u);
}

TEST_F(ClusterConfigTest, SaysWhatIsWrong) {
  EXPECT_EQ(why("store = \"zookeeper\"\n"), "cluster.store is one of sqlite, etcd");
  EXPECT_EQ(why("store = \"etcd\"\n"), "cluster.endpoints are needed with etcd");
  EXPECT_THAT(why("store = \"etcd\"\nendpoints = [\"10.0.0.1:2379\"]\n"),
              testing::HasSubstr("is not http://HOST:PORT"));
  EXPECT_EQ(why("store = \"etcd\"\nendpoints = [\"https://a:1\"]\n"),
            "cluster.ca is needed for https");
  EXPECT_EQ(why("store = \"etcd\"\nendpoints = [\"http://a:1\"]\nkey = \"/k\"\n"),
            "cluster.key and cluster.certificate go together");
  EXPECT_EQ(why("store = \"etcd\"\nendpoints = [\"http://a:1\"]\nca = \"ca.pem\"\n"),
            "cluster.ca must be an absolute path");
  EXPECT_EQ(why("host = \"../a\"\n"), "cluster.host cannot name a host");
  EXPECT_EQ(why("name = \"a/b\"\n"), "cluster.name is no name");
  EXPECT_EQ(why("zone = \"\"\n"), "cluster.zone is no name");
  EXPECT_EQ(why("address = \"a\"\n"), "cluster.address must be ADDRESS:PORT");
  EXPECT_EQ(why("lease_seconds = 2\n"), "cluster.lease_seconds must be in 3 … 600");
  EXPECT_EQ(why("labels = [\"rack\"]\n"), "cluster.labels must be NAME=VALUE");
  EXPECT_EQ(why("lease_seconds = 3\n"), "nothing");
}

TEST_F(ClusterConfigTest, KeepsTheIdOfAStateFolder) {
  const auto first = describe_host(config_);
  const auto again = describe_host(config_);
  EXPECT_GE(first->id.size(), 32u);
  EXPECT_EQ(first->id, again->id);
  std::filesystem::remove(folder_ + "/host_id");
  EXPECT_NE(describe_host(config_)->id, first->id);
}

TEST_F(ClusterConfigTest, OpensTheStoreThatIsAskedFor) {
  ManualClock clock;
  const auto sqlite = open_cluster_store(config_, clock);
  ASSERT_TRUE(sqlite.has_value()) << sqlite.error().message;
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/cluster.db"));
  // etcd is not asked before the first call.
  config_.cluster_store = "etcd";
  config_.cluster_endpoints = {"http://127.0.0.1:1"};
  EXPECT_TRUE(open_cluster_store(config_, clock).has_value());
}

}  // namespace
}  // namespace forerun::daemon
