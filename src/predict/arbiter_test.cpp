#include "predict/arbiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "predict/at_work.h"
#include "predict/registry.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::IsEmpty;

// Says what it is told to.
class Oracle final : public Model {
 public:
  using Speak = std::function<void(const trace::Access&, std::vector<Candidate>&)>;
  Oracle(std::string name, Speak speak, float covers = 0, bool has_seen = false)
      : name_(std::move(name)), speak_(std::move(speak)), covers_(covers), has_seen_(has_seen) {}
  std::string_view name() const override { return name_; }
  void on_start(Time, std::vector<Candidate>&) override {}
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override {
    speak_(access, out);
  }
  void on_end(Time) override {}
  float coverage(ComponentId) const override { return covers_; }
  bool has_seen(ComponentId) const override { return has_seen_; }
  size_t state_bytes() const override { return 0; }

 private:
  std::string name_;
  Speak speak_;
  float covers_;
  bool has_seen_;
};

// A model that says: the block `ahead` after the one read, with this confidence.
std::unique_ptr<Model> says(std::string name, uint64_t ahead, float confidence, float covers = 0,
                            bool has_seen = false) {
  return std::make_unique<Oracle>(
      std::move(name),
      [=](const trace::Access& access, std::vector<Candidate>& out) {
        out.push_back({access.component, access.first_block + ahead, 1, confidence, 0, access.at});
      },
      covers, has_seen);
}

template <typename... Models>
std::vector<std::unique_ptr<Model>> list(Models... models) {
  std::vector<std::unique_ptr<Model>> all;
  (all.push_back(std::move(models)), ...);
  return all;
}

std::vector<Proposal> ask(Arbiter& arbiter, const trace::Access& access) {
  std::vector<Proposal> out;
  arbiter.on_access(access, out);
  return out;
}

TEST(Arbiter, ProposesWhatIsLikelyEnough) {
  Arbiter arbiter({}, list(says("sure", 1, 0.9f), says("unsure", 50, 0.2f)));
  const auto proposals = ask(arbiter, read_of(10));
  ASSERT_EQ(proposals.size(), 1u);
  EXPECT_EQ(proposals[0].first_block, 11u);
  EXPECT_FLOAT_EQ(proposals[0].probability, 0.9f);
  EXPECT_EQ(proposals[0].model, 0);
}

TEST(Arbiter, TwoWitnessesAreLikelierThanOne) {
  Arbiter arbiter({}, list(says("a", 1, 0.7f), says("b", 1, 0.7f)));
  const auto proposals = ask(arbiter, read_of(10));
  ASSERT_EQ(proposals.size(), 1u);
  EXPECT_GT(proposals[0].probability, 0.75f);
  EXPECT_LT(proposals[0].probability, 0.85f);  // not 0.91: they are not independent
}

TEST(Arbiter, ProposesABlockOnceAndAgainOnlyIfItIsNews) {
  Arbiter arbiter({}, list(std::make_unique<Oracle>("same", [](const auto& access, auto& out) {
                    out.push_back({access.component, 500, 1, 0.8f, 0, kTimeZero + 10s});
                    if (access.first_block == 3)
                      out.push_back({access.component, 500, 1, 0.8f, 0, kTimeZero + 1s});
                  })));
  EXPECT_EQ(ask(arbiter, read_of(1)).size(), 1u);
  EXPECT_THAT(ask(arbiter, read_of(2)), IsEmpty());
  const auto sooner = ask(arbiter, read_of(3));
  ASSERT_EQ(sooner.size(), 1u);
  EXPECT_EQ(sooner[0].due, kTimeZero + 1s);
}

TEST(Arbiter, ProposesNothingThatWasJustRead) {
  Arbiter arbiter({}, list(says("back", 0, 0.9f)));
  EXPECT_THAT(ask(arbiter, read_of(10)), IsEmpty());
}

TEST(Arbiter, LearnsThatABoasterIsWrongAndMutesIt) {
  Arbiter arbiter({}, list(says("boaster", 5'000'000, 0.95f)));
  size_t early = 0, late = 0;
  for (uint64_t i = 0; i < 2000; ++i)
    (i < 100 ? early : late) += ask(arbiter, read_of(i * 3, 1, 10ms * i)).size();
  EXPECT_EQ(early, 100u);
  EXPECT_LT(late, 150u);
  const auto report = arbiter.report();
  EXPECT_EQ(report[0].came_true, 0u);
  EXPECT_TRUE(report[0].muted);
}

