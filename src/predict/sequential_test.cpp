#include "predict/sequential.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;

TEST(Sequential, SaysWhatFollowsTheFirstAccess) {
  SequentialModel model;
  const auto said = said_of(model, read_of(100));
  EXPECT_EQ(blocks_of(said), (std::set<uint64_t>{101, 102}));
  EXPECT_GT(said[0].confidence, said[1].confidence);
}

TEST(Sequential, SaysEachBlockOnceAndReadsAheadFurtherTheLongerTheRun) {
  SequentialModel model;
  std::set<uint64_t> all;
  uint64_t farthest = 0;
  for (uint64_t block = 0; block < 64; ++block) {
    for (const uint64_t ahead : blocks_of(said_of(model, read_of(block, 1, 10ms * block)))) {
      EXPECT_TRUE(all.insert(ahead).second) << ahead;
      EXPECT_GT(ahead, block);
      farthest = std::max(farthest, ahead - block);
    }
  }
  EXPECT_GE(farthest, 16u);
  EXPECT_LE(farthest, 64u);
  for (uint64_t block = 1; block < 64; ++block) EXPECT_TRUE(all.contains(block)) << block;
}

TEST(Sequential, IsSurerAfterALongRun) {
  SequentialModel model;
  const float first = said_of(model, read_of(0)).at(0).confidence;
  float last = 0;
  for (uint64_t block = 1; block < 40; ++block) {
    const auto said = said_of(model, read_of(block));
    if (!said.empty()) last = said[0].confidence;
  }
  EXPECT_GT(last, first + 0.1f);
}

TEST(Sequential, FollowsManyInterleavedStreams) {
  SequentialModel model;
  constexpr uint64_t kStreams = 64;
  std::set<uint64_t> said;
  for (uint64_t step = 0; step < 20; ++step)
    for (uint64_t stream = 0; stream < kStreams; ++stream)
      said.merge(blocks_of(said_of(model, read_of(stream * 10'000 + step))));
  for (uint64_t stream = 0; stream < kStreams; ++stream)
    for (uint64_t step = 1; step < 20; ++step) EXPECT_TRUE(said.contains(stream * 10'000 + step));
}

TEST(Sequential, GoesOnOverASmallGapOnly) {
  SequentialModel model({.streams_max = 8, .gap_max = 2, .degree_first = 1, .degree_max = 8});
  said_of(model, read_of(10));
  said_of(model, read_of(11));
  const auto over_gap = said_of(model, read_of(14));  // skips 12 and 13
  const auto over_hole = said_of(model, read_of(40));
  ASSERT_FALSE(over_gap.empty());
  EXPECT_EQ(over_gap[0].first_block, 15u);
  EXPECT_GT(over_gap[0].context, over_hole[0].context);  // a run, not a beginning
}

TEST(Sequential, ReadsAheadSoonerAfterTheGuestHadToWait) {
  SequentialModel patient, hurried;
  uint64_t patient_lead = 0, hurried_lead = 0;
  for (uint64_t block = 0; block < 10; ++block) {
    const auto one = blocks_of(said_of(patient, read_of(block)));
    const auto from = block == 0 ? trace::ServedFrom::kMemory : trace::ServedFrom::kRepository;
    const auto two = blocks_of(said_of(hurried, read_of(block, 1, 0ms, from)));
    if (!one.empty()) patient_lead = *one.rbegin() - block;
    if (!two.empty()) hurried_lead = *two.rbegin() - block;
  }
  EXPECT_GT(hurried_lead, patient_lead);
}

TEST(Sequential, SaysNothingForRepeatsAndWrites) {
  SequentialModel model;
  said_of(model, read_of(5));
  EXPECT_THAT(said_of(model, read_of(5)), IsEmpty());
  EXPECT_THAT(said_of(model, write_of(6)), IsEmpty());
}

TEST(Sequential, KeepsComponentsApart) {
  SequentialModel model;
  auto other = read_of(101);
  said_of(model, read_of(100));
  other.component = ComponentId{9};
  for (const Candidate& candidate : said_of(model, other))
    EXPECT_EQ(candidate.component, ComponentId{9});
}

TEST(Sequential, OfSmallBlocksItFollowsTheSizeOfRequests) {
  SequentialModel model(SequentialModel::for_blocks(4096));
  EXPECT_EQ(blocks_of(said_of(model, read_of(100, 13))), (std::set<uint64_t>{113}));
  const auto second = blocks_of(said_of(model, read_of(113, 13)));
  EXPECT_EQ(*second.begin(), 126U);
  EXPECT_EQ(second.size(), 26U);  // two requests
  uint64_t next = 126;
  std::set<uint64_t> said = second;
  for (int i = 0; i < 20; ++i, next += 13) {
    for (uint64_t block = next; block < next + 13; ++block) EXPECT_TRUE(said.contains(block));
    for (const uint64_t block : blocks_of(said_of(model, read_of(next, 13))))
      EXPECT_TRUE(said.insert(block).second) << "said twice: " << block;
  }
  EXPECT_LE(*said.rbegin(), next + 64);  // 256 KiB ahead at most
}

TEST(Sequential, StateIsBounded) {
  SequentialModel model;
  const size_t before = model.state_bytes();
  for (uint64_t i = 0; i < 10'000; ++i) said_of(model, read_of(i * 1000));
  EXPECT_EQ(model.state_bytes(), before);
}

}  // namespace
}  // namespace forerun::predict
