#include "daemon/agent_ports.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "os/clock.h"
#include "os/socket.h"

namespace forerun::daemon {
namespace {

// A socket as QEMU has it; the test is the guest.
class AgentPortsTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/agent-ports-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/agent.sock";
    auto listener = os::listen_unix(path_);
    ASSERT_TRUE(listener.has_value());
    listener_ = std::move(*listener);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<os::SocketStream> accept() {
    auto fd = os::accept_connection(listener_.get(), 10s);
    EXPECT_TRUE(fd.has_value());
    return std::make_unique<os::SocketStream>(std::move(*fd));
  }
  static std::string line(uint64_t sequence, const std::string& instance = "i") {
    telemetry::Profile profile;
    profile.instance = instance;
    profile.sequence = profile.monotonic_ns = sequence;
    profile.period_ms = 1000;
    profile.pressure.emplace().io_some = 0.5;
    return telemetry::write_profile(profile) + "\n";
  }
  template <typename Done>
  api::VmProfile wait_for(const AgentPorts& ports, const Done& done) {
    const Time deadline = clock_.now() + 10s;
    api::VmProfile profile;
    do {
      if (auto found = ports.profile("a")) profile = *found;
      if (done(profile)) return profile;
      std::this_thread::yield();
    } while (clock_.now() < deadline);
    ADD_FAILURE() << "not in time";
    return profile;
  }

  os::SystemClock clock_;
  std::string folder_, path_;
  os::Fd listener_;
};

TEST_F(AgentPortsTest, TakesProfilesCountsNonsenseAndComesBack) {
  AgentPorts ports(clock_, {});
  EXPECT_FALSE(ports.profile("a").has_value());
  ports.open("a", VmId{1}, path_, {});
  auto guest = accept();
  ASSERT_TRUE(guest->write_bytes(as_bytes(line(1) + "nonsense\n" + line(2))).has_value());
  const auto profile = wait_for(ports, [](const auto& now) { return now.taken == 2; });
  EXPECT_TRUE(profile.is_connected);
  ASSERT_EQ(profile.refused.size(), 1u);
  EXPECT_EQ(profile.refused[0].reason, "not_json");
  EXPECT_EQ(profile.window.size(), 3u);
  EXPECT_NE(profile.profile_json.find("\"sequence\":2"), std::string::npos);

  guest.reset();  // QEMU was cut off: the daemon connects again
  guest = accept();
  ASSERT_TRUE(guest->write_bytes(as_bytes(line(3))).has_value());
  wait_for(ports, [](const auto& now) { return now.taken == 3; });
  ports.close("a");
  EXPECT_FALSE(ports.profile("a")->is_connected);
  EXPECT_EQ(ports.profile("a")->taken, 3u);
  ports.forget("a");
  EXPECT_FALSE(ports.profile("a").has_value());
}

TEST_F(AgentPortsTest, TellsEachAgentThatBeginsWhatIsAsked) {
  AgentPorts ports(clock_, {});
  const telemetry::Control first{500, {}}, second{500, telemetry::Metrics{0b10}};
  const auto hear = [](os::SocketStream& guest, const telemetry::Control& asked) {
    const std::string said = telemetry::write_control(asked) + "\n";
    Buffer heard(said.size());
    ASSERT_TRUE(guest.read_exact(heard).has_value());
    EXPECT_EQ(as_text(heard), said);
  };
  ports.open("a", VmId{1}, path_, first);
  auto guest = accept();
  hear(*guest, first);
  ports.ask("a", second);
  hear(*guest, second);
  ASSERT_TRUE(guest->write_bytes(as_bytes(line(1))).has_value());
  hear(*guest, second);  // an agent that began behind the same connection
  ASSERT_TRUE(guest->write_bytes(as_bytes(line(2) + line(1, "other"))).has_value());
  hear(*guest, second);
  guest.reset();
  guest = accept();
  hear(*guest, second);
  EXPECT_EQ(ports.profile("a")->asked, second);
}

TEST_F(AgentPortsTest, AGuestThatHearsNothingHoldsNobodyUp) {
  AgentPorts ports(clock_, {});
  ports.open("deaf", VmId{1}, path_, {500, {}});
  auto guest = accept();  // and never reads
  for (uint64_t i = 0; i < 20'000; ++i) ports.ask("deaf", {100 + i, {}});
  ASSERT_TRUE(guest->write_bytes(as_bytes(line(1))).has_value());
  const Time deadline = clock_.now() + 10s;
  while (ports.profile("deaf")->taken == 0 && clock_.now() < deadline) std::this_thread::yield();
  EXPECT_EQ(ports.profile("deaf")->taken, 1u);
  EXPECT_EQ(ports.profile("deaf")->asked.period_ms, 20'099u);
}

TEST_F(AgentPortsTest, SaysHowTheGuestOfThisVmBehaves) {
  std::mutex mutex;
  std::map<uint32_t, float> heard;  // by VM: the share of I/O pressure
  AgentPorts ports(clock_, [&](VmId vm, const telemetry::BehaviourVector& settled) {
    const std::lock_guard lock(mutex);
    heard[vm.value] = settled.of(telemetry::Behaviour::kPressureIo);
  });
  ports.open("a", VmId{7}, path_, {});
  auto guest = accept();
  ASSERT_TRUE(guest->write_bytes(as_bytes(line(1))).has_value());
  wait_for(ports, [&](const auto&) {
    const std::lock_guard lock(mutex);
    return !heard.empty();
  });
  EXPECT_EQ(heard, (std::map<uint32_t, float>{{7, 0.5f}}));
}

TEST_F(AgentPortsTest, AVmWithoutAPortHasNoProfile) {
  AgentPorts ports(clock_, {});
  ports.open("old", VmId{1}, "", {});
  EXPECT_EQ(ports.profile("old").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace forerun::daemon
