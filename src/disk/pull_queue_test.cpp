#include "disk/pull_queue.h"

#include <gtest/gtest.h>

#include <set>

#include "disk/frozen_overlay.h"
#include "disk/overlay_testing.h"

namespace forerun::disk {
namespace {

using iosched::IoClass;

constexpr uint64_t kBlock = kOverlayBlockSize;
constexpr uint64_t kBlocks = 256;
constexpr uint64_t kDiskSize = kBlocks * kBlock;

// An overlay of 1 MiB, all of it remote, and a queue for it.
struct Pulling {
  explicit Pulling(PullQueue::Options options = {})
      : overlay(open(folder, options_of(kDiskSize))), queue(options, *overlay, kDiskSize) {
    overlay->begin_pull(1, std::vector<BlockRun>{{0, kBlocks, BlockState::kData}}).value();
  }
  void arrive(const PullTask& task) {
    overlay->put_remote(task.range.offset, filled(task.range.length, 1)).value();
    queue.on_complete(task, true, now);
  }

  CrashableFolder folder{1};
  std::unique_ptr<Overlay> overlay;
  PullQueue queue;
  Time now = kTimeZero + 1s;
};

TEST(PullQueue, FetchesEverythingOnceWithoutBeingAsked) {
  Pulling pulling;
  std::vector<int> fetched(kBlocks);
  while (const auto task = pulling.queue.pull(pulling.now)) {
    EXPECT_EQ(task->io_class, IoClass::kBackground);
    for (uint64_t at = task->range.offset; at < task->range.end(); at += kBlock)
      ++fetched[at / kBlock];
    pulling.now += 1ms;
    pulling.arrive(*task);
  }
  EXPECT_EQ(pulling.overlay->remote_blocks(), 0u);
  EXPECT_EQ(fetched, std::vector<int>(kBlocks, 1));
}

TEST(PullQueue, WhatAGuestWaitsForGoesFirstAndAlone) {
  Pulling pulling;
  ASSERT_TRUE(pulling.queue.want({16 * kBlock, 4 * kBlock}, IoClass::kPrefetch, pulling.now));
  ASSERT_TRUE(pulling.queue.want({100 * kBlock, kBlock}, IoClass::kCritical, pulling.now));

  const auto first = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->range, (ByteRange{100 * kBlock, kBlock}));
  EXPECT_EQ(first->io_class, IoClass::kCritical);
  const auto second = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->range, (ByteRange{16 * kBlock, 4 * kBlock}));
  EXPECT_EQ(second->io_class, IoClass::kPrefetch);
}

TEST(PullQueue, TheBackgroundGoesOnBehindWhatTheGuestReadLast) {
  Pulling pulling;
  ASSERT_TRUE(pulling.queue.want({100 * kBlock, kBlock}, IoClass::kCritical, pulling.now));
  pulling.arrive(*pulling.queue.pull(pulling.now));

  const auto next = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->io_class, IoClass::kBackground);
  EXPECT_EQ(next->range.offset, 101 * kBlock);
}

TEST(PullQueue, TheBackgroundGoesAheadOfWhereTheGuestReadsOn) {
  Pulling pulling;
  for (uint64_t i = 0; i < 3; ++i) pulling.queue.follow({(50 + i) * kBlock, kBlock});

  const auto next = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->io_class, IoClass::kBackground);
  EXPECT_EQ(next->range.offset, 53 * kBlock);
}

TEST(PullQueue, OfTwoStreamsTheOneThatIsNearerToItsEndIsServed) {
  Pulling pulling;
  for (uint64_t i = 0; i < 3; ++i) {
    pulling.queue.follow({(50 + i) * kBlock, kBlock});
    pulling.queue.follow({(150 + i) * kBlock, kBlock});
  }
  pulling.overlay->put_remote(53 * kBlock, filled(8 * kBlock, 1)).value();

  const auto next = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->range.offset, 153 * kBlock);
}

TEST(PullQueue, RequestsHereAndThereAreNoStream) {
  Pulling pulling;
  for (const uint64_t block : {200, 90, 180, 5}) pulling.queue.follow({block * kBlock, kBlock});
  const auto next = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->range.offset, 0u);
}

TEST(PullQueue, WhatIsWantedNextGoesAheadOfWhatIsWantedSometime) {
  PullQueue::Options options;
  options.wanted_max = 8;
  Pulling pulling(options);
  EXPECT_TRUE(pulling.queue.want_sometime({10 * kBlock, kBlock}, pulling.now));
  EXPECT_TRUE(pulling.queue.want_sometime({20 * kBlock, kBlock}, pulling.now));
  EXPECT_FALSE(pulling.queue.want_sometime({30 * kBlock, kBlock}, pulling.now));
  EXPECT_TRUE(pulling.queue.want({40 * kBlock, kBlock}, IoClass::kPrefetch, pulling.now));

  const auto first = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->range.offset, 40 * kBlock);
}

