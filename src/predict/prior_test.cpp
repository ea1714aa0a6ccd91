#include "predict/prior.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "predict/arbiter.h"
#include "predict/replay.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Time kStart = kTimeZero + 100s;

// Every third block from 0 on, 10 ms apart, each as likely as `support`.
std::shared_ptr<const BlockSequence> every_third(uint32_t count, float support = 0.85f) {
  std::vector<SequenceEntry> entries;
  for (uint32_t i = 0; i < count; ++i)
    entries.push_back({3 * i, support, static_cast<float>(i), 0.01f * static_cast<float>(i)});
  return make_block_sequence(1, std::move(entries));
}

PriorModel model_of(std::shared_ptr<const BlockSequence> prior, PriorModel::Options options = {}) {
  return {options, {kComponent}, {{kComponent, std::move(prior)}}};
}

std::vector<Candidate> started(PriorModel& model) {
  std::vector<Candidate> said;
  model.on_start(kStart, said);
  return said;
}

TEST(Prior, IsSilentWithoutOne) {
  PriorModel model({}, {kComponent}, {});
  EXPECT_THAT(started(model), IsEmpty());
  EXPECT_THAT(said_of(model, read_of(3, 1, 101s)), IsEmpty());
  EXPECT_EQ(model.coverage(kComponent), 0.0f);
}

TEST(Prior, SaysItsBlocksInTheirOrderAsLikelyAsTheyAre) {
  auto model = model_of(make_block_sequence(1, {{50, 0.6f, 0, 1}, {7, 1, 1, 2}, {9, 0, 2, 3}}));
  const auto said = started(model);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[0].first_block, 50u);
  EXPECT_FLOAT_EQ(said[0].confidence, 0.6f);
  EXPECT_EQ(said[0].due, kStart + 2s);         // with its slack
  EXPECT_FLOAT_EQ(said[1].confidence, 0.98f);  // nothing is certain
  EXPECT_FLOAT_EQ(said[2].confidence, 0.02f);
}

TEST(Prior, IsSaidOnlySoFarAheadOfWhatCameTrue) {
  auto model = model_of(every_third(2000));
  EXPECT_EQ(blocks_of(started(model)).size(), 384u);
  EXPECT_THAT(said_of(model, read_of(1, 1, 101s)), IsEmpty());
  EXPECT_EQ(blocks_of(said_of(model, read_of(0, 1, 101s))), std::set<uint64_t>{3 * 384});
  EXPECT_THAT(said_of(model, read_of(0, 1, 101s)), IsEmpty());  // the same block again
  EXPECT_THAT(said_of(model, write_of(3)), IsEmpty());          // a write confirms nothing
}

TEST(Prior, MeasuresWhatItCovers) {
  auto model = model_of(every_third(100));
  started(model);
  EXPECT_FLOAT_EQ(model.coverage(kComponent), 0.7f);  // before anything is known of this boot
  for (uint64_t i = 0; i < 100; ++i) said_of(model, read_of(3 * i, 1, 101s));
  EXPECT_GT(model.coverage(kComponent), 0.8f);
  EXPECT_LT(model.coverage(kComponent), 0.9f);  // replay, which knows, goes first
  for (uint64_t i = 0; i < 100; ++i) said_of(model, read_of(3 * i + 1, 1, 102s));
  EXPECT_LT(model.coverage(kComponent), 0.1f);
}

TEST(Prior, MeasuresEachComponentByItself) {
  const ComponentId other{2};
  PriorModel model({}, {kComponent, other},
                   {{kComponent, every_third(100)}, {other, every_third(100)}});
  started(model);
  for (uint64_t i = 0; i < 100; ++i) said_of(model, read_of(3 * i + 1, 1, 101s));
  EXPECT_LT(model.coverage(kComponent), 0.1f);
  EXPECT_FLOAT_EQ(model.coverage(other), 0.7f);
}

TEST(Prior, IsSilentAfterTheBoot) {
  auto model = model_of(every_third(2000), {.boot_window = 10s});
  started(model);
  EXPECT_THAT(said_of(model, read_of(0, 1, 111s)), IsEmpty());
  EXPECT_THAT(said_of(model, read_of(3, 1, 105s)), IsEmpty());
  EXPECT_EQ(model.coverage(kComponent), 0.0f);
}

TEST(Prior, OfAnUnannouncedComponentIsSaidAtItsFirstTouch) {
  PriorModel model({}, {}, {{kComponent, every_third(4)}});
  EXPECT_THAT(started(model), IsEmpty());
  const auto said = said_of(model, read_of(0, 1, 101s));
  EXPECT_TRUE(blocks_of(said).contains(9));
}

struct Proposed {
  size_t read = 0, in_vain = 0;
};

// Boots a guest that reads `share` of each ten blocks of the prior. Returns what was proposed.
Proposed proposed_at(uint64_t share) {
  std::vector<std::unique_ptr<Model>> models;
  models.push_back(std::make_unique<PriorModel>(model_of(every_third(2000))));
  Arbiter arbiter({}, std::move(models));
  std::vector<Proposal> proposals;
  arbiter.on_start(kStart, proposals);
  for (uint64_t i = 0; i < 2000; ++i)
    arbiter.on_access(read_of(i % 10 < share ? 3 * i : 3 * i + 1, 1, 103s + i * 10ms), proposals);
  Proposed proposed;
  for (const uint64_t block : blocks_of(proposals))
    ++(block / 3 % 10 < share ? proposed.read : proposed.in_vain);
  return proposed;
}

TEST(Prior, AWrongOneWastesABoundedPart) {
  EXPECT_LE(proposed_at(0).in_vain, 384u);  // of 2000
  EXPECT_LT(proposed_at(4).in_vain, 600u);  // of 1200
  EXPECT_GT(proposed_at(9).read, 1700u);    // of 1800: a good one is heard
}

TEST(Prior, LeavesTheTimeToAModelThatCoversNearlyAll) {
  const auto history = std::make_shared<ReplayHistory>();
  history->merge(kComponent, {}, {{30, 5.0f}, {33, 6.0f}});
  std::vector<std::unique_ptr<Model>> models;
  models.push_back(std::make_unique<PriorModel>(model_of(every_third(20))));
  models.push_back(
      std::make_unique<ReplayModel>(ReplayModel::Options{}, history, std::vector{kComponent}));
  Arbiter arbiter({}, std::move(models));
  std::vector<Proposal> proposals;
  arbiter.on_start(kStart, proposals);
  EXPECT_EQ(blocks_of(proposals), (std::set<uint64_t>{30, 33}));  // the rest no boot ever read
  EXPECT_EQ(proposals[0].due, kStart + 5s);
}

}  // namespace
}  // namespace forerun::predict
