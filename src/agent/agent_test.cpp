#include "agent/agent.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/port.h"
#include "telemetry/profile_json.h"

namespace forerun::agent {
namespace {

// A /proc and /sys of a test's own.
class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/agent-test-XXXXXX";
    root_ = ::mkdtemp(folder);
    put("/proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\ncpu1 1 1\n");
    put("/proc/meminfo", "MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\n");
    put("/proc/vmstat",
        "pgfault 1000\npgmajfault 100\nworkingset_refault_file 10\n"
        "workingset_refault_anon 5\npswpin 0\npswpout 0\n");
    put("/proc/diskstats",
        "  254 0 vda 100 0 800 50 10 0 80 20 0 500 70 0 0 0 0 0 0\n"
        "  254 1 vda1 100 0 800 50 10 0 80 20 0 500 70 0 0 0 0 0 0\n"
        "    7 0 loop0 9 0 9 9 9 0 9 9 0 9 9\n");
    put("/sys/block/vda/size", "1");
    put("/proc/net/dev",
        "Inter-| Receive\n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"
        "  eth0: 1000 10 0 1 0 0 0 0 500 5 0 0 0 0 0 0\n");
    for (const char* what : {"cpu", "memory", "io"})
      put(std::string("/proc/pressure/") + what,
          "some avg10=12.50 avg60=0.00 avg300=0.00 total=0\n"
          "full avg10=3.00 avg60=0.00 avg300=0.00 total=0\n");
    put("/proc/42/stat", process("a) (b", 100, 7));
    put("/proc/meminfo-not-a-pid/stat", "1 (x) S");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  static std::string process(const std::string& name, int ticks, int start, int threads = 1) {
    return fmt::format("42 ({}) S 1 1 1 0 -1 0 11 0 0 0 {} 0 0 0 20 0 {} 0 {} 4096 25 0\n", name,
                       ticks, threads, start);
  }
  Agent agent() {
    PageSources none;
    none.why_not = "none here";
    return Agent({.root = root_}, "i", none);
  }

