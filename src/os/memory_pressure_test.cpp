#include "os/memory_pressure.h"

#include <unistd.h>

#include <cstdlib>

#include "os/file.h"
#include "os/process.h"

namespace forerun::os {
namespace {

constexpr uint64_t kMi = 1 << 20;

// A root folder of the test's own.
class MemoryPressureTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-pressure-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    put("/proc/meminfo",
        "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:    4194304 kB\n");
  }
  void TearDown() override { ASSERT_TRUE(run({"rm", "-rf", root_}, 10s)); }

  void put(const std::string& path, std::string_view text) {
    ASSERT_TRUE(make_folders(root_ + path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(write_file_atomic(root_ + path, as_bytes(text)));
  }
  MemoryPressure read() {
    const auto pressure = read_memory_pressure(root_);
    EXPECT_TRUE(pressure) << pressure.error().message;
    return pressure ? *pressure : MemoryPressure{};
  }
  std::string root_;
};

TEST_F(MemoryPressureTest, HostAloneWithoutPsi) {
  EXPECT_EQ(read().total_bytes, 16384 * kMi);
  EXPECT_EQ(read().available_bytes, 4096 * kMi);
  EXPECT_EQ(read().stall_ratio, 0);
}

TEST_F(MemoryPressureTest, StallsOfTheHost) {
  put("/proc/pressure/memory",
      "some avg10=12.50 avg60=1.00 avg300=0.10 total=99\nfull avg10=3.00 avg60=0 avg300=0 "
      "total=9\n");
  EXPECT_DOUBLE_EQ(read().stall_ratio, 0.125);
}

TEST_F(MemoryPressureTest, TightestCgroupCounts) {
  put("/proc/self/cgroup", "1:name=systemd:/x\n0::/system.slice/forerund.service\n");
  put("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
  put("/sys/fs/cgroup/system.slice/memory.current", "805306368\n");
  put("/sys/fs/cgroup/system.slice/memory.stat", "anon 1\ninactive_file 104857600\n");
  put("/sys/fs/cgroup/system.slice/memory.pressure",
      "some avg10=40.00 avg60=0.00 avg300=0.00 total=1\n");
  put("/sys/fs/cgroup/system.slice/forerund.service/memory.max", "max\n");
  put("/sys/fs/cgroup/system.slice/forerund.service/memory.high", "2147483648\n");
  put("/sys/fs/cgroup/system.slice/forerund.service/memory.current", "1048576\n");
  EXPECT_EQ(read().total_bytes, 1024 * kMi);
  EXPECT_EQ(read().available_bytes, (1024 - 768 + 100) * kMi) << "of the parent";
  EXPECT_DOUBLE_EQ(read().stall_ratio, 0.4);
}

TEST_F(MemoryPressureTest, CgroupOverItsLimitHasNothingAvailable) {
  put("/proc/self/cgroup", "0::/a\n");
  put("/sys/fs/cgroup/a/memory.high", "1000\n");
  put("/sys/fs/cgroup/a/memory.current", "5000\n");
  EXPECT_EQ(read().available_bytes, 0u);
}

TEST_F(MemoryPressureTest, CgroupWithoutALimitDoesNotCount) {
  put("/proc/self/cgroup", "0::/a\n");
  put("/sys/fs/cgroup/a/memory.max", "max\n");
  put("/sys/fs/cgroup/a/memory.current", "5000\n");
  EXPECT_EQ(read().available_bytes, 4096 * kMi);
}

TEST_F(MemoryPressureTest, NonsenseIsRefusedOrIgnored) {
  put("/proc/self/cgroup", "0::/a/../b\n\n0::");
  put("/proc/pressure/memory", "some avg10=much\n");
  EXPECT_EQ(read().stall_ratio, 0);
  put("/proc/meminfo", "MemTotal: 12 kB\n");
  EXPECT_EQ(read_memory_pressure(root_).error().code, ErrorCode::kCorrupt);
}

TEST(MemoryPressure, ThisHostAnswers) {
  const auto pressure = read_memory_pressure();
  ASSERT_TRUE(pressure) << pressure.error().message;
  EXPECT_GT(pressure->available_bytes, 0u);
  EXPECT_LE(pressure->available_bytes, pressure->total_bytes);
}

}  // namespace
}  // namespace forerun::os