TEST(Arbiter, LetsASilencedModelEarnItsWayBack) {
  bool right = false;
  Arbiter arbiter(
      {}, list(std::make_unique<Oracle>("moody", [&](const auto& access, auto& out) {
        const uint64_t ahead = right ? 1 : 9'000'000;
        out.push_back({access.component, access.first_block + ahead, 1, 0.9f, 0, access.at});
      })));
  uint64_t block = 0;
  for (int i = 0; i < 1500; ++i) ask(arbiter, read_of(++block, 1, 10ms * block));
  ASSERT_THAT(ask(arbiter, read_of(++block, 1, 10ms * block)), IsEmpty());
  right = true;
  size_t proposed = 0;
  for (int i = 0; i < 2000; ++i) proposed += ask(arbiter, read_of(++block, 1, 10ms * block)).size();
  EXPECT_GT(proposed, 500u);
}

TEST(Arbiter, IsCalibratedOnAModelThatIsRightSeventyPercent) {
  Rng rng(5);
  Arbiter arbiter({}, list(says("even", 1, 0.95f)));
  uint64_t block = 0;
  float last = 0;
  for (int i = 0; i < 6000; ++i) {
    const auto out = ask(arbiter, read_of(block, 1, 10ms * i));
    if (!out.empty()) last = out.back().probability;
    block += rng.chance(0.7) ? 1 : 100;
  }
  EXPECT_NEAR(last, 0.7f, 0.07f);
  EXPECT_LT(arbiter.report()[0].calibration_gap, 0.08f);
}

TEST(Arbiter, CountsAPredictionThatComesTrueLateAsTrue) {
  Arbiter arbiter({.horizon = 60s}, list(says("slow", 1000, 0.9f)));
  for (uint64_t i = 0; i < 400; ++i) ask(arbiter, read_of(i, 1, 1ms * i));
  const auto before = arbiter.report()[0];
  EXPECT_GT(before.said, 200u);  // doubted by now
  EXPECT_EQ(before.came_true, 0u);
  for (uint64_t i = 1000; i < 1200; ++i) ask(arbiter, read_of(i, 1, 1ms * i));
  EXPECT_GE(arbiter.report()[0].came_true, 200u);
}

TEST(Arbiter, AHistoryOutweighsGuessesAtWhatItDoesNotSay) {
  Arbiter arbiter({}, list(says("history", 1, 0.95f, 0.98f), says("guess", 2, 0.9f)));
  const auto blocks = blocks_of(ask(arbiter, read_of(10)));
  EXPECT_EQ(blocks, (std::set<uint64_t>{11}));
}

// What one component's history does not say is unlikely there, and no other component's business.
TEST(Arbiter, AHistoryOutweighsGuessesAtWhatItSays) {
  Arbiter knowing({}, list(says("history", 1, 0.4f, 0.9f), says("guess", 1, 0.9f)));
  EXPECT_THAT(ask(knowing, read_of(10)), IsEmpty());
  Arbiter guessing({}, list(says("history", 1, 0.4f, 0.1f), says("guess", 1, 0.9f)));
  EXPECT_THAT(ask(guessing, read_of(10)), testing::SizeIs(1));
}

TEST(Arbiter, WhatWasSeenIsNotOutweighedByAGuessThatCoversMore) {
  Arbiter apart({}, list(says("seen", 1, 0.7f, 0, true), says("prior", 60, 0.9f, 0.89f)));
  EXPECT_EQ(blocks_of(ask(apart, read_of(9))), (std::set<uint64_t>{10, 69}));
  Arbiter together({}, list(says("seen", 1, 0.9f, 0, true), says("prior", 1, 0.2f, 0.89f)));
  EXPECT_EQ(blocks_of(ask(together, read_of(9))), (std::set<uint64_t>{10}));
}

TEST(Arbiter, AHistoryIsNoWitnessOfOtherComponents) {
  class KnowsOne final : public Model {
   public:
    std::string_view name() const override { return "history"; }
    void on_start(Time, std::vector<Candidate>&) override {}
    void on_access(const trace::Access&, std::vector<Candidate>&) override {}
    void on_end(Time) override {}
    float coverage(ComponentId component) const override {
      return component == kComponent ? 0.98f : 0;
    }
    size_t state_bytes() const override { return 0; }
  };
  Arbiter arbiter({}, list(std::make_unique<KnowsOne>(), says("guess", 2, 0.9f)));
  EXPECT_THAT(ask(arbiter, read_of(10)), IsEmpty());
  auto other = read_of(10);
  other.component = ComponentId{2};
  EXPECT_EQ(blocks_of(ask(arbiter, other)), (std::set<uint64_t>{12}));
}

TEST(Arbiter, SmallBlocksAreWorthLessLikelyPrefetches) {
  const auto bytes_of = [](ComponentId, uint64_t block) { return block % 2 == 0 ? 2000u : 23552u; };
  Arbiter arbiter({.bytes_of = bytes_of}, list(says("doubtful", 1, 0.3f)));
  EXPECT_EQ(blocks_of(ask(arbiter, read_of(11))), (std::set<uint64_t>{12}));
  EXPECT_THAT(ask(arbiter, read_of(12)), IsEmpty());
  EXPECT_THAT(ask(arbiter, read_of(13)), testing::SizeIs(1));
}

