#include "predict/markov.h"

#include <gmock/gmock.h>

#include "core/rng.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

// Feeds the model, and returns what it says after the last access.
std::vector<Candidate> after(MarkovModel& model, const std::vector<uint64_t>& blocks) {
  std::vector<Candidate> out;
  for (const uint64_t block : blocks) {
    out.clear();
    model.on_access(read_of(block), out);
  }
  return out;
}

std::vector<uint64_t> in_order(const std::vector<Candidate>& said) {
  std::vector<uint64_t> blocks;
  for (const Candidate& one : said) blocks.push_back(one.first_block);
  return blocks;
}

TEST(Markov, SaysWhatFollowedAndWhatFollowedThat) {
  MarkovModel model;
  const auto said = after(model, {10, 77, 31, 90, 10});
  EXPECT_THAT(in_order(said), ::testing::ElementsAre(77, 31, 90, 10));
  for (size_t i = 1; i < said.size(); ++i) EXPECT_LT(said[i].confidence, said[i - 1].confidence);
}

TEST(Markov, SaysAsManyBlocksAsWereRead) {
  MarkovModel model;
  std::vector<Candidate> out;
  model.on_access(read_of(10), out);
  model.on_access(read_of(77, 13), out);
  out.clear();
  model.on_access(read_of(10), out);
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(out[0].block_count, 13U);
}

TEST(Markov, TwoRequestsKnowMoreThanOne) {
  // After 5 comes 8 if 1 was before, 9 if 2 was.
  MarkovModel model;
  std::vector<uint64_t> turns;
  for (int i = 0; i < 10; ++i)
    for (const uint64_t block : {1, 5, 8, 2, 5, 9}) turns.push_back(block);
  after(model, turns);
  EXPECT_EQ(after(model, {1, 5})[0].first_block, 8U);
  EXPECT_EQ(after(model, {2, 5})[0].first_block, 9U);
}

TEST(Markov, IsSurerOfWhatItSawMoreOften) {
  MarkovModel model;
  const float once = after(model, {1, 2, 1})[0].confidence;
  const float often = after(model, {2, 1, 2, 1, 2, 1})[0].confidence;
  EXPECT_GT(often, once);
  EXPECT_LT(often, 1);
}

TEST(Markov, WritesAndOtherComponentsTeachNothing) {
  MarkovModel model;
  std::vector<Candidate> out;
  model.on_access(read_of(1), out);
  model.on_access(write_of(7), out);
  trace::Access other = read_of(9);
  other.component = ComponentId{2};
  model.on_access(other, out);
  model.on_access(read_of(1), out);
  EXPECT_TRUE(out.empty());
}

TEST(Markov, HoldsNoMoreContextsThanItMayAndKeepsWhatComesAgain) {
  MarkovModel model({.contexts_max = 64});
  Rng rng(1);
  for (int i = 0; i < 5000; ++i) {
    after(model, {100, 200});
    after(model, {1000 + rng.below(1 << 20)});
  }
  EXPECT_LT(model.state_bytes(), 64 * 1024U);
  const auto said = after(model, {100});
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said[0].first_block, 200U);
}

}  // namespace
}  // namespace forerun::predict
