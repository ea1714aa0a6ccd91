#include "predict/neighbourhood.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::IsEmpty;

float confidence_of(const std::vector<Candidate>& said, uint64_t block) {
  for (const Candidate& candidate : said)
    if (candidate.first_block == block) return candidate.confidence;
  return 0;
}

TEST(Neighbourhood, SaysTheBlocksAroundAFirstTouch) {
  NeighbourhoodModel model;
  const auto said = said_of(model, read_of(100));
  EXPECT_EQ(blocks_of(said),
            (std::set<uint64_t>{97, 98, 99, 101, 102, 103, 104, 105, 106, 107, 108}));
  EXPECT_GT(confidence_of(said, 101), confidence_of(said, 108));
  EXPECT_LT(said.front().due, said[7].due);
}

TEST(Neighbourhood, SaysNothingThatWasTouchedAndNothingTwiceForOneBlock) {
  NeighbourhoodModel model;
  said_of(model, read_of(101, 3));
  const auto said = said_of(model, read_of(100));
  EXPECT_FALSE(blocks_of(said).contains(101));
  EXPECT_FALSE(blocks_of(said).contains(103));
  EXPECT_TRUE(blocks_of(said).contains(104));
  EXPECT_THAT(said_of(model, read_of(100)), IsEmpty());
}

TEST(Neighbourhood, IsSurerOfAHoleBetweenTouchedBlocks) {
  NeighbourhoodModel alone, between;
  said_of(between, read_of(202, 4));
  const float open = confidence_of(said_of(alone, read_of(200)), 201);
  const float hole = confidence_of(said_of(between, read_of(200)), 201);
  EXPECT_GT(hole, open);
}

TEST(Neighbourhood, WorksAtTheBeginningAndAcrossWords) {
  NeighbourhoodModel model;
  EXPECT_EQ(*blocks_of(said_of(model, read_of(1))).begin(), 0u);
  EXPECT_THAT(blocks_of(said_of(model, read_of(0))), testing::Not(testing::Contains(1)));
  said_of(model, read_of(60, 10));  // 60–69, over the border at 64
  const auto said = blocks_of(said_of(model, read_of(59)));
  EXPECT_THAT(said, testing::Not(testing::Contains(64)));
  EXPECT_THAT(said, testing::Contains(58));
}

TEST(Neighbourhood, SaysNothingForWrites) {
  NeighbourhoodModel model;
  EXPECT_THAT(said_of(model, write_of(100)), IsEmpty());
}

TEST(Neighbourhood, DoubtsWhatIsInAnotherFileAndAmongSmallOnes) {
  // Blocks 100 to 103 are one file's, 104 and 105 another's, then come small ones.
  const ComponentId component = read_of(0).component;
  const Priors priors{
      {component, make_block_sequence(1, {}, {}, {{100, false}, {104, false}, {106, true}})}};
  const auto said_beside = [&](uint64_t touched, uint64_t asked) {
    NeighbourhoodModel knows({}, priors), knows_not;
    return std::pair(confidence_of(said_of(knows, read_of(touched)), asked),
                     confidence_of(said_of(knows_not, read_of(touched)), asked));
  };
  for (const auto& [touched, asked] : {std::pair(101, 103), std::pair(103, 101)}) {
    const auto [told, untold] = said_beside(touched, asked);
    EXPECT_FLOAT_EQ(told, untold);
  }
  for (const auto& [touched, asked] : {std::pair(101, 104), std::pair(104, 103)}) {
    const auto [told, untold] = said_beside(touched, asked);
    EXPECT_LT(told, 0.2f * untold);
  }
  const auto [among_small, untold] = said_beside(108, 109);
  EXPECT_FLOAT_EQ(among_small, 0.5f * untold);
}

TEST(Neighbourhood, StateIsBounded) {
  NeighbourhoodModel model({.words_max = 64});
  for (uint64_t i = 0; i < 5000; ++i) said_of(model, read_of(i * 64));
  EXPECT_LE(model.state_bytes(), 16'384u);
  EXPECT_THAT(said_of(model, read_of(5000 * 64)), testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace forerun::predict
