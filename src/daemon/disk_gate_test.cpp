#include "daemon/disk_gate.h"

#include <gtest/gtest.h>

#include <future>
#include <set>

#include "core/rng.h"
#include "daemon/gated_folder.h"
#include "disk/crashable_folder.h"

namespace forerun::daemon {
namespace {

using iosched::IoClass;
using Turn = DiskGate::Turn;

TEST(DiskGate, WhoComesToAnEmptyDiskDoesNotWait) {
  const ManualClock clock;
  DiskGate gate({.places = 4, .places_below_critical = 2}, clock);
  const Turn first(gate, VmId{1}, IoClass::kBackground, 1);
  const Turn second(gate, VmId{1}, IoClass::kPrefetch, 1);
  const Turn third(gate, VmId{1}, IoClass::kCritical, 1);
  EXPECT_EQ(gate.waits(), 0u);
}

TEST(DiskGate, TheFirstToGoWhenAPlaceIsFreeIsWhoIsWaitedFor) {
  const ManualClock clock;
  DiskGate gate({.places = 1, .places_below_critical = 1}, clock);
  std::optional<Turn> held(std::in_place, gate, VmId{1}, IoClass::kCritical, 1);
  std::mutex mutex;
  std::vector<IoClass> order;
  const auto go = [&](IoClass io_class) {
    return std::async(std::launch::async, [&, io_class] {
      const Turn turn(gate, VmId{1}, io_class, 1);
      const std::lock_guard lock(mutex);
      order.push_back(io_class);
    });
  };
  auto background = go(IoClass::kBackground);
  while (gate.waits() < 1) std::this_thread::yield();
  auto critical = go(IoClass::kCritical);
  while (gate.waits() < 2) std::this_thread::yield();
  held.reset();
  background.get();
  critical.get();
  EXPECT_EQ(order, (std::vector{IoClass::kCritical, IoClass::kBackground}));
}

TEST(DiskGate, NeverMoreThanItsPlacesAndNobodyIsForgotten) {
  const ManualClock clock;
  DiskGate gate({.places = 3, .places_below_critical = 2}, clock);
  std::atomic<int> inside{0}, below{0}, most{0}, most_below{0};
  const auto use = [&](uint32_t vm) {
    Rng rng(vm);
    for (int i = 0; i < 300; ++i) {
      const auto io_class = static_cast<IoClass>(rng.below(3));
      const bool is_below = io_class != IoClass::kCritical;
      const Turn turn(gate, VmId{vm}, io_class, 4096);
      most = std::max(most.load(), ++inside);
      if (is_below) most_below = std::max(most_below.load(), ++below);
      std::this_thread::yield();
      if (is_below) --below;
      --inside;
    }
  };
  std::vector<std::future<void>> users;
  for (uint32_t vm = 1; vm <= 6; ++vm) users.push_back(std::async(std::launch::async, use, vm));
  for (auto& user : users) user.get();
  EXPECT_LE(most, 3);
  EXPECT_LE(most_below, 2);
  EXPECT_GT(gate.waits(), 0u);
}

TEST(GatedFolder, GivesWhatTheFolderHas) {
  const ManualClock clock;
  DiskGate gate({}, clock);
  GatedFolder folder(std::make_unique<disk::CrashableFolder>(1), gate, VmId{1});
  const auto file = folder.open("overlay.data", true).value();
  ASSERT_TRUE(file->write(0, as_bytes("hello")));
  ASSERT_TRUE(file->flush());
  Buffer out(5);
  ASSERT_TRUE(folder.open("overlay.data", false).value()->read(0, out));
  EXPECT_EQ(as_text(out), "hello");
  EXPECT_FALSE(folder.open("none.data", false));
}

}  // namespace
}  // namespace forerun::daemon
