#include "predict/rnn.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/codec.h"
#include "core/id.h"
#include "predict/rnn_pretrain.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

std::shared_ptr<RnnTrainer> trainer_of(RnnNetPtr net, float rate = 0.01f) {
  return std::make_shared<RnnTrainer>(
      RnnTrainer::Options{.publish_every = 1, .descent = {.rate = rate}}, std::move(net));
}

// Requests at gaps that take turns: 100, 300, -250 blocks after the end of the one before.
class Walk {
 public:
  trace::Access next() {
    constexpr std::array<int64_t, 3> kGaps = {100, 300, -250};
    const trace::Access access = read_of(static_cast<uint64_t>(at_), 4, now_);
    at_ += 4 + kGaps[turn_++ % 3];
    now_ += 1ms;
    return access;
  }
  uint64_t coming() const { return static_cast<uint64_t>(at_); }

 private:
  int64_t at_ = 1 << 20;
  size_t turn_ = 0;
  Nanos now_{};
};

TEST(Rnn, LearnsGapsThatTakeTurnsAndSaysWhatComes) {
  const auto trainer = trainer_of(pretrained_rnn());
  RnnModel model({.ask_every = 1}, trainer);
  Walk walk;
  int right = 0;
  for (int i = 0; i < 1200; ++i) {
    const auto said = said_of(model, walk.next());
    trainer->train(1);
    const bool is_right = !said.empty() && said[0].first_block == walk.coming() &&
                          said[0].block_count == 4 && said[0].confidence > 0.8f;
    if (i >= 1100 && is_right) ++right;
  }
  EXPECT_GT(right, 90);
}

TEST(Rnn, KnowsSequentialReadersFromTheStart) {
  RnnModel model({}, trainer_of(pretrained_rnn()));
  std::vector<Candidate> said;
  for (uint64_t i = 0; i < 12; ++i) said = said_of(model, read_of(1000 + 8 * i, 8, i * 1ms));
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said[0].first_block, 1096U);
  EXPECT_GT(said[0].confidence, 0.5f);
  EXPECT_GT(said[0].due, kTimeZero);
  EXPECT_TRUE(blocks_of(said).contains(1104)) << "the one after it, too";
}

TEST(Rnn, WritesOtherComponentsAndEmptyRequestsDoNoHarm) {
  RnnModel model({}, trainer_of(pretrained_rnn()));
  said_of(model, write_of(5, 9));
  said_of(model, read_of(5, 0));
  auto other = read_of(UINT64_MAX - 3, 4);
  other.component = ComponentId{2};
  said_of(model, other);
  for (const Candidate& one : said_of(model, read_of(0, 1))) EXPECT_GT(one.confidence, 0);
}

// Returns what two models of one network say of the same reads, the second told of a behaviour.
std::array<std::vector<Candidate>, 2> told_and_not(const RnnNetPtr& net) {
  const auto trainer = trainer_of(net);
  RnnModel plain({.said_min = 0}, trainer), told({.said_min = 0}, trainer);
  told.on_behaviour(std::array<float, 3>{1, -1, 0.5f}, 2);
  std::array<std::vector<Candidate>, 2> said;
  for (uint64_t i = 0; i < 12; ++i) {
    said[0] = said_of(plain, read_of(8 * i, 8));
    said[1] = said_of(told, read_of(8 * i, 8));
  }
  return said;
}

TEST(Rnn, BehaviourReachesTheNetworkOfTheVmThatBehavesSoAndNoOther) {
  auto net = std::make_shared<RnnNet>(*pretrained_rnn());
  const auto before = told_and_not(net);
  EXPECT_EQ(before[0], before[1]) << "what was never learned changes nothing";
  auto other = std::make_shared<RnnNet>();
  other->randomize(5);
  const auto said = told_and_not(other);
  ASSERT_FALSE(said[0].empty());
  EXPECT_NE(said[0], said[1]);
  RnnModel alone({.said_min = 0}, trainer_of(other));
  std::vector<Candidate> unaware;
  for (uint64_t i = 0; i < 12; ++i) unaware = said_of(alone, read_of(8 * i, 8));
  EXPECT_EQ(said[0], unaware) << "the other model of the same network heard of nothing";
}

TEST(Rnn, BehaviourIsCutToItsRange) {
  RnnModel model({}, trainer_of(pretrained_rnn()));
  std::array<float, RnnModel::kBehaviour> behaviour{};
  behaviour.fill(std::nanf(""));
  behaviour[0] = 1e30f;
  model.on_behaviour(behaviour, 99);
  for (uint64_t i = 0; i < 40; ++i)
    for (const Candidate& one : said_of(model, read_of(8 * i, 8)))
      EXPECT_TRUE(one.confidence > 0 && one.confidence < 1);
}

TEST(RnnTrainer, KeepsNoMoreWindowsThanItMay) {
  RnnTrainer trainer({.windows_max = 10, .windows_per_step = 2}, nullptr);
  for (int i = 0; i < 100; ++i)
    trainer.offer({.inputs = std::vector<RnnInput>(4), .targets = std::vector<uint32_t>(4)});
  EXPECT_EQ(trainer.train(100), 5U);
  EXPECT_EQ(trainer.train(100), 0U);
  EXPECT_GT(trainer.loss(), 1);
}

TEST(RnnForm, IsReadBackAsItWas) {
  const RnnNetPtr net = pretrained_rnn();
  const auto parsed = parse_rnn(serialize(*net));
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(
      std::equal(net->numbers().begin(), net->numbers().end(), (*parsed)->numbers().begin()));
}

