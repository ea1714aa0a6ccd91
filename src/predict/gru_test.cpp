#include "predict/gru.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "predict/gru_kernels.h"

namespace forerun::predict {
namespace {

template <typename Real>
std::vector<GruInput<Real>> random_inputs(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<GruInput<Real>> inputs(count);
  for (auto& input : inputs) {
    input.token = static_cast<uint32_t>(rng.below(kGruTokens));
    for (auto& feature : input.features)
      feature = rng.chance(0.5) ? static_cast<Real>(rng.below(1000)) / 500 - 1 : 0;
  }
  return inputs;
}

// Without the vector units of this processor: the same bits.
TEST(Gru, EveryKindOfProcessorGivesTheSameBits) {
  GruNet<float> net;
  net.randomize(3);
  const auto inputs = random_inputs<float>(16, 4);
  std::vector<uint32_t> targets;
  for (const auto& input : inputs) targets.push_back(input.token);
  GruNet<float>::State state{}, plain{};
  for (const auto& input : inputs) {
    net.step(input, state);
    gru::step<float>(net.numbers().data(), input, plain.data(), nullptr);
    ASSERT_EQ(state, plain);
  }
  GruNet<float>::Odds odds{};
  gru::odds(net.numbers().data(), plain.data(), odds.data());
  EXPECT_EQ(net.odds(state), odds);
  std::vector<float> gradient(GruNet<float>::size()), plain_gradient(gradient.size());
  std::vector<gru::Trace<float>> traces(inputs.size());
  std::vector<GruNet<float>::Odds> said(inputs.size());
  const float loss = net.learn(inputs, targets, state, gradient);
  EXPECT_EQ(loss, gru::learn<float>(net.numbers().data(), inputs, targets, plain.data(),
                                    traces.data(), said.data(), plain_gradient.data()));
  EXPECT_EQ(gradient, plain_gradient);
}

TEST(Gru, ItsGradientIsThatOfItsLoss) {
  GruNet<double> net;
  net.randomize(7);
  const auto inputs = random_inputs<double>(6, 1);
  const std::vector<uint32_t> targets = {3, 60, GruNet<double>::kIgnored, 0, 17, 3};
  const auto loss_of = [&](const GruNet<double>& of) {
    GruNet<double>::State state{};
    state[4] = 0.5;
    std::vector<double> unused(GruNet<double>::size());
    return of.learn(inputs, targets, state, unused);
  };
  std::vector<double> gradient(GruNet<double>::size());
  GruNet<double>::State state{};
  state[4] = 0.5;
  net.learn(inputs, targets, state, gradient);
  Rng rng(2);
  double steepest = 0;
  for (int i = 0; i < 400; ++i) {
    const size_t at = rng.below(gradient.size());
    constexpr double kStep = 1e-5;
    const double was = net.numbers()[at];
    net.numbers()[at] = was + kStep;
    const double above = loss_of(net);
    net.numbers()[at] = was - kStep;
    const double below = loss_of(net);
    net.numbers()[at] = was;
    ASSERT_NEAR(gradient[at], (above - below) / (2 * kStep), 1e-7) << "number " << at;
    steepest = std::max(steepest, std::abs(gradient[at]));
  }
  EXPECT_GT(steepest, 1e-3);
}

TEST(Gru, OddsAreProbabilities) {
  GruNet<float> net;
  net.randomize(1);
  GruNet<float>::State state{};
  for (const auto& input : random_inputs<float>(50, 3)) net.step(input, state);
  const auto odds = net.odds(state);
  float sum = 0;
  for (const float one : odds) {
    EXPECT_GT(one, 0);
    sum += one;
  }
  EXPECT_NEAR(sum, 1, 1e-5);
  for (const float one : state) EXPECT_LT(std::abs(one), 1);
}

TEST(Gru, FloatsFollowDoubles) {
  GruNet<double> exact;
  GruNet<float> net;
  exact.randomize(5);
  net.randomize(5);
  GruNet<double>::State exact_state{};
  GruNet<float>::State state{};
  const auto inputs = random_inputs<double>(30, 4);
  for (const auto& input : inputs) {
    GruInput<float> narrow{.token = input.token};
    for (size_t f = 0; f < kGruFeatures; ++f)
      narrow.features[f] = static_cast<float>(input.features[f]);
    exact.step(input, exact_state);
    net.step(narrow, state);
  }
  for (size_t u = 0; u < kGruUnits; ++u)
    EXPECT_NEAR(static_cast<double>(state[u]), exact_state[u], 1e-5);
}

TEST(Gru, LearnsALoopOfTokensThatNeedsMemory) {
  // 5 5 9 5 5 12: what follows a second 5 depends on what stood before both.
  const std::array<uint32_t, 6> loop = {5, 5, 9, 5, 5, 12};
  GruNet<float> net;
  net.randomize(3);
  GruTrainer trainer({.rate = 0.01f});
  std::vector<float> gradient(GruNet<float>::size());
  GruNet<float>::State state{};
  float loss = 0;
  size_t at = 0;
  for (int i = 0; i < 400; ++i) {
    std::vector<GruInput<float>> inputs(12);
    std::vector<uint32_t> targets(12);
    for (size_t t = 0; t < 12; ++t, ++at) {
      inputs[t].token = loop[at % 6];
      targets[t] = loop[(at + 1) % 6];
    }
    loss = net.learn(inputs, targets, state, gradient);
    trainer.descend(net, gradient);
  }
  EXPECT_LT(loss, 0.05f);
}

TEST(Gru, TheSameSeedGivesTheSameNumbers) {
  GruNet<float> a, b, c;
  a.randomize(9);
  b.randomize(9);
  c.randomize(10);
  EXPECT_TRUE(std::equal(a.numbers().begin(), a.numbers().end(), b.numbers().begin()));
  EXPECT_FALSE(std::equal(a.numbers().begin(), a.numbers().end(), c.numbers().begin()));
}

}  // namespace
}  // namespace forerun::predict