  std::string root_;
};

TEST_F(AgentTest, SaysWhatHappenedInAPeriod) {
  Agent agent = this->agent();
  EXPECT_FALSE(agent.tick(Time{} + 1s, 0ms).has_value());
  put("/proc/stat", "cpu  150 0 150 890 0 0 0 10 0 0\ncpu0 1\ncpu1 1\n");
  put("/proc/42/stat", process("a) (b", 150, 7));
  put("/proc/diskstats", "  254 0 vda 110 0 880 70 10 0 80 20 0 1500 70 0 0 0 0 0 0\n");
  put("/proc/vmstat", "pgfault 1220\npgmajfault 120\nworkingset_refault_file 30\n");
  put("/proc/net/dev", "  eth0: 3000 10 0 1 0 0 0 0 500 5 0 0 0 0 0 0\n");
  const auto profile = agent.tick(Time{} + 3s, 1ms);
  ASSERT_TRUE(profile.has_value());
  EXPECT_EQ(profile->cpu->cores, 2u);
  EXPECT_NEAR(profile->cpu->busy_ratio, 0.55, 1e-9);
  EXPECT_NEAR(profile->cpu->steal_ratio, 0.05, 1e-9);
  ASSERT_EQ(profile->cpu->top.size(), 1u);
  EXPECT_EQ(profile->cpu->top[0].name, "a) (b");
  EXPECT_NEAR(profile->cpu->top[0].cores, 0.25, 1e-9);
  EXPECT_EQ(profile->cpu->top[0].rss_bytes, 25 * 4096u);
  EXPECT_EQ(profile->memory->available_bytes, 250 * 1024u);
  EXPECT_NEAR(profile->memory->minor_faults_per_s, 100, 1e-9);
  EXPECT_NEAR(profile->memory->major_faults_per_s, 10, 1e-9);
  EXPECT_NEAR(profile->memory->refaults_per_s, 7.5, 1e-9);
  ASSERT_EQ(profile->disks.size(), 1u);
  EXPECT_NEAR(profile->disks[0].reads_per_s, 5, 1e-9);
  EXPECT_NEAR(profile->disks[0].read_bytes_per_s, 40 * 512, 1e-9);
  EXPECT_NEAR(profile->disks[0].read_latency_us, 2000, 1e-9);
  EXPECT_NEAR(profile->disks[0].busy_ratio, 0.5, 1e-9);
  ASSERT_EQ(profile->networks.size(), 1u);
  EXPECT_NEAR(profile->networks[0].rx_bytes_per_s, 1000, 1e-9);
  EXPECT_NEAR(profile->pressure->memory_full, 0.03, 1e-9);
  EXPECT_NEAR(profile->agent.cpu_ratio, 0.0005, 1e-9);
  EXPECT_TRUE(telemetry::parse_profile(telemetry::write_profile(*profile)).has_value());
}

TEST_F(AgentTest, SaysWhichThreadsOfABusyProcessAreBusy) {
  Agent agent = this->agent();
  for (int second = 1; second <= 3; ++second) {
    put("/proc/42/stat", process("many", 100 + 60 * second, 7, 3));
    put("/proc/42/task/42/stat", process("many", 100 + 10 * second, 7));
    put("/proc/42/task/43/stat", process("worker", 50 * second, 9));
    put("/proc/42/task/44/stat", process("idle", 5, 9));
    const auto profile = agent.tick(Time{} + second * 1s, 0ms);
    if (second < 3) continue;
    ASSERT_EQ(profile->cpu->threads.size(), 2u);
    EXPECT_EQ(profile->cpu->threads[0].name, "worker");
    EXPECT_EQ(profile->cpu->threads[0].pid, 42u);
    EXPECT_EQ(profile->cpu->threads[0].tid, 43u);
    EXPECT_NEAR(profile->cpu->threads[0].cores, 0.5, 1e-9);
    EXPECT_EQ(profile->cpu->threads[1].tid, 42u);
    EXPECT_TRUE(telemetry::parse_profile(telemetry::write_profile(*profile)).has_value());
  }
}

TEST_F(AgentTest, LooksAtABoundedNumberOfThreads) {
  CpuCounters before, after;
  for (int pid = 42; pid < 46; ++pid) {
    before.processes[pid] = {};
    after.processes[pid] = {.cpu_ticks = static_cast<uint64_t>(pid), .threads = 90};
    for (int tid = 0; tid < 33; ++tid)
      put(fmt::format("/proc/{}/task/{}/stat", pid, pid * 100 + tid), process("t", 1, 7));
  }
  add_threads(root_, before, after);
  EXPECT_EQ(after.threads.size(), kThreadedMax * kThreadsOfOneMax);
  EXPECT_EQ(after.threads.begin()->first.pid, 43);
}

TEST_F(AgentTest, APidThatIsAnotherProcessNowHasOnlyItsOwnTime) {
  Agent agent = this->agent();
  agent.tick(Time{} + 1s, 0ms);
  put("/proc/42/stat", process("new", 30, 8));
  const auto profile = agent.tick(Time{} + 2s, 0ms);
  EXPECT_NEAR(profile->cpu->top.at(0).cores, 0.3, 1e-9);
}

TEST_F(AgentTest, SaysWhyAMetricIsMissing) {
  std::filesystem::remove_all(root_ + "/proc/pressure");
  Agent agent = this->agent();
  agent.tick(Time{} + 1s, 0ms);
  const auto profile = agent.tick(Time{} + 2s, 0ms);
  EXPECT_FALSE(profile->pressure.has_value());
  std::map<std::string, std::string> missing;
  for (const auto& entry : profile->missing) missing[entry.metric] = entry.reason;
  EXPECT_EQ(missing.at("pressure"), "cannot read /proc/pressure/cpu: No such file or directory");
  EXPECT_FALSE(missing.contains("memory.refaults"));
  EXPECT_EQ(missing.at("working_set"), "none here");
  EXPECT_EQ(missing.at("pattern"), "none here");
}

TEST_F(AgentTest, SaysWhyAPartOfAMetricIsMissing) {
  put("/proc/vmstat", "pgfault 1\npgmajfault 0\n");
  std::filesystem::remove(root_ + "/proc/pressure/io");
  Agent agent = this->agent();
  agent.tick(Time{} + 1s, 0ms);
  const auto profile = agent.tick(Time{} + 2s, 0ms);
  EXPECT_TRUE(profile->memory.has_value());
  std::map<std::string, std::string> missing;
  for (const auto& entry : profile->missing) missing[entry.metric] = entry.reason;
  EXPECT_EQ(missing.at("memory.refaults"), "/proc/vmstat counts none here");
  EXPECT_EQ(missing.at("pressure"), "cannot read /proc/pressure/io: No such file or directory");
}

TEST_F(AgentTest, TextThatMakesNoSenseIsNoProfileOfIt) {
  for (const char* file : {"/proc/stat", "/proc/meminfo", "/proc/vmstat", "/proc/diskstats",
                           "/proc/net/dev", "/proc/pressure/cpu", "/proc/42/stat"})
    put(file, "\n:::: -1 99999999999999999999999 avg10= )(\n");
  Agent agent = this->agent();
  agent.tick(Time{} + 1s, 0ms);
  const auto profile = agent.tick(Time{} + 2s, 0ms);
  ASSERT_TRUE(profile.has_value());
  EXPECT_FALSE(profile->cpu.has_value());
  EXPECT_FALSE(profile->memory.has_value());
  EXPECT_TRUE(telemetry::parse_profile(telemetry::write_profile(*profile)).has_value());
}

TEST_F(AgentTest, DoesAsTheHostSays) {
  Agent agent = this->agent();
  ASSERT_TRUE(agent.obey(R"({"period_ms":250,"metrics":["memory"]})").has_value());
  EXPECT_FALSE(agent.obey(R"({"period_ms":0})").has_value());
  EXPECT_EQ(agent.period(), 250ms);
  agent.tick(Time{} + 1s, 0ms);
  const auto profile = agent.tick(Time{} + 2s, 0ms);
  EXPECT_TRUE(profile->memory.has_value());
  EXPECT_FALSE(profile->cpu.has_value());
  EXPECT_TRUE(profile->disks.empty());
  EXPECT_TRUE(profile->missing.empty());
}

TEST_F(AgentTest, LengthensItsPeriodToKeepItsBudget) {
  Agent agent = this->agent();
  for (int i = 0; i < 40; ++i) agent.tick(Time{} + i * 1s, i * 20ms);
  EXPECT_GT(agent.period(), 6500ms);  // 20 ms are 0.6 of 0.5 % of it
  EXPECT_LT(agent.period(), 6800ms);
  for (int i = 40; i < 44; ++i) agent.tick(Time{} + i * 1s, 39 * 20ms + (i - 39) * 1ms);
  EXPECT_LT(agent.period(), 1s + 1ms);
}

TEST_F(AgentTest, FindsThePortThatSysfsNames) {
  put("/sys/class/virtio-ports/vport0p1/name", "other\n");
  put("/sys/class/virtio-ports/vport2p1/name", "org.forerun.agent.0\n");
  EXPECT_EQ(find_port(root_, Port::kName), root_ + "/dev/vport2p1");
}

TEST(PageWatch, ReadsSmaps) {
  EXPECT_EQ(smaps_bytes("x\nRss:  8 kB\nReferenced:     12 kB\n", "Referenced"), 12288u);
  EXPECT_FALSE(smaps_bytes("x\nReferenced: many kB\n", "Referenced").has_value());
  EXPECT_FALSE(smaps_bytes("", "Referenced").has_value());
}

}  // namespace
}  // namespace forerun::agent
