#include "predict/gru.h"

#include <algorithm>
#include <cmath>

#include "core/result.h"
#include "core/rng.h"
#include "predict/gru_kernels.h"

namespace forerun::predict {
namespace {

using gru::kBias, gru::kFeature, gru::kG, gru::kInner, gru::kNumbers, gru::kOut, gru::kOutBias,
    gru::kRecurrent, gru::kT, gru::kToken, gru::kU;

// The arithmetic, for one kind of vector unit.
template <typename Real>
struct Kernels {
  void (*step)(const Real* numbers, const GruInput<Real>& input, Real* state);
  void (*odds)(const Real* numbers, const Real* state, Real* out);
  Real (*learn)(const Real* numbers, std::span<const GruInput<Real>> inputs,
                std::span<const uint32_t> targets, Real* state, gru::Trace<Real>* traces,
                std::array<Real, kT>* said, Real* gradient);
};

#define FR_KERNELS(NAME, ...)                                                                     \
  template <typename Real>                                                                        \
  struct NAME {                                                                                   \
    __VA_ARGS__ static void step(const Real* numbers, const GruInput<Real>& input, Real* state) { \
      gru::step<Real>(numbers, input, state, nullptr);                                            \
    }                                                                                             \
    __VA_ARGS__ static void odds(const Real* numbers, const Real* state, Real* out) {             \
      gru::odds(numbers, state, out);                                                             \
    }                                                                                             \
    __VA_ARGS__ static Real learn(const Real* numbers, std::span<const GruInput<Real>> inputs,    \
                                  std::span<const uint32_t> targets, Real* state,                 \
                                  gru::Trace<Real>* traces, std::array<Real, kT>* said,           \
                                  Real* gradient) {                                               \
      return gru::learn(numbers, inputs, targets, state, traces, said, gradient);                 \
    }                                                                                             \
    static constexpr Kernels<Real> kAll{&step, &odds, &learn};                                    \
  }
FR_KERNELS(Plain, );
#ifdef __x86_64__
FR_KERNELS(Avx2, [[gnu::target("avx2")]]);
FR_KERNELS(Avx512, [[gnu::target("avx512f,avx512vl,avx512dq,avx512bw")]]);
#endif
#undef FR_KERNELS

// Those of this processor.
template <typename Real>
const Kernels<Real>& kernels() {
  static const Kernels<Real> chosen = [] {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
      return Avx512<Real>::kAll;
    if (__builtin_cpu_supports("avx2")) return Avx2<Real>::kAll;
#endif
    return Plain<Real>::kAll;
  }();
  return chosen;
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
void GruNet<Real>::step(const GruInput<Real>& input, State& state) const {
  FR_ASSERT(input.token < kT);
  kernels<Real>().step(numbers_.data(), input, state.data());
}

template <typename Real>
typename GruNet<Real>::Odds GruNet<Real>::odds(const State& state) const {
  Odds odds;
  kernels<Real>().odds(numbers_.data(), state.data(), odds.data());
  return odds;
}

template <typename Real>
Real GruNet<Real>::learn(std::span<const GruInput<Real>> inputs, std::span<const uint32_t> targets,
                         State& state, std::span<Real> gradient) const {
  FR_ASSERT(inputs.size() == targets.size() && gradient.size() == kNumbers);
  std::vector<gru::Trace<Real>> traces(inputs.size());
  std::vector<Odds> said(inputs.size());
  return kernels<Real>().learn(numbers_.data(), inputs, targets, state.data(), traces.data(),
                               said.data(), gradient.data());
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
