#include "disk/overlay.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "disk/overlay_testing.h"

namespace forerun::disk {
namespace {

TEST(Overlay, WholeBlockWriteNeedsNoBase) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);

  ASSERT_TRUE(overlay->write(4096, filled(8192, 7), no_base));

  EXPECT_EQ(read_through(*overlay, {4096, 8192}), filled(8192, 7));
  EXPECT_EQ(overlay->allocated_bytes(), 8192u);
}

TEST(Overlay, ShortLastBlockNeedsNoBaseWhenCovered) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);

  ASSERT_TRUE(overlay->write(40 * 4096, filled(1000, 7), no_base));

  EXPECT_EQ(read_through(*overlay, {40 * 4096, 1000}), filled(1000, 7));
}

TEST(Overlay, PartialWriteKeepsTheBaseAround) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);

  ASSERT_TRUE(overlay->write(4096 + 100, filled(50, 9), read_stamped_base));

  Buffer expected = base_of({4096, 4096});
  std::fill_n(expected.begin() + 100, 50, std::byte{9});
  EXPECT_EQ(read_through(*overlay, {4096, 4096}), expected);
}

TEST(Overlay, FailedBaseReadLeavesTheBlock) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);

  const Status status = overlay->write(100, filled(50, 9), no_base);

  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kInternal);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), base_of({0, 4096}));
}

TEST(Overlay, PartialWriteIntoAZeroBlockFillsZeroes) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  ASSERT_TRUE(overlay->write(0, filled(4096, 3), no_base));
  ASSERT_TRUE(overlay->write_zeroes({0, 4096}, true, no_base));

  ASSERT_TRUE(overlay->write(8, filled(8, 9), no_base));

  Buffer expected = filled(4096, 0);
  std::fill_n(expected.begin() + 8, 8, std::byte{9});
  EXPECT_EQ(read_through(*overlay, {0, 4096}), expected);
}

TEST(Overlay, ZeroesWithoutPunchAreAllocated) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);

  ASSERT_TRUE(overlay->write_zeroes({4096, 8192}, false, no_base));

  EXPECT_EQ(overlay->allocated_bytes(), 8192u);
  EXPECT_EQ(read_through(*overlay, {4096, 8192}), filled(8192, 0));
}

TEST(Overlay, FlushedWritesSurviveAPowerCut) {
  CrashableFolder folder(1);
  auto overlay = open(folder);
  ASSERT_TRUE(overlay->write(4096, filled(4096, 7), no_base));
  ASSERT_TRUE(overlay->write_zeroes({12288, 4096}, true, no_base));
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  folder.cut_power();

  overlay = open(folder);
  EXPECT_EQ(read_through(*overlay, {4096, 4096}), filled(4096, 7));
  EXPECT_EQ(read_through(*overlay, {12288, 4096}), filled(4096, 0));
}

TEST(Overlay, OverwritingDataDoesNotTouchTheJournal) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  ASSERT_TRUE(overlay->flush());
  const uint64_t before = overlay->stats().journal_bytes;

  ASSERT_TRUE(overlay->write(0, filled(4096, 2), no_base));
  ASSERT_TRUE(overlay->flush());

  EXPECT_EQ(overlay->stats().journal_bytes, before);
}

TEST(Overlay, FlushWithoutWritesTouchesNoFile) {
  CrashableFolder folder(1);
  int flushes = 0;
  const Faults faults{.on_flush = [&](const std::string&) {
    ++flushes;
    return Status{};
  }};
  FaultyFolder counting(folder, faults);
  const auto overlay = open(counting);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  ASSERT_TRUE(overlay->flush());
  const int before = flushes;

  ASSERT_TRUE(overlay->flush());

  EXPECT_EQ(flushes, before);
}

TEST(Overlay, LongJournalIsRewrittenAsASnapshot) {
  CrashableFolder folder(1);
  auto options = options_of();
  options.journal_bytes_max = 2048;
  auto overlay = open(folder, options);
  for (int i = 0; i < 36; ++i) {
    ASSERT_TRUE(overlay->write(static_cast<uint64_t>(i) * 4096, filled(4096, i + 1), no_base));
    ASSERT_TRUE(overlay->flush());
    ASSERT_LE(overlay->stats().journal_bytes, 2048u + 4 * 512);
  }
  EXPECT_GE(overlay->stats().rewrites, 5u);
  overlay.reset();

  overlay = open(folder, options);

  for (int i = 0; i < 36; ++i) {
    EXPECT_EQ(read_through(*overlay, {static_cast<uint64_t>(i) * 4096, 4096}), filled(4096, i + 1));
  }
}

TEST(OverlayFencing, RefusesASmallerToken) {
  CrashableFolder folder(1);
  open(folder).reset();
  auto options = options_of();
  options.owner_token = 4;

  EXPECT_EQ(error_of_open(folder, options), ErrorCode::kDenied);
}