TEST(RnnForm, RefusesWhatIsDamagedOrNotItsOwn) {
  const Buffer saved = serialize(*pretrained_rnn());
  for (const size_t at : {size_t{0}, size_t{8}, size_t{12}, size_t{1000}, saved.size() - 1}) {
    Buffer damaged = saved;
    damaged[at] ^= std::byte{0x40};
    EXPECT_FALSE(parse_rnn(damaged)) << at;
  }
  EXPECT_FALSE(parse_rnn(ByteView(saved).first(saved.size() - 4)));
  RnnNet wild = *pretrained_rnn();
  wild.numbers()[7] = std::nanf("");
  EXPECT_EQ(parse_rnn(serialize(wild)).error().code, ErrorCode::kCorrupt);
}

TEST(RnnPretrain, TheSameSeedGivesTheSameNetwork) {
  const Buffer a = serialize(*pretrain_rnn(3, 1500, {})), b = serialize(*pretrain_rnn(3, 1500, {}));
  EXPECT_EQ(a, b);
  EXPECT_NE(a, serialize(*pretrain_rnn(4, 1500, {})));
}

TEST(RnnPretrain, WhatComesWithForerunKnowsWorkItNeverSaw) {
  const auto blank = RnnTrainer({}, nullptr).net();
  EXPECT_LT(cost_of_rnn(pretrained_rnn(), 12345, 2000), 0.5 * cost_of_rnn(blank, 12345, 2000));
}

// A session that learned a walk of its own, and what it saved.
Buffer learned_walk() {
  const auto trainer = trainer_of(pretrained_rnn());
  RnnModel model({.ask_every = 1}, trainer);
  Walk walk;
  for (int i = 0; i < 1200; ++i) {
    said_of(model, walk.next());
    trainer->train(1);
  }
  return model.save({});
}

TEST(RnnSaved, GoesOnWhereItWasWithTheNextSession) {
  const Buffer saved = learned_walk();
  RnnModel again({.ask_every = 1}, trainer_of(pretrained_rnn()));
  ASSERT_TRUE(again.restore(saved, {}));
  RnnModel fresh({.ask_every = 1}, trainer_of(pretrained_rnn()));
  const auto right = [](RnnModel& model) {
    Walk walk;
    int count = 0;
    for (int i = 0; i < 15; ++i) {  // before any gap is met often
      const auto said = said_of(model, walk.next());
      if (!said.empty() && said[0].first_block == walk.coming() && said[0].confidence > 0.5f)
        ++count;
    }
    return count;
  };
  EXPECT_GE(right(again), 9);
  EXPECT_EQ(right(fresh), 0);
}

TEST(RnnSaved, TwoThatBeginWithTheSameSayTheSame) {
  const Buffer saved = learned_walk();
  EXPECT_EQ(learned_walk(), saved) << "no matter when or where it is learned";
  const auto trainer = trainer_of(pretrained_rnn()), other = trainer_of(pretrained_rnn());
  RnnModel a({}, trainer), b({}, other);
  ASSERT_TRUE(a.restore(saved, {}));
  EXPECT_EQ(a.save({}), saved) << "also if it learned nothing since";
  ASSERT_TRUE(b.restore(a.save({}), {}));
  Walk walk;
  for (int i = 0; i < 400; ++i) {
    const auto access = walk.next();
    EXPECT_EQ(said_of(a, access), said_of(b, access));
    trainer->train(1);
    other->train(1);
  }
  EXPECT_EQ(a.save({}), b.save({}));
  EXPECT_NE(a.save({}), saved) << "it learns on";
}

TEST(RnnSaved, IsOfOneSizeAndNothingOfAModelThatSawNothing) {
  const Buffer saved = learned_walk();
  EXPECT_EQ(saved.size(), 12 + 12 + 4 * RnnNet::size() + 4 + 4 + 12 * (35 + 256) + 32);
  EXPECT_TRUE(RnnModel({}, trainer_of(pretrained_rnn())).save({}).empty());
}

TEST(RnnSaved, DamageIsRefusedAndLeavesTheModelAsItWas) {
  const Buffer saved = learned_walk();
  const auto trainer = trainer_of(pretrained_rnn());
  RnnModel model({}, trainer);
  for (size_t cut = 0; cut < saved.size(); cut += 997)
    EXPECT_FALSE(model.restore(ByteView(saved).first(cut), {}));
  // What a wrong hand wrote has a checksum that is right.
  const auto with = [&](size_t at, uint32_t value) {
    ByteWriter out;
    out.bytes(ByteView(saved).first(at));
    out.u32(value);
    out.bytes(ByteView(saved).subspan(at + 4, saved.size() - 32 - at - 4));
    const Digest digest = sha256(out.view());
    out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), 32});
    return out.take();
  };
  const size_t pace = 24 + 4 * RnnNet::size(), gaps = pace + 8;
  for (const auto& [at, value] : {std::pair<size_t, uint32_t>{8, 2},
                                  {12, 64},
                                  {24, 0x7fc00000},    // not a number
                                  {pace, 0xbf800000},  // -1 s
                                  {pace + 4, 1 << 14},
                                  {gaps + 8, UINT32_MAX}}) {
    const Status restored = model.restore(with(at, value), {});
    EXPECT_FALSE(restored) << at;
  }
  EXPECT_TRUE(model.save({}).empty());
  EXPECT_EQ(trainer->net()->numbers()[0], pretrained_rnn()->numbers()[0]);
}

}  // namespace
}  // namespace forerun::predict
