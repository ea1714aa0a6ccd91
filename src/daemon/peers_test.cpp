#include "daemon/peers.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace forerun::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class PeersTest : public testing::Test {
 protected:
  PeersTest() {
    char name[] = "/tmp/forerun-peers-XXXXXX";
    config_ = default_config();
    config_.state_dir = folder_ = mkdtemp(name);
    config_.cluster_store = "etcd";
    config_.hosts = {{"b", "10.0.0.2:7070"}};
  }
  ~PeersTest() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<Peers> open() { return std::move(*Peers::open(config_)); }

  std::string folder_;
  Config config_;
};

TEST_F(PeersTest, KnowsTheHostsOfTheClusterBesideThoseOfTheConfiguration) {
  const auto peers = open();
  peers->learn({{"b", "10.9.9.9:1"}, {"c", "10.0.0.3:7070"}});
  EXPECT_THAT(peers->hosts(),
              ElementsAre(HostConfig{"b", "10.0.0.2:7070"}, HostConfig{"c", "10.0.0.3:7070"}));
  peers->learn({});
  EXPECT_THAT(peers->hosts(), ElementsAre(HostConfig{"b", "10.0.0.2:7070"}));
}

TEST_F(PeersTest, KnowsThemAfterARestartWithoutTheStore) {
  open()->learn({{"c", "10.0.0.3:7070"}, {"d", "[fd00::4]:7070"}});
  EXPECT_THAT(open()->hosts(),
              ElementsAre(HostConfig{"b", "10.0.0.2:7070"}, HostConfig{"c", "10.0.0.3:7070"},
                          HostConfig{"d", "[fd00::4]:7070"}));
  config_.cluster_store = "sqlite";
  EXPECT_THAT(open()->hosts(), ElementsAre(HostConfig{"b", "10.0.0.2:7070"}));
}

TEST_F(PeersTest, PassesOverWhatIsNoHost) {
  config_.hosts.clear();
  const auto peers = open();
  peers->learn(
      {{"../x", "10.0.0.3:7070"}, {"c", "nowhere"}, {"d", "10.0.0.3\n:7070"}, {"e", "h:0"}});
  EXPECT_THAT(peers->hosts(), IsEmpty());
  std::ofstream(folder_ + "/peers") << "c 10.0.0.3:7070\nnonsense\n\nd\n";
  EXPECT_THAT(open()->hosts(), ElementsAre(HostConfig{"c", "10.0.0.3:7070"}));
}

TEST_F(PeersTest, SaysWhyAHostCannotBeReached) {
  const auto peers = open();
  EXPECT_EQ(peers->connect("z").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(peers->connect("b").error().code, ErrorCode::kUnsupported);  // no certificate
}

}  // namespace
}  // namespace forerun::daemon
