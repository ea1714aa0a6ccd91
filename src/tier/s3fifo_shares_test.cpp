// Readers that share a cache: what one does to what another holds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "tier/s3fifo.h"

namespace forerun::tier {
namespace {

// A cache of entries of size 1 that each reader reads through.
class Cache {
 public:
  explicit Cache(uint64_t entries_max) : fifo_({.bytes_max = entries_max, .burst_accesses = 0}) {}

  Reader reader(uint32_t tenant) {
    fifo_.add_reader(next_, tenant);
    return next_++;
  }
  bool read(Reader reader, uint64_t id) {
    if (fifo_.use(id, reader).value != nullptr) return true;
    bring(reader, id, Admission::kDemand);
    return false;
  }
  bool bring(Reader reader, uint64_t id, Admission admission) {
    std::vector<S3Fifo<uint64_t, int>::Evicted> evicted;
    return fifo_.insert(id, 1, 0, admission, evicted, reader);
  }
  // Reads `count` of a loop over `size` ids from `first` on, over and over; returns the hits.
  uint64_t loop(Reader reader, uint64_t first, uint64_t size, uint64_t count) {
    uint64_t hits = 0;
    for (uint64_t i = 0; i < count; ++i) hits += read(reader, first + i % size);
    return hits;
  }
  S3Fifo<uint64_t, int>& fifo() { return fifo_; }