TEST(OverlayFencing, LargerTokenIsDurableOnceOpen) {
  CrashableFolder folder(1);
  open(folder).reset();
  auto options = options_of();
  options.owner_token = 9;
  open(folder, options).reset();
  folder.cut_power();

  EXPECT_EQ(error_of_open(folder, options_of()), ErrorCode::kDenied);
}

TEST(OverlayFencing, PassedOverOwnerGetsNoMoreFlushes) {
  CrashableFolder folder(1);
  const auto old_owner = open(folder);
  ASSERT_TRUE(old_owner->write(0, filled(4096, 1), no_base));
  auto options = options_of();
  options.owner_token = 6;
  const auto new_owner = open(folder, options);

  const Status status = old_owner->flush();

  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kDenied);
  EXPECT_FALSE(old_owner->flush());
  EXPECT_TRUE(new_owner->flush());
}

TEST(OverlayOpen, RefusesAnotherImageOrSize) {
  CrashableFolder folder(1);
  open(folder).reset();
  auto other_image = options_of();
  other_image.base = sha256(as_bytes("another image"));

  EXPECT_EQ(error_of_open(folder, other_image), ErrorCode::kInvalid);
  EXPECT_EQ(error_of_open(folder, options_of(kSize + 4096)), ErrorCode::kInvalid);
}

TEST(OverlayOpen, RefusesALostMapOrDataFile) {
  CrashableFolder folder(1);
  auto overlay = open(folder);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  ASSERT_TRUE(folder.replace("disk.data", "aside"));
  EXPECT_EQ(error_of_open(folder, options_of()), ErrorCode::kCorrupt);
  ASSERT_TRUE(folder.replace("aside", "disk.data"));
  ASSERT_TRUE(folder.remove("disk.map"));
  EXPECT_EQ(error_of_open(folder, options_of()), ErrorCode::kCorrupt);
}

TEST(OverlayOpen, RefusesADamagedCommitThatOthersFollow) {
  CrashableFolder folder(1);
  auto overlay = open(folder);
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(overlay->write(i * 8192, filled(4096, 1), no_base));
    ASSERT_TRUE(overlay->flush());
  }
  overlay.reset();
  // Header, snapshot, then one sector a commit.
  folder.content("disk.map").bytes()[2 * 512 + 40] ^= std::byte{1};

  EXPECT_EQ(error_of_open(folder, options_of()), ErrorCode::kCorrupt);
}

TEST(OverlayFlush, RefusesForEverAfterAFailedDataFlush) {
  CrashableFolder folder(1);
  bool fails = false;
  const Faults faults{.on_flush = [&](const std::string& name) -> Status {
    if (fails && name == "disk.data") return fail_errno("flush disk.data", EIO);
    return {};
  }};
  FaultyFolder faulty(folder, faults);
  const auto overlay = open(faulty);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  fails = true;
  ASSERT_FALSE(overlay->flush());
  fails = false;

  const Status status = overlay->flush();

  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_NE(status.error().message.find("no flush is acknowledged until"), std::string::npos);
}

TEST(OverlayFlush, FullDiskLosesNothingAndIsTriedAgain) {
  CrashableFolder folder(1);
  bool is_full = false;
  const Faults faults{.on_write = [&](const std::string& name) -> Status {
    if (is_full && name == "disk.map") return fail_errno("write disk.map", ENOSPC);
    return {};
  }};
  FaultyFolder faulty(folder, faults);
  auto overlay = open(faulty);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  is_full = true;
  const Status status = overlay->flush();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kNoSpace);
  is_full = false;

  ASSERT_TRUE(overlay->flush());

  overlay.reset();
  folder.cut_power();
  overlay = open(folder);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), filled(4096, 1));
}

TEST(OverlayFlush, WriteThatCompletesDuringAFlushNeedsAnother) {
  CrashableFolder folder(1);
  std::latch entered(1), release(1);
  std::atomic<int> data_flushes{0};
  std::atomic<bool> blocks{false};
  const Faults faults{.on_flush = [&](const std::string& name) -> Status {
    if (name != "disk.data") return {};
    ++data_flushes;
    if (blocks.exchange(false)) {
      entered.count_down();
      release.wait();
    }
    return {};
  }};
  FaultyFolder faulty(folder, faults);
  auto overlay = open(faulty);
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  blocks = true;
  std::thread first([&] { EXPECT_TRUE(overlay->flush()); });
  entered.wait();
  ASSERT_TRUE(overlay->write(8192, filled(4096, 2), no_base));

  std::vector<std::thread> later;
  for (int i = 0; i < 4; ++i) later.emplace_back([&] { EXPECT_TRUE(overlay->flush()); });
  while (overlay->stats().flush_calls < 5) std::this_thread::yield();
  release.count_down();
  first.join();
  for (auto& thread : later) thread.join();

  EXPECT_EQ(data_flushes, 2);  // four callers shared the second
  overlay.reset();
  folder.cut_power();
  overlay = open(folder);
  EXPECT_EQ(read_through(*overlay, {8192, 4096}), filled(4096, 2));
}

