// A small gated recurrent network that reads tokens and says which token comes next, with its
// gradient. Written out, since it is small: no matrix library is faster at 32 units, and sums in a
// fixed order give the same bits everywhere, whatever the processor's vector unit
// (gru_kernels.h).
//
// SOURCE: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP'14, with
// the reset gate after the recurrent product; Adam: Kingma, Ba, ICLR'15; truncated back-propagation
// through time: Williams, Peng, Neural Computation 2 (1990).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace forerun::predict {

inline constexpr size_t kGruUnits = 32;
inline constexpr size_t kGruTokens = 64;
inline constexpr size_t kGruFeatures = 24;  // beside the token

// What the network reads in one step. Features are of the order of 1.
template <typename Real>
struct GruInput {
  uint32_t token = 0;
  std::array<Real, kGruFeatures> features{};
};

// The network's numbers, in one vector: inputs by token, inputs by feature, recurrent, output.
// `Real`: float; double where the gradient is checked.
template <typename Real>
class GruNet {
 public:
  using State = std::array<Real, kGruUnits>;
  using Odds = std::array<Real, kGruTokens>;  // logits, or probabilities

  GruNet();
  // Sets all numbers to small random ones.
  void randomize(uint64_t seed);
  // Sets what is known of an input to nothing: whatever it is then, it changes nothing until it is
  // learned.
  void forget_feature(size_t feature);
  static size_t size();
  std::span<const Real> numbers() const { return numbers_; }
  std::span<Real> numbers() { return numbers_; }

  // Makes one step: `state` becomes the next one.
  void step(const GruInput<Real>& input, State& state) const;
  // Returns the probability of each token to come next.
  Odds odds(const State& state) const;

  // Adds to `gradient` that of the mean of -ln(probability of targets[t]) over the steps of a
  // window that begins in `state`, and moves `state` to its end. Targets of kIgnored do not count.
  // Returns that mean. REQUIRES: as many targets as inputs; gradient.size() == size().
  static constexpr uint32_t kIgnored = UINT32_MAX;
  Real learn(std::span<const GruInput<Real>> inputs, std::span<const uint32_t> targets,
             State& state, std::span<Real> gradient) const;

 private:
  std::vector<Real> numbers_;
};

extern template class GruNet<float>;
extern template class GruNet<double>;

// Adam over a network's numbers. One thread.
class GruTrainer {
 public:
  struct Options {
    float rate = 0.002f;
    float keep_mean = 0.9f, keep_square = 0.999f;
    float gradient_max = 1;  // its norm is cut to this
  };
  GruTrainer() : GruTrainer(Options{}) {}
  explicit GruTrainer(Options options);
  // Moves the net against `gradient`, which is then zero.
  void descend(GruNet<float>& net, std::span<float> gradient);
  size_t state_bytes() const { return (mean_.size() + square_.size()) * sizeof(float); }

 private:
  Options options_;
  std::vector<float> mean_, square_;
  double mean_part_ = 1, square_part_ = 1;  // of the beginning that is still in them
};

}  // namespace forerun::predict