TEST(Arbiter, WhereBootsHaveShownTheRestAGuessMustBeSurer) {
  const auto blocks_proposed = [](bool has_seen) {
    Arbiter arbiter({}, list(says("boots", 1, 0.7f, 0, has_seen), says("guess", 5, 0.7f)));
    return blocks_of(ask(arbiter, read_of(10)));
  };
  EXPECT_EQ(blocks_proposed(false), (std::set<uint64_t>{11, 15}));
  // Block 15 is no boot's, though boots have shown others of its component.
  EXPECT_EQ(blocks_proposed(true), (std::set<uint64_t>{11}));
}

TEST(Arbiter, ALongerRunNeedsASurerWord) {
  const auto runs = [](const trace::Access& access, std::vector<Candidate>& out) {
    out.push_back({access.component, 1000, 1, 0.6f, 0, access.at});
    out.push_back({access.component, 2000, 16, 0.6f, 0, access.at});
    out.push_back({access.component, 3000, 1 << 14, 0.95f, 0, access.at});
  };
  Arbiter arbiter({.probability_min = 0.5f, .probability_per_doubling = 0.07f},
                  list(std::unique_ptr<Model>(std::make_unique<Oracle>("runs", runs))));
  std::set<uint64_t> first;
  for (const Proposal& proposal : ask(arbiter, read_of(10))) first.insert(proposal.first_block);
  EXPECT_EQ(first, (std::set<uint64_t>{1000, 3000}));
}

TEST(Arbiter, HearsNothingOfWhatIsHereAndAllOfWhatIsNot) {
  const auto is_here = [](ComponentId, uint64_t block) { return block == 11; };
  Arbiter arbiter({.is_here = is_here}, list(says("next", 1, 0.9f)));
  EXPECT_THAT(ask(arbiter, read_of(10)), IsEmpty());
  EXPECT_EQ(blocks_of(ask(arbiter, read_of(19))), (std::set<uint64_t>{20}));
  ask(arbiter, read_of(20));
  EXPECT_EQ(blocks_of(ask(arbiter, read_of(19))), (std::set<uint64_t>{20})) << "it has left";
}

TEST(Arbiter, TheSurestWordCountsAloneIfToldSo) {
  Arbiter arbiter({.merge = Arbiter::Options::Merge::kSurest},
                  list(says("sure", 1, 0.9f), says("not", 1, 0.1f)));
  const auto proposals = ask(arbiter, read_of(10));
  ASSERT_EQ(proposals.size(), 1U);
  EXPECT_FLOAT_EQ(proposals[0].probability, 0.9f);
}

TEST(Arbiter, WhatWasNotReadWithinItsReadsDidNotComeTrue) {
  const auto share_of = [](uint32_t horizon_reads) {
    Arbiter arbiter({.horizon_reads = horizon_reads}, list(says("late", 300, 0.9f)));
    for (uint64_t block = 0; block < 2000; ++block) ask(arbiter, read_of(block));
    return static_cast<double>(arbiter.report()[0].came_true) /
           static_cast<double>(arbiter.report()[0].said);
  };
  EXPECT_GT(share_of(0), 0.85);
  EXPECT_GT(share_of(400), 0.85);
  EXPECT_LT(share_of(200), 0.1);
}