class OverlayFlushRace : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(AppendAndRewrite, OverlayFlushRace, testing::Values(1 << 20, 0));

// Its data is not durable when the journal is, so the journal must not name it yet.
TEST_P(OverlayFlushRace, WriteRightBehindTheDataFlushIsNotInTheJournal) {
  CrashableFolder folder(1);
  Overlay* writer = nullptr;
  const Faults faults{.skips_flush = [&](const std::string& name) {
    if (name != "disk.data" || writer == nullptr) return false;
    folder.content(name).flush();
    EXPECT_TRUE(writer->write(8192, filled(4096, 2), no_base));
    return true;
  }};
  FaultyFolder faulty(folder, faults);
  auto options = options_of();
  options.journal_bytes_max = GetParam();
  auto overlay = open(faulty, options);
  for (uint64_t i = 3; i < 8; ++i) {
    ASSERT_TRUE(overlay->write(i * 8192, filled(4096, 1), no_base));
    ASSERT_TRUE(overlay->flush());
  }
  ASSERT_TRUE(overlay->write(0, filled(4096, 1), no_base));
  writer = overlay.get();
  ASSERT_TRUE(overlay->flush());
  overlay.reset();

  folder.cut_power(0.0);

  overlay = open(folder, options);
  EXPECT_EQ(read_through(*overlay, {0, 4096}), filled(4096, 1));
  EXPECT_EQ(read_through(*overlay, {8192, 4096}), base_of({8192, 4096}));
}

// Two writes to parts of one block of the image: each completes the block from the image, so the
// second must wait.
TEST(OverlayThreads, PartialWritesToOneBlockKeepEachOther) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  std::atomic<bool> is_second_done{false};
  std::thread second;
  const auto slow_base = [&](ByteRange range, MutableByteView out) {
    second = std::thread([&] {
      EXPECT_TRUE(overlay->write(200, filled(50, 2), read_stamped_base));
      is_second_done = true;
    });
    // Time enough for the second write to come in between, if nothing stopped it.
    for (int i = 0; i < 20'000 && !is_second_done; ++i) std::this_thread::yield();
    return read_stamped_base(range, out);
  };

  ASSERT_TRUE(overlay->write(100, filled(50, 1), slow_base));
  second.join();

  Buffer expected = base_of({0, 4096});
  std::fill_n(expected.begin() + 100, 50, std::byte{1});
  std::fill_n(expected.begin() + 200, 50, std::byte{2});
  EXPECT_EQ(read_through(*overlay, {0, 4096}), expected);
}

TEST(OverlayThreads, OverlappingWritesAreOrdered) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  std::atomic<bool> done{false};
  std::thread flusher([&] {
    while (!done) EXPECT_TRUE(overlay->flush());
  });
  std::vector<std::thread> writers;
  for (int id = 1; id <= 4; ++id) {
    writers.emplace_back([&, id] {
      for (uint64_t i = 0; i < 60; ++i) {
        const uint64_t offset = i % 3 * 4096 + 512;
        EXPECT_TRUE(overlay->write(offset, filled(3 * 4096, id), read_stamped_base));
        EXPECT_TRUE(overlay->write((20 + static_cast<uint64_t>(id)) * 4096, filled(4096, id),
                                   read_stamped_base));
        EXPECT_TRUE(overlay->write_zeroes({30 * 4096, 8192}, i % 2 == 0, read_stamped_base));
      }
    });
  }
  for (auto& writer : writers) writer.join();
  done = true;
  flusher.join();

  // The last writer of a range wrote all of it: each of the four stretches is of one writer.
  const Buffer found = read_through(*overlay, {512, 5 * 4096});
  EXPECT_TRUE(std::ranges::all_of(
      found, [](std::byte b) { return b >= std::byte{1} && b <= std::byte{4}; }));
  EXPECT_EQ(std::ranges::count(ByteView(found).subspan(2 * 4096, 4096), found[2 * 4096]), 4096);
  for (int id = 1; id <= 4; ++id) {
    EXPECT_EQ(read_through(*overlay, {(20 + static_cast<uint64_t>(id)) * 4096, 4096}),
              filled(4096, id));
  }
  EXPECT_EQ(read_through(*overlay, {30 * 4096, 8192}), filled(8192, 0));
}

}  // namespace
}  // namespace forerun::disk
