#include "disk/overlay.h"

#include <gtest/gtest.h>

#include "disk/overlay_testing.h"

// The process ends, or the disk refuses a flush, and the kernel lives on: what the reopened overlay
// may believe.
namespace forerun::disk {
namespace {

TEST(OverlayKill, UnflushedWritesSurviveUnderTheSameBoot) {
  CrashableFolder folder(1);
  auto options = options_of();
  options.boot_token = 77;
  auto overlay = open(folder, options);
  ASSERT_TRUE(overlay->write(4096, filled(4096, 7), no_base));
  ASSERT_TRUE(overlay->write_zeroes({12288, 4096}, true, no_base));
  overlay.reset();

  overlay = open(folder, options);

  EXPECT_EQ(read_through(*overlay, {4096, 4096}), filled(4096, 7));
  EXPECT_EQ(read_through(*overlay, {12288, 4096}), filled(4096, 0));
}

TEST(OverlayKill, FlushAfterTheRestartCoversWritesBeforeIt) {
  CrashableFolder folder(1);
  auto options = options_of();
  options.boot_token = 77;
  auto overlay = open(folder, options);
  ASSERT_TRUE(overlay->write(4096, filled(4096, 7), no_base));
  overlay.reset();
  overlay = open(folder, options);
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  folder.cut_power();

  options.boot_token = 78;
  overlay = open(folder, options);
  EXPECT_EQ(read_through(*overlay, {4096, 4096}), filled(4096, 7));
}

// The commit can be read after the restart, but is not durable: the next flush must not build on
// it.
TEST(OverlayKill, CommitThatWasWrittenButNotFlushedIsMadeDurable) {
  CrashableFolder folder(1);
  const Faults faults{.on_flush = [](const std::string& name) -> Status {
    if (name == "disk.map") return fail(ErrorCode::kIo, "killed here");
    return {};
  }};
  FaultyFolder killing(folder, faults);
  auto options = options_of();
  options.boot_token = 77;
  auto overlay = open(killing, options);
  ASSERT_TRUE(overlay->write(4096, filled(4096, 7), no_base));
  ASSERT_FALSE(overlay->flush());
  overlay = open(folder, options);
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  folder.cut_power(0.0);

  overlay = open(folder, options);
  EXPECT_EQ(read_through(*overlay, {4096, 4096}), filled(4096, 7));
}

TEST(OverlayKill, LiveStatesOfAnotherBootAreNotBelieved) {
  CrashableFolder folder(1);
  auto options = options_of();
  options.boot_token = 77;
  auto overlay = open(folder, options);
  ASSERT_TRUE(overlay->write(4096, filled(4096, 7), no_base));
  overlay.reset();
  options.boot_token = 78;

  overlay = open(folder, options);

  EXPECT_EQ(read_through(*overlay, {4096, 4096}), base_of({4096, 4096}));
}

// Fails flushes of the data file as Linux does while `fails` is set.
struct OverlayFailedFlush : testing::Test {
  OverlayFailedFlush() { options.boot_token = 77; }

  CrashableFolder folder{1};
  Rng rng{2};
  bool fails = false;
  uint64_t data_writes = 0;
  const Faults faults{.on_flush = [this](const std::string& name) -> Status {
                        if (!fails || name != "disk.data") return {};
                        folder.content(name).fail_flush(rng, 0.0);
                        return fail_errno("flush disk.data", EIO);
                      },
                      .on_write = [this](const std::string& name) -> Status {
                        data_writes += name == "disk.data" ? 1 : 0;
                        return {};
                      }};
  FaultyFolder faulty{folder, faults};
  Overlay::Options options = options_of();
};

// The kernel dropped the pages but shows them; the flush after the restart must not count on them.
TEST_F(OverlayFailedFlush, ReopenedUnderTheSameBootWritesTheDataAgain) {
  auto overlay = open(faulty, options);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  ASSERT_TRUE(overlay->flush());
  ASSERT_TRUE(overlay->write(0, filled(4096, 2), no_base));
  ASSERT_TRUE(overlay->write(40 * 4096 + 600, filled(8, 3), read_stamped_base));
  fails = true;
  ASSERT_FALSE(overlay->flush());
  fails = false;
  overlay = open(faulty, options);
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  folder.cut_power(0.0);

  ++options.boot_token;
  overlay = open(faulty, options);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), filled(4096, 2));
  Buffer expected = base_of({40 * 4096, 1000});
  std::fill_n(expected.begin() + 600, 8, std::byte{3});
  EXPECT_EQ(read_through(*overlay, {40 * 4096, 1000}), expected);
}

TEST_F(OverlayFailedFlush, OpeningIsRefusedWhileTheDataCannotBeWrittenAgain) {
  auto overlay = open(faulty, options);
  ASSERT_TRUE(overlay->write(0, filled(4096, 2), no_base));
  fails = true;
  ASSERT_FALSE(overlay->flush());
  overlay.reset();

  const auto refused = Overlay::open(faulty, "disk", options);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);
  EXPECT_NE(refused.error().message.find("writing its data again failed"), std::string::npos);
  fails = false;
  overlay = open(faulty, options);
  ASSERT_TRUE(overlay->flush());
  overlay.reset();
  folder.cut_power(0.0);
  ++options.boot_token;
  overlay = open(faulty, options);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), filled(4096, 2));
}

TEST_F(OverlayFailedFlush, NothingIsWrittenAgainAfterAGoodFlushOrAnotherBoot) {
  auto overlay = open(faulty, options);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  ASSERT_TRUE(overlay->flush());
  data_writes = 0;
  overlay = open(faulty, options);
  EXPECT_EQ(data_writes, 0u);
  ASSERT_TRUE(overlay->write(0, filled(4096, 2), no_base));
  fails = true;
  ASSERT_FALSE(overlay->flush());
  overlay.reset();
  folder.cut_power(0.0);
  data_writes = 0;

  ++options.boot_token;
  overlay = open(faulty, options);

  EXPECT_EQ(data_writes, 0u);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), filled(4096, 1));
}

// Without the mark a failed flush could not be told from a good one: so no flush without it.
TEST(OverlayFlush, IsNotBegunWhenItsMarkCannotBeWritten) {
  CrashableFolder folder(1);
  bool fails = false;
  uint64_t data_flushes = 0;
  const Faults faults{.on_flush = [&](const std::string& name) -> Status {
                        data_flushes += name == "disk.data" ? 1 : 0;
                        return {};
                      },
                      .on_write = [&](const std::string& name) -> Status {
                        if (fails && name == "disk.live") return fail_errno("write", ENOSPC);
                        return {};
                      }};
  FaultyFolder faulty(folder, faults);
  auto options = options_of();
  options.boot_token = 77;
  auto overlay = open(faulty, options);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  fails = true;
  EXPECT_FALSE(overlay->flush());
  EXPECT_EQ(data_flushes, 0u);
  fails = false;
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  folder.cut_power(0.0);

  overlay = open(faulty, options);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), filled(4096, 1));
}

}  // namespace
}  // namespace forerun::disk
