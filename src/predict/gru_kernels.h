// The arithmetic of GruNet, written so that every kind of vector unit gives the same bits: sixteen
// lanes always, products and sums rounded apart, sums over lanes in a fixed order. Inlined into one
// function for each kind (gru.cpp); for no other file.
#pragma once

#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "predict/gru.h"

#pragma clang fp contract(off)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"  // all are inlined: no vector is ever passed

namespace forerun::predict::gru {

#define FR_INLINE [[gnu::always_inline]] inline

constexpr size_t kLanes = 16;
constexpr size_t kU = kGruUnits, kT = kGruTokens, kF = kGruFeatures, kG = 3 * kGruUnits;
constexpr size_t kUV = kU / kLanes, kTV = kT / kLanes, kGV = kG / kLanes;  // in vectors
// Where each table begins in the numbers. Gates of one input stand together.
constexpr size_t kToken = 0;                     // [token][gate]
constexpr size_t kFeature = kToken + kT * kG;    // [feature][gate]
constexpr size_t kBias = kFeature + kF * kG;     // [gate]
constexpr size_t kRecurrent = kBias + kG;        // [unit before][gate]
constexpr size_t kInner = kRecurrent + kU * kG;  // [unit]: bias within the reset gate's product
constexpr size_t kOut = kInner + kU;             // [unit][token]
constexpr size_t kOutBias = kOut + kU * kT;      // [token]
constexpr size_t kNumbers = kOutBias + kT;

template <typename Real>
using Vector = Real __attribute__((ext_vector_type(kLanes)));

template <typename Real>
FR_INLINE Vector<Real> load(const Real* from) {
  Vector<Real> vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <typename Real>
FR_INLINE void store(Real* to, const Vector<Real>& vector) {
  std::memcpy(to, &vector, sizeof(vector));
}

template <typename Real>
FR_INLINE void add(Real* to, const Vector<Real>& vector) {
  store(to, load(to) + vector);
}

template <typename Real>
FR_INLINE Real sum(const Vector<Real>& vector) {
  std::array<Real, kLanes> lanes;
  store(lanes.data(), vector);
  for (size_t half = kLanes / 2; half > 0; half /= 2)
    for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// e^x by the exponent's bits and a polynomial (relative error 3e-7): the C library's differs from
// one processor to the next.
FR_INLINE Vector<float> exponential(Vector<float> x) {
  using Integers = int32_t __attribute__((ext_vector_type(kLanes)));
  constexpr float kRounder = 12582912;  // adding it leaves no fraction
  const Vector<float> least = -87.0f, most = 87.0f;
  x = __builtin_elementwise_max(__builtin_elementwise_min(x, most), least);
  const Vector<float> scaled = x * 1.44269504f;
  const Vector<float> whole = (scaled + kRounder) - kRounder;
  const Vector<float> rest = (scaled - whole) * 0.69314718f;
  Vector<float> series = 1.0f / 5040;
  series = series * rest + 1.0f / 720;
  series = series * rest + 1.0f / 120;
  series = series * rest + 1.0f / 24;
  series = series * rest + 1.0f / 6;
  series = series * rest + 0.5f;
  series = series * rest + 1.0f;
  series = series * rest + 1.0f;
  const Integers power = (__builtin_convertvector(whole, Integers) + 127) << 23;
  return series * __builtin_bit_cast(Vector<float>, power);
}

FR_INLINE Vector<double> exponential(Vector<double> x) {
  for (size_t i = 0; i < kLanes; ++i) x[i] = std::exp(x[i]);
  return x;
}

template <typename Real>
FR_INLINE Vector<Real> sigmoid(const Vector<Real>& x) {
  return Real{1} / (Real{1} + exponential(-x));
}

template <typename Real>
FR_INLINE Vector<Real> hyperbolic_tangent(const Vector<Real>& x) {
  return Real{2} / (Real{1} + exponential(Real{-2} * x)) - Real{1};
}

// What one step went through, for its gradient.
template <typename Real>
struct Trace {
  std::array<Real, kU> before, update, reset, candidate, recurrent, after;
};

template <typename Real>
FR_INLINE void step(const Real* numbers, const GruInput<Real>& input, Real* state,
                    Trace<Real>* trace) {
  Vector<Real> in[kGV], inner[kGV];
  const Real* token = numbers + kToken + input.token * kG;
  for (size_t g = 0; g < kGV; ++g) {
    in[g] = load(numbers + kBias + g * kLanes) + load(token + g * kLanes);
    inner[g] = Real{0};
  }
  for (size_t f = 0; f < kF; ++f) {
    const Real value = input.features[f];
    if (value == 0) continue;  // most are
    const Real* row = numbers + kFeature + f * kG;
    for (size_t g = 0; g < kGV; ++g) in[g] += value * load(row + g * kLanes);
  }
  for (size_t u = 0; u < kU; ++u) {
    const Real value = state[u];
    const Real* row = numbers + kRecurrent + u * kG;
    for (size_t g = 0; g < kGV; ++g) inner[g] += value * load(row + g * kLanes);
  }
  for (size_t v = 0; v < kUV; ++v) {
    const Vector<Real> before = load(state + v * kLanes);
    const Vector<Real> update = sigmoid<Real>(in[v] + inner[v]);
    const Vector<Real> reset = sigmoid<Real>(in[kUV + v] + inner[kUV + v]);
    const Vector<Real> recurrent = inner[2 * kUV + v] + load(numbers + kInner + v * kLanes);
    const Vector<Real> candidate = hyperbolic_tangent<Real>(in[2 * kUV + v] + reset * recurrent);
    const Vector<Real> after = candidate + update * (before - candidate);
    store(state + v * kLanes, after);
    if (!trace) continue;
    store(trace->before.data() + v * kLanes, before);
    store(trace->update.data() + v * kLanes, update);
    store(trace->reset.data() + v * kLanes, reset);
    store(trace->recurrent.data() + v * kLanes, recurrent);
    store(trace->candidate.data() + v * kLanes, candidate);
    store(trace->after.data() + v * kLanes, after);
  }
}

template <typename Real>
FR_INLINE void odds(const Real* numbers, const Real* state, Real* out) {
  Vector<Real> said[kTV];
  for (size_t t = 0; t < kTV; ++t) said[t] = load(numbers + kOutBias + t * kLanes);
  for (size_t u = 0; u < kU; ++u) {
    const Real value = state[u];
    const Real* row = numbers + kOut + u * kT;
    for (size_t t = 0; t < kTV; ++t) said[t] += value * load(row + t * kLanes);
  }
  Vector<Real> most = said[0], total = Real{0};
  for (size_t t = 1; t < kTV; ++t) most = __builtin_elementwise_max(most, said[t]);
  const Real largest = __builtin_reduce_max(most);
  for (size_t t = 0; t < kTV; ++t) total += said[t] = exponential(said[t] - largest);
  const Real share = Real{1} / sum<Real>(total);
  for (size_t t = 0; t < kTV; ++t) store(out + t * kLanes, Vector<Real>(said[t] * share));
}

// Adds the gradient by the output's numbers, and to `by_state` that by the state. `wrong`: by the
// logits.
template <typename Real>
FR_INLINE void odds_back(const Real* numbers, const Real* state, const Real* wrong, Real* by_state,
                         Real* gradient) {
  Vector<Real> by_logit[kTV];
  for (size_t t = 0; t < kTV; ++t) {
    by_logit[t] = load(wrong + t * kLanes);
    add(gradient + kOutBias + t * kLanes, by_logit[t]);
  }
  for (size_t u = 0; u < kU; ++u) {
    const Real value = state[u];
    const Real* row = numbers + kOut + u * kT;
    Real* by_row = gradient + kOut + u * kT;
    Vector<Real> total = Real{0};
    for (size_t t = 0; t < kTV; ++t) {
      add<Real>(by_row + t * kLanes, value * by_logit[t]);
      total += load(row + t * kLanes) * by_logit[t];
    }
    by_state[u] += sum<Real>(total);
  }
}

// `after`: the gradient by the state after the step; `before` becomes that by the state before.
template <typename Real>
FR_INLINE void step_back(const Real* numbers, const GruInput<Real>& input, const Trace<Real>& trace,
                         const Real* after, Real* before, Real* gradient) {
  Vector<Real> in[kGV], inner[kGV];  // by the sums of inputs, and by the recurrent products
  for (size_t v = 0; v < kUV; ++v) {
    const size_t at = v * kLanes;
    const Vector<Real> z = load(trace.update.data() + at), r = load(trace.reset.data() + at),
                       n = load(trace.candidate.data() + at), by_after = load(after + at);
    const Vector<Real> by_candidate = by_after * (Real{1} - z) * (Real{1} - n * n);
    in[v] = inner[v] = by_after * (load(trace.before.data() + at) - n) * z * (Real{1} - z);
    in[kUV + v] = inner[kUV + v] =
        by_candidate * load(trace.recurrent.data() + at) * r * (Real{1} - r);
    in[2 * kUV + v] = by_candidate;
    inner[2 * kUV + v] = by_candidate * r;
    add(gradient + kInner + at, inner[2 * kUV + v]);
    store(before + at, Vector<Real>(by_after * z));
  }
  for (size_t g = 0; g < kGV; ++g) {
    add(gradient + kBias + g * kLanes, in[g]);
    add(gradient + kToken + input.token * kG + g * kLanes, in[g]);
  }
  for (size_t f = 0; f < kF; ++f) {
    const Real value = input.features[f];
    if (value == 0) continue;
    for (size_t g = 0; g < kGV; ++g)
      add<Real>(gradient + kFeature + f * kG + g * kLanes, value * in[g]);
  }
  for (size_t u = 0; u < kU; ++u) {
    const Real value = trace.before[u];
    const Real* row = numbers + kRecurrent + u * kG;
    Real* by_row = gradient + kRecurrent + u * kG;
    Vector<Real> total = Real{0};
    for (size_t g = 0; g < kGV; ++g) {
      add<Real>(by_row + g * kLanes, value * inner[g]);
      total += load(row + g * kLanes) * inner[g];
    }
    before[u] += sum<Real>(total);
  }
}

// GruNet::learn(). `traces` and `said` have a place for each step.
template <typename Real>
FR_INLINE Real learn(const Real* numbers, std::span<const GruInput<Real>> inputs,
                     std::span<const uint32_t> targets, Real* state, Trace<Real>* traces,
                     std::array<Real, kT>* said, Real* gradient) {
  Real loss = 0;
  size_t counted = 0;
  for (size_t t = 0; t < inputs.size(); ++t) {
    step(numbers, inputs[t], state, &traces[t]);
    if (targets[t] == GruNet<Real>::kIgnored) continue;
    odds(numbers, state, said[t].data());
    loss -= std::log(std::max(said[t][targets[t]], Real{1e-12}));
    ++counted;
  }
  if (counted == 0) return 0;
  const Real part = Real{1} / static_cast<Real>(counted);
  std::array<Real, kU> by_state{}, before;
  for (size_t t = inputs.size(); t-- > 0;) {
    if (targets[t] != GruNet<Real>::kIgnored) {
      said[t][targets[t]] -= 1;
      for (Real& one : said[t]) one *= part;
      odds_back(numbers, traces[t].after.data(), said[t].data(), by_state.data(), gradient);
    }
    step_back(numbers, inputs[t], traces[t], by_state.data(), before.data(), gradient);
    by_state = before;
  }
  return loss * part;
}

#undef FR_INLINE

}  // namespace forerun::predict::gru

#pragma clang diagnostic pop
