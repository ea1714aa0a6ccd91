#include "daemon/usage_watch.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace forerun::daemon {
namespace {

using ::testing::HasSubstr;

// A /proc of files that say what the test wants.
class UsageWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usage_XXXXXX";
    root_ = mkdtemp(name);
    auto opened = store::HistoryStore::open({.path = root_ + "/history.db"});
    ASSERT_TRUE(opened) << opened.error().message;
    history_ = std::move(*opened);
    watch_.emplace(
        root_, clock_, [this] { return unix_seconds_; }, *history_, [this] { return vms_; });
    write("/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 250 kB\n");
    write("/proc/stat", "cpu 100 0 0 900 0 0 0 0\ncpu0 1\ncpu1 1\n");
    write("/proc/77/statm", "100 50 1\n");
    write("/proc/77/task/77/schedstat", "1000000000 0 1\n");
    write("/proc/77/task/78/schedstat", "0 0 1\n");
  }
  void TearDown() override {
    watch_.reset();
    history_.reset();
    std::filesystem::remove_all(root_);
  }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void next_round() {
    clock_.advance(10s);
    unix_seconds_ += 10;
    watch_->step();
  }
  // The mean of the newest point; nothing if there is none.
  std::optional<float> last(const std::string& entity, const std::string& metric) {
    const auto points = history_->read({entity, metric}, telemetry::Resolution::k10s, 0, INT64_MAX);
    return points && !points->empty() ? std::optional(points->back().mean) : std::nullopt;
  }

  std::string root_;
  ManualClock clock_;
  int64_t unix_seconds_ = 1'790'000'000;
  std::unique_ptr<store::HistoryStore> history_;
  std::vector<WatchedVm> vms_;
  std::optional<UsageWatch> watch_;
};

TEST_F(UsageWatchTest, KeepsWhatTheHostAndItsVmsUsed) {
  vms_ = {{"web", 77, 1000, 0, 0}};
  next_round();
  EXPECT_FALSE(last("host", "cpu_cores")) << "one reading says nothing of use";
  write("/proc/stat", "cpu 1100 0 0 1900 0 0 0 0\ncpu0 1\ncpu1 1\n");
  write("/proc/77/task/77/schedstat", "6000000000 0 1\n");
  write("/proc/77/task/78/schedstat", "2000000000 4000000000 1\n");
  vms_[0].read_bytes = 51'000;
  vms_[0].stall_seconds = 2.5;
  next_round();
  EXPECT_NEAR(*last("host", "cpu_cores"), 1.0, 1e-3);
  EXPECT_NEAR(*last("host", "memory_bytes"), 750 * 1024, 100);
  EXPECT_NEAR(*last("vm/web", "cpu_cores"), 0.7, 1e-3);
  EXPECT_NEAR(*last("vm/web", "cpu_wait_cores"), 0.4, 1e-3);
  EXPECT_NEAR(*last("vm/web", "disk_read_bytes_per_s"), 5000, 1);
  EXPECT_NEAR(*last("vm/web", "disk_stall_ratio"), 0.25, 1e-3);
  EXPECT_FALSE(last("host", "cpu_stall_ratio")) << "no PSI here";
}

TEST_F(UsageWatchTest, KeepsHowLongEachProcessorOfAGuestWaited) {
  write("/proc/77/task/77/comm", "CPU 0/KVM\n");
  write("/proc/77/task/78/comm", "CPU 1/KVM\n");
  vms_ = {{"web", 77, 1000, 0, 0}};
  next_round();
  write("/proc/stat", "cpu 1100 0 0 1900 0 0 0 0\ncpu0 1\ncpu1 1\n");
  write("/proc/77/task/77/schedstat", "6000000000 1000000000 1\n");
  write("/proc/77/task/78/schedstat", "0 3000000000 1\n");
  next_round();
  EXPECT_NEAR(*last("vm/web", "vcpu_wait_ratio"), 0.2, 1e-3);
  EXPECT_NEAR(*last("host", "vcpu_wait_ratio"), 0.2, 1e-3);
  const auto points =
      history_->read({"vm/web", "vcpu_wait_ratio"}, telemetry::Resolution::k10s, 0, INT64_MAX);
  EXPECT_NEAR(points->back().max, 0.3, 1e-3) << "of the one that waited most";
  // Half a core ran, and would have run a fifth more of its time: two of ten seconds were waited.
  EXPECT_NEAR(*last("host", "cpu_demand_cores"), 1.0 + 0.5 / 0.8 - 0.5, 1e-3);
  EXPECT_FALSE(watch_->push("web", {{"vcpu_wait_ratio", 1}}));
}

TEST_F(UsageWatchTest, AVmThatBeganAnewIsNotComparedWithItsFormerSelf) {
  vms_ = {{"web", 77, 1000, 0, 0}};
  next_round();
  vms_[0].pid = 99;
  next_round();
  EXPECT_FALSE(last("vm/web", "cpu_cores"));
  vms_.clear();
  next_round();
  vms_ = {{"web", 77, 1000, 0, 0}};
  next_round();
  EXPECT_FALSE(last("vm/web", "cpu_cores")) << "it was away for a round";
}

TEST_F(UsageWatchTest, PushedValuesAreAveragedOverTheirRound) {
  ASSERT_TRUE(watch_->push("web", {{"requests_per_s", 10}}));
  ASSERT_TRUE(watch_->push("web", {{"requests_per_s", 30}, {"queue", 2}}));
  next_round();
  EXPECT_NEAR(*last("vm/web", "requests_per_s"), 20, 0.01);
  EXPECT_NEAR(*last("vm/web", "queue"), 2, 0.01);
  next_round();
  const auto all = history_->read({"vm/web", "queue"}, telemetry::Resolution::k10s, 0, INT64_MAX);
  EXPECT_EQ(all->size(), 1u) << "what is not pushed again is not made up";
}

TEST_F(UsageWatchTest, WhatIsNoMetricIsRefusedWhole) {
  EXPECT_THAT(watch_->push("web", {{"good", 1}, {"Bad", 1}}).error().message, HasSubstr("'Bad'"));
  EXPECT_THAT(watch_->push("web", {{"cpu_cores", 1}}).error().message,
              HasSubstr("is measured by the host"));
  EXPECT_FALSE(watch_->push("web", {{"x", std::nan("")}}));
  EXPECT_EQ(
      watch_->push("web", std::vector<std::pair<std::string, double>>(65, {"x", 1})).error().code,
      ErrorCode::kTooLarge);
  next_round();
  EXPECT_FALSE(last("vm/web", "good"));
}

TEST_F(UsageWatchTest, AHostThatSaysNothingHasNoFigures) {
  std::filesystem::remove_all(root_ + "/proc");
  vms_ = {{"web", 77, 1000, 0, 0}};
  next_round();
  next_round();
  EXPECT_FALSE(last("host", "cpu_cores"));
  EXPECT_NEAR(*last("vm/web", "disk_read_bytes_per_s"), 0, 1e-9);
}

}  // namespace
}  // namespace forerun::daemon
