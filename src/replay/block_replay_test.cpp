#include "replay/block_replay.h"

#include <gmock/gmock.h>

#include "core/rng.h"

namespace forerun::replay {
namespace {

constexpr BlockWorld kWorld{.hit_us = 20, .miss_us = 1000, .block_us = 20};

// Says before each read what it was told to.
class Scripted final : public BlockMethod {
 public:
  explicit Scripted(std::vector<std::vector<BlockRun>> script) : script_(std::move(script)) {}
  std::string_view name() const override { return "scripted"; }
  void on_read(const BlockAccess& /*access*/, bool is_hit, double now_us,
               std::vector<BlockRun>& out) override {
    hits.push_back(is_hit);
    times.push_back(now_us);
    if (at_ < script_.size()) out = script_[at_];
    ++at_;
  }
  void on_used(uint64_t block, bool is_late) override { (is_late ? late : used).push_back(block); }
  void on_unused(uint64_t block) override { unused.push_back(block); }
  size_t state_bytes() const override { return 5; }

  std::vector<bool> hits;
  std::vector<double> times;
  std::vector<uint64_t> used, late, unused;

 private:
  std::vector<std::vector<BlockRun>> script_;
  size_t at_ = 0;
};

BlockAccess read(uint64_t first, uint32_t count = 1) { return {0, first, count, false}; }
BlockAccess write(uint64_t first, uint32_t count = 1) { return {0, first, count, true}; }

BlockOutcome run(const std::vector<BlockAccess>& trace, BlockMethod* method = nullptr,
                 size_t cache = 100, const BlockWorld& world = kWorld) {
  return BlockReplay(trace, cache, world, nullptr).run(method, {});
}

TEST(BlockReplay, AMissTakesTheLatencyAndTheTimeOfItsBlocks) {
  const auto outcome = run({read(0, 3), read(0, 3), read(2, 2)});
  EXPECT_EQ(outcome.method, "none");
  EXPECT_EQ(outcome.reads, 3U);
  EXPECT_EQ(outcome.reads_missed, 2U);
  EXPECT_EQ(outcome.blocks_missed, 4U);
  EXPECT_DOUBLE_EQ(outcome.mean_us, (1060 + 20 + 1020) / 3.0);
}

TEST(BlockReplay, AWriteFillsTheCacheAndIsNotScored) {
  const auto outcome = run({write(7), read(7)});
  EXPECT_EQ(outcome.reads, 1U);
  EXPECT_DOUBLE_EQ(outcome.mean_us, 20);
}

TEST(BlockReplay, NothingIsFetchedAheadBeyondTheCapOnTraffic) {
  std::vector<BlockAccess> trace;
  std::vector<std::vector<BlockRun>> script;
  for (uint64_t i = 0; i < 100; ++i) {
    trace.push_back(read(1000 * i));
    script.push_back({{1000 * i + 500, 3}});  // in vain
  }
  BlockWorld world = kWorld;
  for (const double cap : {1.0, 1.5, 2.0}) {
    world.traffic_max = cap;
    Scripted method(script);
    const auto outcome = run(trace, &method, 1000, world);
    EXPECT_EQ(outcome.blocks_issued, static_cast<uint64_t>(100 * (cap - 1)));
  }
}

TEST(BlockReplay, WhoReadsAPrefetchedBlockTooEarlyWaitsForTheRest) {
  // The first read is at 0 and takes 1020; its prefetches come at 20 + 20 + 1000 and 20 later.
  Scripted method({{{10, 2}}});
  const auto trace = std::vector{read(0), read(10), read(11), read(12)};
  const auto outcome = run(trace, &method);
  EXPECT_THAT(method.times, ::testing::ElementsAre(0, 1020, 1060, 1080));
  EXPECT_THAT(method.late, ::testing::ElementsAre(10));
  EXPECT_THAT(method.used, ::testing::ElementsAre(11));
  EXPECT_THAT(method.hits, ::testing::ElementsAre(false, true, true, false));
  EXPECT_DOUBLE_EQ(outcome.mean_us, (1020 + 40 + 20 + 1020) / 4.0);
  EXPECT_DOUBLE_EQ(outcome.late_wait_us, 20);
  const auto none = run(trace);
  EXPECT_DOUBLE_EQ(outcome.coverage(none), 0.5);
  EXPECT_DOUBLE_EQ(outcome.traffic(none), 1);
  EXPECT_DOUBLE_EQ(outcome.accuracy(), 1);
  EXPECT_DOUBLE_EQ(outcome.timely(), 0.5);
}

TEST(BlockReplay, DemandPushesPrefetchesBack) {
  Scripted method({{{10, 1}}, {{11, 1}}});
  run({read(0), read(1, 5), read(11)}, &method);
  // 11 was said at 1020; the link then carries 5 blocks first: 1020 + 100 + 20 + 1000.
  EXPECT_THAT(method.times, ::testing::ElementsAre(0, 1020, 2120));
  EXPECT_THAT(method.late, ::testing::ElementsAre(11));
}

TEST(BlockReplay, AWriteTakesTheCreditOfAPrefetch) {
  Scripted method({{{10, 1}}});
  const auto outcome = run({read(0), write(10), read(10)}, &method);
  EXPECT_EQ(outcome.blocks_issued, 1U);
  EXPECT_EQ(outcome.blocks_used, 0U);
}

TEST(BlockReplay, WhatIsHereIsNotFetchedAndWhatLeavesUnusedIsTold) {
  Scripted method({{{0, 3}}, {{20, 2}}});
  const auto outcome = run({read(0), read(1), read(50, 2)}, &method, 3);
  EXPECT_EQ(outcome.blocks_issued, 4U);  // 1, 2, then 20 and 21
  EXPECT_THAT(method.unused, ::testing::ElementsAre(2, 20));
}

TEST(BlockReplay, CountsWhatPrefetchesPushedOut) {
  Scripted method({{}, {{20, 2}}});
  const auto outcome = run({read(0), read(1), read(0)}, &method, 2);
  EXPECT_EQ(outcome.polluted_blocks, 1U);
  EXPECT_EQ(run({read(0), read(1), read(0)}, nullptr, 2).blocks_missed, 2U);
}

TEST(BlockReplay, RecordedTimesLetPrefetchesComeMeanwhile) {
  Scripted method({{{10, 1}}});
  BlockWorld world = kWorld;
  world.has_recorded_times = true;
  const std::vector<BlockAccess> trace = {{0, 0, 1, false}, {5000, 10, 1, false}};
  const auto outcome = run(trace, &method, 100, world);
  EXPECT_THAT(method.used, ::testing::ElementsAre(10));
  EXPECT_DOUBLE_EQ(outcome.p999_us, 20);
}

TEST(BlockReplay, AWarmUpIsReplayedAndNotScored) {
  BlockWorld world = kWorld;
  world.warm_up_share = 0.5;
  const auto outcome = run({read(0), read(1), read(0), read(1)}, nullptr, 100, world);
  EXPECT_EQ(outcome.reads, 2U);
  EXPECT_DOUBLE_EQ(outcome.mean_us, 20);
}

TEST(BlockReplay, RequestsCoverTheBlocksTheyTouch) {
  BlockAccesses accesses(4096);
  ASSERT_TRUE(accesses.add({3, trace::Op::kRead, 7, 2}));
  ASSERT_TRUE(accesses.add({4, trace::Op::kWrite, 8, 8}));
  EXPECT_EQ(accesses.all()[0].first_block, 0U);
  EXPECT_EQ(accesses.all()[0].block_count, 2U);
  EXPECT_EQ(accesses.all()[1].first_block, 1U);
  EXPECT_EQ(accesses.all()[1].block_count, 1U);
  EXPECT_TRUE(accesses.all()[1].is_write);
  EXPECT_EQ(accesses.distinct_blocks(), 2U);
  EXPECT_EQ(BlockReplay::cache_blocks(accesses, kWorld), 64U);
}

// A disk with streams, loops and jumps.
std::vector<BlockAccess> mixed_trace(uint64_t seed) {
  Rng rng(seed);
  std::vector<BlockAccess> trace;
  uint64_t stream = 1000;
  for (int i = 0; i < 2000; ++i) {
    const auto kind = rng.below(4);
    if (kind == 0) stream += 4;
    const uint64_t first = kind == 0 ? stream : kind == 1 ? 50 + i % 40 * 16 : rng.below(5000);
    trace.push_back({i * 100.0, first, 1 + static_cast<uint32_t>(rng.below(8)), kind == 3});
  }
  return trace;
}

TEST(BlockMethods, EachKeepsTheBooksAndIsDeterministic) {
  const auto trace = mixed_trace(1);
  const auto none = run(trace, nullptr, 200);
  for (const std::string_view name : block_method_names()) {
    const auto first = make_block_method(name, {trace, 200});
    const auto second = make_block_method(name, {trace, 200});
    ASSERT_TRUE(first) << name;
    const auto a = run(trace, first->get(), 200), b = run(trace, second->get(), 200);
    EXPECT_EQ(a.method, name);
    EXPECT_EQ(a.reads, none.reads) << name;
    EXPECT_EQ(a.mean_us, b.mean_us) << name;
    EXPECT_EQ(a.blocks_issued, b.blocks_issued) << name;
    EXPECT_LE(a.blocks_late, a.blocks_used) << name;
    EXPECT_LE(a.blocks_used, a.blocks_issued) << name;
    EXPECT_EQ(a.window_mean_us.size(), none.window_mean_us.size()) << name;
  }
}

TEST(BlockMethods, TheOracleHardlyMisses) {
  const auto trace = mixed_trace(2);
  const auto oracle = make_block_method("oracle", {trace, 400});
  const auto outcome = run(trace, oracle->get(), 400);
  EXPECT_LT(outcome.reads_missed, outcome.reads / 50);
  EXPECT_GT(outcome.accuracy(), 0.98);
}

TEST(BlockMethods, RefusesAnUnknownNameAndSaysWhichThereAre) {
  const auto made = make_block_method("tarot", {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(made.error().message, ::testing::HasSubstr("none, obl, readahead"));
}

// What a method says of a trace, read by read.
std::vector<std::vector<BlockRun>> sayings(std::string_view name,
                                           const std::vector<BlockAccess>& trace, bool is_hit) {
  const auto method = std::move(*make_block_method(name, {trace, 100}));
  std::vector<std::vector<BlockRun>> said;
  for (const BlockAccess& access : trace) method->on_read(access, is_hit, 0, said.emplace_back());
  return said;
}

MATCHER_P2(IsRun, first, count, "") { return arg.first_block == first && arg.block_count == count; }
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PeerMethods, SayWhatTheirRulesSay) {
  EXPECT_THAT(sayings("obl", {read(5, 3)}, false)[0], ElementsAre(IsRun(8U, 1U)));
  const auto ahead = sayings("readahead", {read(0, 2), read(2, 2), read(4, 2), read(6, 2)}, false);
  EXPECT_THAT(ahead[0], IsEmpty());
  EXPECT_THAT(ahead[1], ElementsAre(IsRun(4U, 4U)));
  EXPECT_THAT(ahead[2], ElementsAre(IsRun(8U, 8U)));  // the mark, 4, was passed
  EXPECT_THAT(ahead[3], ElementsAre(IsRun(16U, 16U)));
  const auto leap = sayings("leap", {read(0), read(9), read(18), read(27), read(36)}, true);
  EXPECT_THAT(leap[3], IsEmpty());  // three deltas are no window yet
  EXPECT_THAT(leap[4][0], IsRun(45U, 1U));
  EXPECT_EQ(leap[4].size(), 8U);
  const auto next = sayings("markov1", {read(1), read(7, 2), read(1), read(9), read(1)}, false);
  EXPECT_THAT(next[2], ElementsAre(IsRun(7U, 2U)));
  EXPECT_THAT(next[4], ElementsAre(IsRun(7U, 2U), IsRun(9U, 1U)));
}

TEST(PeerMethods, MithrilSaysPairsOfMissesSeenTwice) {
  const std::vector<BlockAccess> trace = {read(1), read(7, 2), read(1), read(7, 2), read(1)};
  const auto missed = sayings("mithril", trace, false);
  EXPECT_THAT(missed[2], IsEmpty());
  EXPECT_THAT(missed[4], ElementsAre(IsRun(7U, 2U)));
  EXPECT_THAT(sayings("mithril", trace, true)[4], IsEmpty());
}

}  // namespace
}  // namespace forerun::replay
