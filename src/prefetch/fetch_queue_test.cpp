#include "prefetch/fetch_queue.h"

namespace forerun::prefetch {
namespace {

using iosched::IoClass;

repository::ChunkRef chunk(uint8_t n) {
  repository::ChunkRef ref;
  ref.id.bytes[0] = n;
  ref.size = 65536;
  ref.stored_size = 20000;
  return ref;
}
repository::ChunkPtr content(const repository::ChunkRef& ref) {
  return std::make_shared<repository::Chunk>(repository::Chunk{ref.id, Buffer(ref.size)});
}
Result<repository::ChunkPtr> failure(ErrorCode code) { return fail(code, "planted"); }

class FetchQueueTest : public testing::Test {
 protected:
  FetchQueue make(uint32_t sources) {
    FetchQueueOptions options;
    options.source_count = sources;
    return FetchQueue(options);
  }
  Time now_ = kTimeZero + 1s;
};

TEST_F(FetchQueueTest, AChunkWantedTwiceIsFetchedOnce) {
  FetchQueue queue = make(1);
  EXPECT_EQ(queue.want(chunk(1), IoClass::kPrefetch, VmId{1}, now_, now_), Wanted::kQueued);
  EXPECT_EQ(queue.want(chunk(1), IoClass::kCritical, VmId{2}, now_, now_), Wanted::kJoined);
  const auto task = queue.pull(0, now_);
  ASSERT_TRUE(task);
  EXPECT_EQ(task->io_class, IoClass::kCritical);
  EXPECT_FALSE(queue.pull(0, now_));
  const auto end = queue.on_complete(*task, content(task->chunk), now_);
  ASSERT_TRUE(end && end->chunk);
  EXPECT_EQ(end->asked_as, IoClass::kPrefetch);
  EXPECT_EQ(end->ended_as, IoClass::kCritical);
  EXPECT_FALSE(queue.is_pending(chunk(1).id));
}

TEST_F(FetchQueueTest, TheSourceThatIsSaidToHaveItIsAskedFirst) {
  FetchQueueOptions options;
  options.source_count = 2;
  options.first_source = [](const repository::ChunkRef& chunk) {
    return chunk.id.bytes[0] == 1 ? 1u : 0u;
  };
  FetchQueue queue(options);
  queue.want(chunk(1), IoClass::kCritical, VmId{1}, now_, now_);
  queue.want(chunk(2), IoClass::kCritical, VmId{1}, now_, now_);
  EXPECT_EQ(queue.pull(0, now_)->chunk.id, chunk(2).id);
  const auto task = queue.pull(1, now_);
  ASSERT_TRUE(task);
  // It was wrong about that: the other is asked.
  EXPECT_FALSE(queue.on_complete(*task, failure(ErrorCode::kNotFound), now_));
  queue.tick(now_);
  EXPECT_TRUE(queue.pull(0, now_));
}

TEST_F(FetchQueueTest, CorruptChunkIsFetchedFromTheOtherSource) {
  FetchQueue queue = make(2);
  queue.want(chunk(1), IoClass::kCritical, VmId{1}, now_, now_);
  const auto first = queue.pull(0, now_);
  EXPECT_FALSE(queue.on_complete(*first, failure(ErrorCode::kCorrupt), now_));
  queue.tick(now_);
  EXPECT_FALSE(queue.pull(0, now_));
  const auto second = queue.pull(1, now_);
  ASSERT_TRUE(second);
  EXPECT_TRUE(queue.on_complete(*second, content(second->chunk), now_)->chunk);
}

TEST_F(FetchQueueTest, ChunkThatNoSourceHasIsGivenUpNamingIt) {
  FetchQueue queue = make(2);
  queue.want(chunk(7), IoClass::kCritical, VmId{1}, now_, now_);
  std::optional<FetchEnd> end;
  int attempts = 0;
  while (!end) {
    now_ = std::max(now_, queue.next_retry_at() == kTimeNever ? now_ : queue.next_retry_at());
    queue.tick(now_);
    auto task = queue.pull(0, now_);
    if (!task) task = queue.pull(1, now_);
    ASSERT_TRUE(task);
    ++attempts;
    end = queue.on_complete(*task, failure(ErrorCode::kNotFound), now_);
  }
  EXPECT_EQ(attempts, 4);
  ASSERT_FALSE(end->chunk);
  EXPECT_THAT(end->chunk.error().message, testing::HasSubstr(chunk(7).id.hex()));
  EXPECT_EQ(queue.pending_count(), 0u);
}

TEST_F(FetchQueueTest, SilentGoodSourceIsWaitedForWhateverABadOneSays) {
  FetchQueue queue = make(2);
  queue.want(chunk(1), IoClass::kCritical, VmId{1}, now_, now_);
  for (int round = 0; round < 20; ++round) {
    now_ = std::max(now_, queue.next_retry_at() == kTimeNever ? now_ : queue.next_retry_at());
    queue.tick(now_);
    if (const auto bad = queue.pull(0, now_)) {
      ASSERT_FALSE(queue.on_complete(*bad, failure(ErrorCode::kCorrupt), now_));
    }
    if (const auto silent = queue.pull(1, now_)) {
      ASSERT_FALSE(queue.on_complete(*silent, failure(ErrorCode::kTimedOut), now_));
    }
  }
  now_ = queue.next_retry_at();
  queue.tick(now_);
  const auto healed = queue.pull(1, now_);
  ASSERT_TRUE(healed);
  EXPECT_TRUE(queue.on_complete(*healed, content(healed->chunk), now_)->chunk);
}

TEST_F(FetchQueueTest, GuestWaitsForACutLinkWithGrowingPauses) {
  FetchQueue queue = make(1);
  queue.want(chunk(1), IoClass::kCritical, VmId{1}, now_, now_);
  Nanos last_pause{0};
  for (int i = 0; i < 20; ++i) {
    const auto task = queue.pull(0, now_);
    ASSERT_TRUE(task);
    ASSERT_FALSE(queue.on_complete(*task, failure(ErrorCode::kUnavailable), now_));
    const Nanos pause = queue.next_retry_at() - now_;
    EXPECT_GE(pause, std::min<Nanos>(last_pause, 5s));
    EXPECT_LE(pause, 5s);
    last_pause = pause;
    now_ = queue.next_retry_at();
    queue.tick(now_);
  }
  const auto task = queue.pull(0, now_);
  EXPECT_TRUE(queue.on_complete(*task, content(task->chunk), now_)->chunk);
}

TEST_F(FetchQueueTest, GuestIsToldAfterTheStatedTime) {
  FetchQueueOptions options;
  options.unavailable_max = 10s;
  FetchQueue queue(options);
  queue.want(chunk(1), IoClass::kCritical, VmId{1}, now_, now_);
  const Time begin = now_;
  std::optional<FetchEnd> end;
  while (!end) {
    queue.tick(now_);
    end = queue.on_complete(*queue.pull(0, now_), failure(ErrorCode::kTimedOut), now_);
    if (!end) now_ = queue.next_retry_at();
  }
  EXPECT_GE(now_ - begin, 10s);
  EXPECT_LT(now_ - begin, 16s);
  EXPECT_FALSE(end->chunk);
}

TEST_F(FetchQueueTest, PrefetchDoesNotWaitForACutLink) {
  FetchQueue queue = make(1);
  queue.want(chunk(1), IoClass::kPrefetch, VmId{1}, now_, now_);
  const auto end = queue.on_complete(*queue.pull(0, now_), failure(ErrorCode::kUnavailable), now_);
  ASSERT_TRUE(end);
  EXPECT_FALSE(end->chunk);
}

TEST_F(FetchQueueTest, PrefetchThatBecameCriticalInFlightIsTriedAgain) {
  FetchQueue queue = make(1);
  queue.want(chunk(1), IoClass::kPrefetch, VmId{1}, now_, now_);
  const auto task = queue.pull(0, now_);
  queue.want(chunk(1), IoClass::kCritical, VmId{1}, now_, now_);
  EXPECT_FALSE(queue.on_complete(*task, failure(ErrorCode::kUnavailable), now_));
}

TEST_F(FetchQueueTest, OnlyAQueuedPrefetchCanBeCancelled) {
  FetchQueue queue = make(1);
  queue.want(chunk(1), IoClass::kPrefetch, VmId{1}, now_, now_);
  queue.want(chunk(2), IoClass::kCritical, VmId{1}, now_, now_);
  EXPECT_TRUE(queue.cancel(chunk(1).id));
  EXPECT_FALSE(queue.cancel(chunk(2).id));
  EXPECT_FALSE(queue.cancel(chunk(3).id));
  EXPECT_EQ(queue.pending_count(), 1u);
}

}  // namespace
}  // namespace forerun::prefetch
