#include "predict/gru.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/result.h"
#include "core/rng.h"

namespace forerun::predict {
namespace {

constexpr size_t kU = kGruUnits, kT = kGruTokens, kF = kGruFeatures, kG = 3 * kGruUnits;
// Where each table begins in the numbers. Gates of one input stand together.
constexpr size_t kToken = 0;                     // [token][gate]
constexpr size_t kFeature = kToken + kT * kG;    // [feature][gate]
constexpr size_t kBias = kFeature + kF * kG;     // [gate]
constexpr size_t kRecurrent = kBias + kG;        // [unit before][gate]
constexpr size_t kInner = kRecurrent + kU * kG;  // [unit]: bias within the reset gate's product
constexpr size_t kOut = kInner + kU;             // [unit][token]
constexpr size_t kOutBias = kOut + kU * kT;      // [token]
constexpr size_t kNumbers = kOutBias + kT;

// e^x by the exponent's bits and a polynomial (relative error 2e-7): the C library's differs from
// one processor to the next.
float exponential(float x) {
  x = std::clamp(x, -87.0f, 87.0f);
  const float scaled = x * 1.44269504f;
  const float whole = std::floor(scaled + 0.5f);
  const float rest = (scaled - whole) * 0.69314718f;
  float sum = 1 + rest / 7;
  for (int i = 6; i >= 1; --i) sum = 1 + rest / static_cast<float>(i) * sum;
  return sum * std::bit_cast<float>(static_cast<int32_t>(whole + 127) << 23);
}
double exponential(double x) { return std::exp(x); }

template <typename Real>
Real sigmoid(Real x) {
  return 1 / (1 + exponential(-x));
}

template <typename Real>
Real hyperbolic_tangent(Real x) {
  return 2 / (1 + exponential(-2 * x)) - 1;
}

}  // namespace

template <typename Real>
GruNet<Real>::GruNet() : numbers_(kNumbers) {}

template <typename Real>
size_t GruNet<Real>::size() {
  return kNumbers;
}

template <typename Real>
void GruNet<Real>::randomize(uint64_t seed) {
  Rng rng(seed);
  const auto spread = [&](size_t from, size_t to, double width) {
    for (size_t i = from; i < to; ++i) {
      const double unit = static_cast<double>(rng.next() >> 11) * 0x1.0p-53;
      numbers_[i] = static_cast<Real>((2 * unit - 1) * width);
    }
  };
  std::fill(numbers_.begin(), numbers_.end(), Real{0});
  spread(kToken, kFeature, 0.3);
  spread(kFeature, kBias, 0.1);
  spread(kRecurrent, kInner, 1 / std::sqrt(static_cast<double>(kU)));
  spread(kOut, kOutBias, 1 / std::sqrt(static_cast<double>(kU)));
  // It begins by keeping what it knows.
  std::fill_n(numbers_.begin() + kBias, kU, Real{1});
}

template <typename Real>
void GruNet<Real>::forget_feature(size_t feature) {
  const auto row = static_cast<std::ptrdiff_t>(kFeature + feature * kG);
  std::fill_n(numbers_.begin() + row, kG, Real{0});
}

template <typename Real>
void GruNet<Real>::step(const GruInput<Real>& input, State& state, Trace& trace) const {
  std::array<Real, kG> in, inner{};
  const Real* numbers = numbers_.data();
  const Real* token = numbers + kToken + input.token * kG;
  for (size_t g = 0; g < kG; ++g) in[g] = numbers[kBias + g] + token[g];
  for (size_t f = 0; f < kF; ++f) {
    const Real value = input.features[f];
    if (value == 0) continue;  // most are
    const Real* row = numbers + kFeature + f * kG;
    for (size_t g = 0; g < kG; ++g) in[g] += value * row[g];
  }
  for (size_t u = 0; u < kU; ++u) {
    const Real value = state[u];
    const Real* row = numbers + kRecurrent + u * kG;
    for (size_t g = 0; g < kG; ++g) inner[g] += value * row[g];
  }
  trace.before = state;
  for (size_t u = 0; u < kU; ++u) {
    trace.update[u] = sigmoid(in[u] + inner[u]);
    trace.reset[u] = sigmoid(in[kU + u] + inner[kU + u]);
    trace.recurrent[u] = inner[2 * kU + u] + numbers[kInner + u];
    trace.candidate[u] = hyperbolic_tangent(in[2 * kU + u] + trace.reset[u] * trace.recurrent[u]);
    state[u] = trace.candidate[u] + trace.update[u] * (state[u] - trace.candidate[u]);
  }
  trace.after = state;
}

template <typename Real>
void GruNet<Real>::step(const GruInput<Real>& input, State& state) const {
  Trace trace;
  step(input, state, trace);
}

template <typename Real>
typename GruNet<Real>::Odds GruNet<Real>::odds(const State& state) const {
  Odds odds;
  std::copy_n(numbers_.begin() + kOutBias, kT, odds.begin());
  for (size_t u = 0; u < kU; ++u) {
    const Real value = state[u];
    const Real* row = numbers_.data() + kOut + u * kT;
    for (size_t t = 0; t < kT; ++t) odds[t] += value * row[t];
  }
  const Real most = *std::max_element(odds.begin(), odds.end());
  Real sum = 0;
  for (Real& one : odds) sum += one = exponential(one - most);
  for (Real& one : odds) one /= sum;
  return odds;
}

// `after`: the gradient by the state after the step; `before` becomes that by the state before.
template <typename Real>
void GruNet<Real>::step_back(const GruInput<Real>& input, const Trace& trace, const State& after,
                             State& before, std::span<Real> gradient) const {
  std::array<Real, kG> in, inner;  // gradients by the sums of inputs, and by the recurrent products
  for (size_t u = 0; u < kU; ++u) {
    const Real z = trace.update[u], r = trace.reset[u], n = trace.candidate[u];
    const Real by_candidate = after[u] * (1 - z) * (1 - n * n);
    in[u] = inner[u] = after[u] * (trace.before[u] - n) * z * (1 - z);
    in[kU + u] = inner[kU + u] = by_candidate * trace.recurrent[u] * r * (1 - r);
    in[2 * kU + u] = by_candidate;
    inner[2 * kU + u] = by_candidate * r;
    gradient[kInner + u] += by_candidate * r;
    before[u] = after[u] * z;
  }
  for (size_t g = 0; g < kG; ++g) {
    gradient[kBias + g] += in[g];
    gradient[kToken + input.token * kG + g] += in[g];
  }
  for (size_t f = 0; f < kF; ++f) {
    const Real value = input.features[f];
    if (value == 0) continue;
    for (size_t g = 0; g < kG; ++g) gradient[kFeature + f * kG + g] += value * in[g];
  }
  for (size_t u = 0; u < kU; ++u) {
    const Real value = trace.before[u];
    const Real* row = numbers_.data() + kRecurrent + u * kG;
    Real* by_row = gradient.data() + kRecurrent + u * kG;
    Real sum = 0;
    for (size_t g = 0; g < kG; ++g) {
      by_row[g] += value * inner[g];
      sum += row[g] * inner[g];
    }
    before[u] += sum;
  }
}

template <typename Real>
Real GruNet<Real>::learn(std::span<const GruInput<Real>> inputs, std::span<const uint32_t> targets,
                         State& state, std::span<Real> gradient) const {
  FR_ASSERT(inputs.size() == targets.size() && gradient.size() == kNumbers);
  std::vector<Trace> traces(inputs.size());
  std::vector<Odds> said(inputs.size());
  Real loss = 0;
  size_t counted = 0;
  for (size_t t = 0; t < inputs.size(); ++t) {
    step(inputs[t], state, traces[t]);
    if (targets[t] == kIgnored) continue;
    said[t] = odds(state);
    loss -= std::log(std::max(said[t][targets[t]], Real{1e-12}));
    ++counted;
  }
  if (counted == 0) return 0;
  const Real part = Real{1} / static_cast<Real>(counted);
  State by_state{};
  for (size_t t = inputs.size(); t-- > 0;) {
    if (targets[t] != kIgnored) {
      said[t][targets[t]] -= 1;
      for (size_t u = 0; u < kU; ++u) {
        const Real value = traces[t].after[u] * part;
        const Real* row = numbers_.data() + kOut + u * kT;
        Real* by_row = gradient.data() + kOut + u * kT;
        Real sum = 0;
        for (size_t k = 0; k < kT; ++k) {
          by_row[k] += value * said[t][k];
          sum += row[k] * said[t][k];
        }
        by_state[u] += sum * part;
      }
      for (size_t k = 0; k < kT; ++k) gradient[kOutBias + k] += said[t][k] * part;
    }
    State before{};
    step_back(inputs[t], traces[t], by_state, before, gradient);
    by_state = before;
  }
  return loss * part;
}

template class GruNet<float>;
template class GruNet<double>;

GruTrainer::GruTrainer(Options options) : options_(options), mean_(kNumbers), square_(kNumbers) {}

void GruTrainer::descend(GruNet<float>& net, std::span<float> gradient) {
  FR_ASSERT(gradient.size() == kNumbers);
  float square = 0;
  for (const float one : gradient) square += one * one;
  const float norm = std::sqrt(square);
  const float scale = norm > options_.gradient_max ? options_.gradient_max / norm : 1;
  mean_part_ *= static_cast<double>(options_.keep_mean);
  square_part_ *= static_cast<double>(options_.keep_square);
  const auto rate = static_cast<float>(static_cast<double>(options_.rate) *
                                       std::sqrt(1 - square_part_) / (1 - mean_part_));
  const std::span<float> numbers = net.numbers();
  for (size_t i = 0; i < kNumbers; ++i) {
    const float g = gradient[i] * scale;
    mean_[i] += (1 - options_.keep_mean) * (g - mean_[i]);
    square_[i] += (1 - options_.keep_square) * (g * g - square_[i]);
    numbers[i] -= rate * mean_[i] / (std::sqrt(square_[i]) + 1e-7f);
    gradient[i] = 0;
  }
}

}  // namespace forerun::predict
