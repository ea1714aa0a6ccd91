#include "daemon/disk_pull.h"

#include <gtest/gtest.h>

#include <future>

#include "daemon/pull_testing.h"

namespace forerun::daemon {
namespace {

using disk::filled;

constexpr uint64_t kBlocks = 200;
constexpr uint64_t kSize = kBlocks * kBlock;

class DiskPullTest : public testing::Test, protected PulledParts {
 protected:
  DiskPullTest() : PulledParts(kBlocks) {}
  ~DiskPullTest() override { pull_.reset(); }  // it may still say that it has finished
  void start() {
    pull_->start(source_, [this] { finished_.set_value(); });
  }
  void finish() { finished_.get_future().get(); }

  std::promise<void> finished_;
};

TEST_F(DiskPullTest, BringsEverythingAndSaysSoWhenItIsDurable) {
  start();
  finish();

  EXPECT_EQ(overlay_->pull_id(), 0u);
  EXPECT_TRUE(pull_->progress().is_finished);
  EXPECT_EQ(pull_->progress().remote_bytes, 0u);
  pull_.reset();
  overlay_.reset();
  folder_.cut_power(0.0);
  overlay_ = disk::open(folder_, disk::options_of(kSize));
  EXPECT_EQ(disk::read_through(*overlay_, {0, kSize}), content_of({0, kSize}));
}

TEST_F(DiskPullTest, WhoWaitsGetsItAheadOfTheRest) {
  std::promise<void> asked;
  std::shared_future<void> may_go = asked.get_future().share();
  std::mutex mutex;
  std::vector<ByteRange> order;
  source_->on_read = [&](ByteRange range, iosched::IoClass) -> Status {
    may_go.wait();
    const std::lock_guard lock(mutex);
    order.push_back(range);
    return {};
  };
  const ByteRange wanted[] = {{150 * kBlock, kBlock}, {160 * kBlock, 2 * kBlock}};
  pull_->ask(wanted);
  start();
  asked.set_value();

  EXPECT_TRUE(pull_->wait_for(wanted));
  finish();
  EXPECT_EQ(pull_->progress().by_class[0].pieces, 2u);
  EXPECT_EQ(pull_->progress().by_class[0].bytes, 3 * kBlock);
}

TEST_F(DiskPullTest, ALinkThatIsDownIsWaitedFor) {
  std::atomic<int> failures{20};
  source_->on_read = [&](ByteRange, iosched::IoClass) -> Status {
    if (failures.fetch_sub(1) > 0) return fail(ErrorCode::kUnavailable, "no link");
    return {};
  };
  const ByteRange wanted[] = {{9 * kBlock, kBlock}};
  start();
  pull_->ask(wanted);

  EXPECT_TRUE(pull_->wait_for(wanted));
  finish();
  EXPECT_EQ(pull_->progress().failed_pieces, 20u);
  EXPECT_EQ(pull_->progress().wrong_pieces, 0u);
  EXPECT_EQ(disk::read_through(*overlay_, {0, kSize}), content_of({0, kSize}));
}

TEST_F(DiskPullTest, WhatCameWrongIsNeverStored) {
  source_->wrong_left = 10;
  start();
  finish();

  EXPECT_EQ(pull_->progress().wrong_pieces, 10u);
  EXPECT_EQ(disk::read_through(*overlay_, {0, kSize}), content_of({0, kSize}));
}

TEST_F(DiskPullTest, AWriteThatIsFasterThanTheLinkStays) {
  // The guest writes each piece while it is under way, but for the first block of it.
  source_->on_read = [&](ByteRange range, iosched::IoClass) -> Status {
    if (range.length <= kBlock) return {};
    return overlay_->write(range.offset + kBlock, filled(range.length - kBlock, 0xee),
                           disk::no_base);
  };
  start();
  finish();

  const Buffer found = disk::read_through(*overlay_, {0, kSize});
  int written = 0;
  for (uint64_t at = 0; at < kSize; at += kBlock) {
    const ByteView block = ByteView(found).subspan(at, kBlock);
    const Buffer own = filled(kBlock, 0xee), theirs = content_of({at, kBlock});
    const bool is_own = std::ranges::equal(block, own);
    EXPECT_TRUE(is_own || std::ranges::equal(block, theirs)) << at / kBlock;
    written += is_own ? 1 : 0;
  }
  EXPECT_GT(written, 100);
}

TEST_F(DiskPullTest, WritersAndReadersBesideItSeeTheirOwn) {
  start();
  const auto use = [this](uint64_t first) {
    Rng rng(first);
    for (int i = 0; i < 200; ++i) {
      const uint64_t block = first + rng.below(kBlocks / 4) * 4;  // of this thread alone
      const ByteRange range{block * kBlock, kBlock};
      const Buffer data = filled(kBlock, i);
      if (!overlay_->write(range.offset, data, disk::no_base)) return false;
      if (disk::read_through(*overlay_, range) != data) return false;
      if (i % 20 == 0 && !overlay_->flush()) return false;
    }
    return true;
  };
  std::vector<std::future<bool>> guests;
  for (uint64_t i = 0; i < 3; ++i) guests.push_back(std::async(std::launch::async, use, i));
  for (auto& guest : guests) EXPECT_TRUE(guest.get());
  finish();
  for (uint64_t block = 3; block < kBlocks; block += 4) {  // nobody's
    const ByteRange range{block * kBlock, kBlock};
    EXPECT_EQ(disk::read_through(*overlay_, range), content_of(range));
  }
}

TEST_F(DiskPullTest, EndsWhenTheGuestWroteTheLastBlocks) {
  ASSERT_TRUE(overlay_->write(0, filled(kSize, 1), disk::no_base));
  start();
  finish();
  EXPECT_EQ(overlay_->pull_id(), 0u);
}

TEST_F(DiskPullTest, AnotherSourceTakesOver) {
  source_->on_read = [](ByteRange, iosched::IoClass) -> Status {
    return fail(ErrorCode::kDenied, "go away");
  };
  start();
  source_ = std::make_shared<FakeSource>();
  start();
  finish();
  EXPECT_EQ(disk::read_through(*overlay_, {0, kSize}), content_of({0, kSize}));
}

TEST_F(DiskPullTest, AnAbandonedWaitEnds) {
  const ByteRange wanted[] = {{9 * kBlock, kBlock}};
  pull_->ask(wanted);
  auto waiting = std::async(std::launch::async, [&] { return pull_->wait_for(wanted); });
  pull_->abandon();

  const Status waited = waiting.get();
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forerun::daemon
