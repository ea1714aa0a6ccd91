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
  DiskGate gate({.places = 4, .places_kept_max = 2}, clock);
  const Turn first(gate, {VmId{1}, IoClass::kBackground, 1});
  const Turn second(gate, {VmId{1}, IoClass::kPrefetch, 1});
  const Turn third(gate, {VmId{1}, IoClass::kCritical, 1});
  EXPECT_EQ(gate.waits(), 0u);
}

TEST(DiskGate, TheFirstToGoWhenAPlaceIsFreeIsWhoIsWaitedFor) {
  const ManualClock clock;
  DiskGate gate({.places = 1, .places_kept_max = 0}, clock);
  std::optional<Turn> held(std::in_place, gate, DiskGate::Asked{VmId{1}, IoClass::kCritical, 1});
  std::mutex mutex;
  std::vector<IoClass> order;
  const auto go = [&](IoClass io_class) {
    return std::async(std::launch::async, [&, io_class] {
      const Turn turn(gate, {VmId{1}, io_class, 1});
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
  DiskGate gate({.places = 3, .places_kept_max = 2}, clock);
  std::atomic<int> inside{0}, most{0};
  const auto use = [&](uint32_t vm) {
    Rng rng(vm);
    for (int i = 0; i < 300; ++i) {
      const auto io_class = static_cast<IoClass>(rng.below(3));
      const Turn turn(gate, {VmId{vm}, io_class, 4096});
      most = std::max(most.load(), ++inside);
      std::this_thread::yield();
      --inside;
    }
  };
  std::vector<std::future<void>> users;
  for (uint32_t vm = 1; vm <= 6; ++vm) users.push_back(std::async(std::launch::async, use, vm));
  for (auto& user : users) user.get();
  EXPECT_LE(most, 3);
  EXPECT_GT(gate.waits(), 0u);
}

TEST(DiskGate, WhoIsHeldByALimitIsLetGoThoughNobodyLeaves) {
  struct : Clock {
    Time now() const override { return kTimeZero + Nanos(at.load()); }
    std::atomic<int64_t> at{0};
  } clock;
  DiskGate gate({}, clock);
  gate.set_share(VmId{1}, {.limit_bytes_per_s = 1e6});
  {
    const Turn turn(gate, {VmId{1}, IoClass::kCritical, 102'000});
  }
  const auto use = [&gate] { const Turn turn(gate, {VmId{1}, IoClass::kCritical, 4096}); };
  auto first = std::async(std::launch::async, use), second = std::async(std::launch::async, use);
  while (gate.waits() < 2) std::this_thread::yield();
  clock.at = Nanos(200ms).count();
  first.get();
  second.get();
}

TEST(DiskGate, ALimitThatIsTakenAwayHoldsNobody) {
  const ManualClock clock;
  DiskGate gate({}, clock);
  gate.set_share(VmId{1}, {.limit_bytes_per_s = 1});
  {
    const Turn turn(gate, {VmId{1}, IoClass::kCritical, 4096});
  }
  auto reader = std::async(std::launch::async,
                           [&gate] { const Turn turn(gate, {VmId{1}, IoClass::kCritical, 4096}); });
  while (gate.waits() < 1) std::this_thread::yield();
  gate.forget(VmId{1});
  reader.get();
  EXPECT_EQ(gate.waits(), 1u);
}

TEST(DiskGate, LongRequestsGoInPartsWhileAReaderIsKeptFor) {
  const ManualClock clock;
  DiskGate gate({.places = 2, .places_kept_max = 1}, clock);
  EXPECT_EQ(gate.turn_bytes_max(VmId{1}), UINT64_MAX);
  std::optional<Turn> first(std::in_place, gate,
                            DiskGate::Asked{VmId{1}, IoClass::kPrefetch, 1 << 20});
  std::optional<Turn> second(std::in_place, gate,
                             DiskGate::Asked{VmId{1}, IoClass::kPrefetch, 1 << 20});
  auto reader = std::async(std::launch::async,
                           [&gate] { const Turn turn(gate, {VmId{2}, IoClass::kCritical, 4096}); });
  while (gate.waits() < 1) std::this_thread::yield();
  EXPECT_EQ(gate.turn_bytes_max(VmId{1}), DiskGate::kSliceBytes);
  first.reset();
  reader.get();
  // One place is kept for the reader.
  auto writer = std::async(std::launch::async,
                           [&gate] { const Turn turn(gate, {VmId{1}, IoClass::kPrefetch, 4096}); });
  while (gate.waits() < 2) std::this_thread::yield();
  {
    const Turn turn(gate, {VmId{2}, IoClass::kCritical, 4096});
  }
  EXPECT_EQ(gate.waits(), 2u);
  second.reset();
  writer.get();
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