 private:
  S3Fifo<uint64_t, int> fifo_;
  Reader next_ = 0;
};

TEST(S3FifoShares, AScanLeavesOthersTheirs) {
  Cache cache(1000);
  const Reader honest = cache.reader(1), hostile = cache.reader(2);
  cache.loop(honest, 0, 400, 2000);
  for (uint64_t i = 0; i < 100'000; ++i) cache.read(hostile, 1'000'000 + i);
  EXPECT_EQ(cache.loop(honest, 0, 400, 400), 400u);
  EXPECT_LT(cache.fifo().holds(hostile).share_bytes, 100u) << "it earned nothing";
}

TEST(S3FifoShares, RereadingEarnsNoMoreThanAnEqualPartOfAFullCache) {
  Cache cache(1000);
  const Reader honest = cache.reader(1), hostile = cache.reader(2);
  cache.loop(honest, 0, 450, 4500);
  for (uint64_t i = 0; i < 100'000; ++i) {  // each id four times, some way apart
    for (uint64_t k = 0; k < 4; ++k) cache.read(hostile, 1'000'000 + i - k * 30);
    if (i % 10 == 0) cache.read(honest, i / 10 % 450);
  }
  EXPECT_GE(cache.loop(honest, 0, 450, 450), 440u);
}

TEST(S3FifoShares, RoomThatNobodyUsesIsForEverybody) {
  Cache cache(1000);
  const Reader busy = cache.reader(1);
  cache.reader(2);
  EXPECT_EQ(cache.loop(busy, 0, 900, 1800), 900u) << "all that does not fit its part is here too";
}

TEST(S3FifoShares, WhoWasOverItsShareGivesWayFirst) {
  Cache cache(1000);
  const Reader first = cache.reader(1), late = cache.reader(2);
  cache.loop(first, 0, 1000, 5000);
  cache.loop(late, 10'000, 400, 2000);
  EXPECT_EQ(cache.loop(late, 10'000, 400, 400), 400u);
  EXPECT_LE(cache.fifo().holds(first).bytes, 600u);
}

TEST(S3FifoShares, ManyReadersOfOneTenantHaveOnePart) {
  Cache cache(1000);
  const Reader honest = cache.reader(1);
  std::vector<Reader> hostile;
  for (int i = 0; i < 20; ++i) hostile.push_back(cache.reader(2));
  Rng rng(3);
  for (uint64_t i = 0; i < 200'000; ++i) {
    const uint64_t of = rng.below(hostile.size());
    cache.read(hostile[of], 1'000'000 * (of + 1) + rng.below(300));
    if (i % 20 == 0) cache.read(honest, i / 20 % 400);
  }
  EXPECT_GE(cache.loop(honest, 0, 400, 400), 390u);
}

TEST(S3FifoShares, WhatTwoUseIsHeldByNeither) {
  Cache cache(1000);
  const Reader a = cache.reader(1), b = cache.reader(2);
  cache.loop(a, 0, 100, 100);
  EXPECT_EQ(cache.fifo().holds(a).bytes, 100u);
  cache.loop(b, 0, 100, 100);
  EXPECT_EQ(cache.fifo().holds(a).bytes, 0u);
  EXPECT_EQ(cache.fifo().holds(b).bytes, 0u);
  EXPECT_EQ(cache.fifo().bytes(), 100u);
}

TEST(S3FifoShares, WhatTwoUseStaysThroughAScanOfAThird) {
  Cache cache(900);
  const Reader a = cache.reader(1), b = cache.reader(2), scan = cache.reader(3);
  for (int i = 0; i < 5; ++i) {
    cache.loop(a, 0, 250, 250);
    cache.loop(b, 0, 250, 250);
  }
  for (uint64_t i = 0; i < 50'000; ++i) cache.read(scan, 1'000'000 + i);
  EXPECT_GE(cache.loop(a, 0, 250, 250), 245u) << "each pays half of it";
}

TEST(S3FifoShares, PrefetchesOfALiarLeaveOthersTheirs) {
  Cache cache(1000);
  const Reader honest = cache.reader(1), liar = cache.reader(2);
  cache.loop(honest, 0, 450, 2000);
  for (uint64_t i = 0; i < 50'000; ++i) cache.bring(liar, 1'000'000 + i, Admission::kPrefetch);
  EXPECT_EQ(cache.loop(honest, 0, 450, 450), 450u);
}

TEST(S3FifoShares, APrefetchBelongsToWhoUsesIt) {
  Cache cache(1000);
  const Reader a = cache.reader(1), b = cache.reader(2);
  cache.bring(a, 7, Admission::kPrefetch);
  EXPECT_EQ(cache.fifo().holds(a).bytes, 1u);
  EXPECT_TRUE(cache.read(b, 7));
  EXPECT_EQ(cache.fifo().holds(a).bytes, 0u);
  EXPECT_EQ(cache.fifo().holds(b).bytes, 1u);
}

TEST(S3FifoShares, WhatLeftWithAReaderIsNobodysAndStillHere) {
  Cache cache(100);
  const Reader gone = cache.reader(1);
  cache.loop(gone, 0, 50, 100);
  cache.fifo().remove_reader(gone);
  EXPECT_EQ(cache.fifo().bytes(), 50u);
  const Reader next = cache.reader(1);
  EXPECT_EQ(cache.loop(next, 0, 50, 50), 50u);
  EXPECT_EQ(cache.fifo().holds(next).bytes, 50u);
}

TEST(S3FifoShares, OneThatLostItsShareEarnsItBack) {
  Cache cache(1000);
  const Reader changed = cache.reader(1), other = cache.reader(2);
  for (uint64_t i = 0; i < 20'000; ++i) {
    cache.read(changed, 1'000'000 + i);
    cache.read(other, i % 900);
  }
  ASSERT_LT(cache.fifo().holds(changed).share_bytes, 200u);
  for (uint64_t i = 0; i < 20'000; ++i) {
    cache.read(changed, 5'000'000 + i % 400);
    cache.read(other, i % 900);
  }
  EXPECT_GE(cache.fifo().holds(changed).share_bytes, 380u);
  EXPECT_GE(cache.loop(changed, 5'000'000, 400, 400), 390u);
}

TEST(S3FifoShares, AnIdleOnesShareFades) {
  Cache cache(1000);
  const Reader idle = cache.reader(1), busy = cache.reader(2);
  cache.loop(idle, 0, 400, 2000);
  cache.loop(busy, 10'000, 1000, 20'000);
  EXPECT_EQ(cache.loop(idle, 0, 400, 400), 400u);
  for (int i = 0; i < 3; ++i) {
    cache.fifo().age_shares();
    cache.loop(busy, 10'000, 900, 20'000);
  }
  EXPECT_GE(cache.loop(busy, 10'000, 900, 900), 850u);
}

TEST(S3FifoShares, SumsHoldUnderRandomUse) {
  Cache cache(300);
  Rng rng(9);
  std::vector<Reader> readers;
  for (uint32_t i = 0; i < 6; ++i) readers.push_back(cache.reader(i / 2));
  for (int i = 0; i < 20'000; ++i) {
    const Reader by = readers[rng.below(readers.size())];
    const uint64_t id = rng.below(40) * by + rng.below(400);
    if (rng.chance(0.3))
      cache.bring(by, id, Admission::kPrefetch);
    else
      cache.read(by, id);
    if (rng.chance(0.01)) cache.fifo().erase(id);
    if (rng.chance(0.002)) {
      cache.fifo().remove_reader(by);
      cache.fifo().add_reader(by, static_cast<uint32_t>(rng.below(3)));
    }
    uint64_t bytes = 0, shares = 0;
    cache.fifo().for_each([&](uint64_t, int, uint64_t size, bool, Readers) { bytes += size; });
    for (const Reader reader : readers) shares += cache.fifo().holds(reader).share_bytes;
    ASSERT_EQ(bytes, cache.fifo().bytes());
    ASSERT_LE(bytes, 300u);
    ASSERT_LE(shares, 300u);
    ASSERT_LE(cache.fifo().ghost_bytes(), 2 * 300u);
  }
}

}  // namespace
}  // namespace forerun::tier
