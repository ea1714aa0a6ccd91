#include "predict/stride.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::IsEmpty;

TEST(Stride, SpeaksOnlyOnceTheDistanceIsConfirmedTwice) {
  StrideModel model;
  EXPECT_THAT(said_of(model, read_of(100)), IsEmpty());
  EXPECT_THAT(said_of(model, read_of(107)), IsEmpty());
  EXPECT_THAT(said_of(model, read_of(114)), IsEmpty());
  const auto said = said_of(model, read_of(121));
  EXPECT_EQ(blocks_of(said), (std::set<uint64_t>{128}));
  EXPECT_EQ(blocks_of(said_of(model, read_of(128))), (std::set<uint64_t>{135, 142}));
}

TEST(Stride, GoesBackwardsAndStopsAtTheBeginning) {
  StrideModel model;
  std::vector<Candidate> said;
  for (const uint64_t block : {40, 30, 20, 10}) said = said_of(model, read_of(block));
  EXPECT_EQ(blocks_of(said), (std::set<uint64_t>{0}));
  EXPECT_THAT(said_of(model, read_of(0)), IsEmpty());
}

TEST(Stride, FollowsInterleavedStreams) {
  StrideModel model;
  std::set<uint64_t> said;
  for (uint64_t step = 0; step < 12; ++step)
    for (uint64_t stream = 0; stream < 4; ++stream)
      said.merge(blocks_of(said_of(model, read_of(stream * 100'000 + step * (3 + stream)))));
  for (uint64_t stream = 0; stream < 4; ++stream)
    for (uint64_t step = 4; step < 12; ++step)
      EXPECT_TRUE(said.contains(stream * 100'000 + step * (3 + stream))) << stream << ' ' << step;
}

TEST(Stride, KeepsTheSizeOfTheAccesses) {
  StrideModel model;
  std::vector<Candidate> said;
  for (const uint64_t block : {0, 10, 20, 30}) said = said_of(model, read_of(block, 3));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].first_block, 40u);
  EXPECT_EQ(said[0].block_count, 3u);
}

TEST(Stride, LeavesSequentialRunsAlone) {
  StrideModel model;
  for (uint64_t block = 0; block < 50; ++block)
    EXPECT_THAT(said_of(model, read_of(block)), IsEmpty());
  for (uint64_t block = 100; block < 200; block += 4)
    EXPECT_THAT(said_of(model, read_of(block, 4)), IsEmpty());
}

TEST(Stride, SaysLittleOnScatteredReads) {
  StrideModel model;
  Rng rng(3);
  size_t said = 0;
  for (int i = 0; i < 2000; ++i) said += said_of(model, read_of(rng.below(1 << 20))).size();
  EXPECT_LE(said, 5u);
}

}  // namespace
}  // namespace forerun::predict
