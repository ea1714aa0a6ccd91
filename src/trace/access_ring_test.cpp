#include "trace/access_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace forerun::trace {
namespace {

Access access_of(uint32_t vm, uint64_t block) {
  Access access;
  access.vm = VmId{vm};
  access.first_block = block;
  access.block_count = vm + 1;
  return access;
}

std::vector<uint64_t> drain_blocks(AccessRing& ring, size_t most) {
  std::vector<Access> out(most);
  out.resize(ring.drain(out));
  std::vector<uint64_t> blocks;
  for (const Access& access : out) blocks.push_back(access.first_block);
  return blocks;
}

TEST(AccessRing, GivesBackInOrderAndWhole) {
  AccessRing ring(8);
  Access sent = access_of(3, 77);
  sent.op = Op::kTrim;
  sent.served_from = ServedFrom::kRepository;
  sent.waited_us = 1234;
  sent.component = ComponentId{5};
  sent.at = kTimeZero + 9ms;
  ASSERT_TRUE(ring.push(sent));
  std::array<Access, 2> out;
  ASSERT_EQ(ring.drain(out), 1u);
  EXPECT_EQ(out[0].at, sent.at);
  EXPECT_EQ(out[0].vm, sent.vm);
  EXPECT_EQ(out[0].component, sent.component);
  EXPECT_EQ(out[0].first_block, 77u);
  EXPECT_EQ(out[0].block_count, 4u);
  EXPECT_EQ(out[0].op, Op::kTrim);
  EXPECT_EQ(out[0].served_from, ServedFrom::kRepository);
  EXPECT_EQ(out[0].waited_us, 1234u);
}

TEST(AccessRing, EmptyGivesNothing) {
  AccessRing ring(4);
  EXPECT_TRUE(drain_blocks(ring, 4).empty());
}

TEST(AccessRing, RoundsCapacityUpWithinItsLimits) {
  EXPECT_EQ(AccessRing(5).capacity(), 8u);
  EXPECT_EQ(AccessRing(0).capacity(), 2u);
  EXPECT_EQ(AccessRing(size_t{1} << 40).capacity(), AccessRing::kCapacityMax);
}

TEST(AccessRing, FullRingDropsTheNewestAndCounts) {
  AccessRing ring(4);
  for (uint64_t block = 0; block < 4; ++block) EXPECT_TRUE(ring.push(access_of(0, block)));
  EXPECT_FALSE(ring.push(access_of(0, 4)));
  EXPECT_FALSE(ring.push(access_of(0, 5)));
  EXPECT_EQ(ring.dropped(), 2u);
  EXPECT_EQ(drain_blocks(ring, 10), (std::vector<uint64_t>{0, 1, 2, 3}));
  EXPECT_TRUE(ring.push(access_of(0, 6)));
  EXPECT_EQ(drain_blocks(ring, 10), (std::vector<uint64_t>{6}));
}

TEST(AccessRing, DrainsNoMoreThanAskedAndGoesOnThere) {
  AccessRing ring(8);
  for (uint64_t block = 0; block < 5; ++block) ring.push(access_of(0, block));
  EXPECT_EQ(drain_blocks(ring, 2), (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(drain_blocks(ring, 2), (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(drain_blocks(ring, 2), (std::vector<uint64_t>{4}));
}

TEST(AccessRing, KeepsOrderOverManyRounds) {
  AccessRing ring(4);
  uint64_t expected = 0;
  for (uint64_t block = 0; block < 1000; block += 3) {
    for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(ring.push(access_of(0, block + i)));
    for (const uint64_t got : drain_blocks(ring, 4)) ASSERT_EQ(got, expected++);
  }
  EXPECT_EQ(expected, 1002u);
}

// Each producer's accesses arrive whole and in its order; none is both dropped and delivered.
TEST(AccessRing, ManyProducersLoseOnlyWhatIsCounted) {
  constexpr uint32_t kProducers = 3;
  constexpr uint64_t kEach = 4000;
  AccessRing ring(64);
  std::atomic<uint32_t> running{kProducers};
  std::atomic<uint64_t> accepted{0};
  std::vector<std::thread> producers;
  for (uint32_t p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      for (uint64_t i = 0; i < kEach; ++i) accepted += ring.push(access_of(p, i + 1)) ? 1 : 0;
      --running;
    });
  }
  std::array<uint64_t, kProducers> last{};
  uint64_t received = 0;
  std::array<Access, 16> out;
  for (bool over = false; !over;) {
    over = running == 0;  // read before draining: what was pushed before is then drained to the end
    while (const size_t count = ring.drain(out)) {
      for (const Access& access : std::span(out).first(count)) {
        ASSERT_LT(access.vm.value, kProducers);
        ASSERT_EQ(access.block_count, access.vm.value + 1);
        ASSERT_GT(access.first_block, last[access.vm.value]);
        last[access.vm.value] = access.first_block;
      }
      received += count;
    }
  }
  for (auto& producer : producers) producer.join();
  EXPECT_EQ(received, accepted.load());
  EXPECT_EQ(received + ring.dropped(), kProducers * kEach);
}

}  // namespace
}  // namespace forerun::trace