TEST(Arbiter, PendingStaysWithinItsLimit) {
  Arbiter arbiter({.probability_min = 0.1f, .pending_max = 100, .proposals_per_access_max = 8},
                  list(std::make_unique<Oracle>("flood", [](const auto& access, auto& out) {
                    for (uint64_t i = 1; i <= 50; ++i)
                      out.push_back({access.component, access.first_block * 1000 + i * 2, 1, 0.9f,
                                     0, access.at});
                  })));
  for (uint64_t i = 1; i < 200; ++i)
    EXPECT_LE(ask(arbiter, read_of(i * 10'000, 1, 1ms * i)).size(), 8u);
  EXPECT_LT(arbiter.report().back().state_bytes, 2'000'000u);
  EXPECT_GT(arbiter.report()[0].said, 9000u);  // the oldest were judged to make room
}

TEST(Arbiter, SecondBootIsForeseenFromTheFirst) {
  const auto history = std::make_shared<ReplayHistory>();
  Rng rng(9);
  std::vector<uint64_t> boot;
  for (int i = 0; i < 300; ++i) boot.push_back(rng.below(1 << 20));
  const auto play = [&] {
    Arbiter arbiter({}, *make_models({}, {.components = {kComponent}, .history = history}));
    std::vector<Proposal> out;
    arbiter.on_start(kTimeZero, out);
    const auto at_start = blocks_of(out);
    for (size_t i = 0; i < boot.size(); ++i) arbiter.on_access(read_of(boot[i], 1, 50ms * i), out);
    arbiter.on_end(kTimeZero + 20s);
    return at_start;
  };
  EXPECT_THAT(play(), IsEmpty());
  EXPECT_EQ(play(), std::set<uint64_t>(boot.begin(), boot.end()));
}

// Same inputs, same outputs, whatever they are: replays of a simulated run depend on it.
TEST(Arbiter, IsDeterministic) {
  const auto play = [](uint64_t seed) {
    Rng rng(seed);
    Arbiter arbiter({.pending_max = 500}, *make_models({}, {.components = {kComponent}}));
    std::vector<Proposal> out;
    arbiter.on_start(kTimeZero, out);
    uint64_t block = 0;
    for (int i = 0; i < 1500; ++i) {
      block = rng.chance(0.6) ? block + 1 : rng.below(5000);
      auto access = read_of(block, static_cast<uint32_t>(rng.between(1, 4)), 1ms * i);
      if (rng.chance(0.1)) access.op = trace::Op::kWrite;
      arbiter.on_access(access, out);
    }
    std::string text;
    for (const Proposal& p : out)
      text += fmt::format("{}+{} {} {} {};", p.first_block, p.block_count, p.probability, p.model,
                          p.due.time_since_epoch().count());
    return text;
  };
  for (uint64_t seed = 0; seed < 3; ++seed) EXPECT_EQ(play(seed), play(seed));
}

trace::Access read_at(uint64_t block, int ms) {
  return read_of(block, 1, std::chrono::milliseconds(ms));
}

// A guest that reads block after block, then only every eleventh; a model that always says the next
// block. Returns the reads after the change until the model is heard no more, and after it changes
// back until it is heard again.
struct Turn {
  int to_silence = 0, to_voice = 0;
};
Turn turn(bool is_watched) {
  Arbiter::Options options;
  options.horizon_reads = 2048;
  options.calibration = {.prior_weight = 8, .memory = 256};
  options.is_here = [](ComponentId, uint64_t) { return false; };
  if (is_watched) options.phase_change.emplace();
  Arbiter arbiter(options, list(says("next", 1, 0.7f)));
  uint64_t block = 0;
  const auto reads_until = [&](uint64_t step, bool speaks) {
    // It has changed once some words in a row are as they will stay.
    for (int reads = 1, in_a_row = 0; reads < 5000; ++reads) {
      block += step;
      in_a_row = ask(arbiter, read_at(block, reads)).empty() == speaks ? 0 : in_a_row + 1;
      if (in_a_row == 8) return reads;
    }
    return 5000;
  };
  reads_until(1, true);
  for (int i = 0; i < 1500; ++i) ask(arbiter, read_at(++block, i));
  Turn found;
  found.to_silence = reads_until(11, false);
  for (int i = 0; i < 1500; ++i) ask(arbiter, read_at(block += 11, i));
  found.to_voice = reads_until(1, true);
  return found;
}

TEST(Arbiter, ForgetsFastWhenTheGuestChangesItsWays) {
  const Turn with = turn(true), without = turn(false);
  // 96 reads pass before a word is doubted at all.
  EXPECT_LE(with.to_silence, 96 + 60);
  EXPECT_GE(without.to_silence, 96 + 150);
  EXPECT_LE(with.to_voice, 60);
  EXPECT_GE(without.to_voice, 2 * with.to_voice);
}

// Law 1 on its own account: who harms is silenced, still scored, and heard again once it is right.
TEST(Arbiter, AModelAtWorkThatHarmsIsSilencedAndTriedAgainLater) {
  Arbiter::Options options = work_options();
  options.is_here = [](ComponentId, uint64_t) { return false; };
  Arbiter arbiter(options, list(says("next", 1, 0.9f)));
  uint64_t block = 0;
  for (int i = 0; i < 400; ++i) ask(arbiter, read_at(block += 11, i));
  ASSERT_TRUE(arbiter.report()[0].muted);
  EXPECT_EQ(arbiter.report()[0].times_muted, 1u);
  EXPECT_LT(arbiter.report()[0].proposals_true, 0.3f);
  EXPECT_THAT(ask(arbiter, read_at(block += 11, 400)), IsEmpty());
  const uint64_t said = arbiter.report()[0].said;
  for (int i = 0; i < 200; ++i) ask(arbiter, read_at(++block, 500 + i));
  EXPECT_GT(arbiter.report()[0].said, said + 100);
  EXPECT_FALSE(arbiter.report()[0].muted);
  EXPECT_EQ(ask(arbiter, read_at(++block, 800)).size(), 1u);
}

}  // namespace
}  // namespace forerun::predict