TEST(PullQueue, ForeseenRangesThatStandTogetherGoAsOnePiece) {
  Pulling pulling;
  for (const uint64_t block : {62, 60, 61, 64})
    ASSERT_TRUE(pulling.queue.want({block * kBlock, kBlock}, IoClass::kPrefetch, pulling.now));

  const auto first = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->range, (ByteRange{62 * kBlock, kBlock}));
  const auto second = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->range, (ByteRange{60 * kBlock, 2 * kBlock}));
}

TEST(PullQueue, ABlockInFlightIsNotAskedForTwice) {
  Pulling pulling;
  ASSERT_TRUE(pulling.queue.want({10 * kBlock, kBlock}, IoClass::kCritical, pulling.now));
  const auto first = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(first);
  ASSERT_TRUE(pulling.queue.want({8 * kBlock, 4 * kBlock}, IoClass::kCritical, pulling.now));

  std::set<uint64_t> offsets;
  for (int i = 0; i < 2; ++i) {
    const auto task = pulling.queue.pull(pulling.now);
    ASSERT_TRUE(task);
    EXPECT_EQ(task->io_class, IoClass::kCritical);
    offsets.insert(task->range.offset);
    EXPECT_FALSE(task->range.offset <= 10 * kBlock && task->range.end() > 10 * kBlock);
  }
  EXPECT_EQ(offsets, (std::set<uint64_t>{8 * kBlock, 11 * kBlock}));
}

TEST(PullQueue, WhatTheGuestOverwroteIsNotFetched) {
  Pulling pulling;
  ASSERT_TRUE(pulling.queue.want({10 * kBlock, 2 * kBlock}, IoClass::kCritical, pulling.now));
  ASSERT_TRUE(pulling.overlay->write(10 * kBlock, filled(kBlock, 3), no_base));

  const auto task = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(task);
  EXPECT_EQ(task->range, (ByteRange{11 * kBlock, kBlock}));
}

TEST(PullQueue, ALongWishIsFetchedInPieces) {
  Pulling pulling;
  ASSERT_TRUE(pulling.queue.want({0, kDiskSize}, IoClass::kCritical, pulling.now));
  uint64_t bytes = 0;
  while (const auto task = pulling.queue.pull(pulling.now)) {
    EXPECT_LE(task->range.length, OverlaySource::kReadMax);
    if (task->io_class == IoClass::kCritical) bytes += task->range.length;
    pulling.arrive(*task);
  }
  EXPECT_EQ(bytes, kDiskSize);
}

TEST(PullQueue, AFailureHoldsEverythingBackForAWhile) {
  Pulling pulling;
  ASSERT_TRUE(pulling.queue.want({10 * kBlock, kBlock}, IoClass::kCritical, pulling.now));
  const auto task = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(task);
  pulling.queue.on_complete(*task, false, pulling.now);

  EXPECT_FALSE(pulling.queue.pull(pulling.now));
  const Time retry = pulling.queue.ready_at(pulling.now);
  EXPECT_GT(retry, pulling.now);
  EXPECT_FALSE(pulling.queue.pull(retry - 1ns));
  const auto again = pulling.queue.pull(retry);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->range, task->range);
  EXPECT_EQ(again->io_class, IoClass::kCritical);
  // Each failure in a row doubles the wait, up to a bound.
  Nanos delay = retry - pulling.now;
  pulling.now = retry;
  pulling.queue.on_complete(*again, false, pulling.now);
  EXPECT_EQ(pulling.queue.ready_at(pulling.now) - pulling.now, 2 * delay);
}

TEST(PullQueue, ABackgroundPieceThatAGuestAskedForMeanwhileIsTriedAgainAtOnce) {
  Pulling pulling;
  const auto background = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(background);
  ASSERT_TRUE(
      pulling.queue.want({background->range.offset, kBlock}, IoClass::kCritical, pulling.now));
  pulling.queue.on_complete(*background, false, pulling.now);

  pulling.now = pulling.queue.ready_at(pulling.now);
  const auto again = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->io_class, IoClass::kCritical);
  EXPECT_EQ(again->range.offset, background->range.offset);
}

TEST(PullQueue, WhatIsForeseenBehindTheEndIsNotFetched) {
  Pulling pulling;
  EXPECT_TRUE(pulling.queue.want({1ull << 40, kBlock}, IoClass::kPrefetch, pulling.now));
  EXPECT_TRUE(
      pulling.queue.want({kDiskSize - kBlock, 8 * kBlock}, IoClass::kPrefetch, pulling.now));
  const auto task = pulling.queue.pull(pulling.now);
  ASSERT_TRUE(task);
  EXPECT_EQ(task->range, (ByteRange{kDiskSize - kBlock, kBlock}));
}

TEST(PullQueue, ForeseenRangesAreBounded) {
  PullQueue::Options options;
  options.wanted_max = 3;
  Pulling pulling(options);
  for (uint64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(pulling.queue.want({i * 8 * kBlock, kBlock}, IoClass::kPrefetch, pulling.now));
  EXPECT_FALSE(pulling.queue.want({80 * kBlock, kBlock}, IoClass::kPrefetch, pulling.now));
  EXPECT_TRUE(pulling.queue.want({80 * kBlock, kBlock}, IoClass::kCritical, pulling.now));
}

}  // namespace
}  // namespace forerun::disk
