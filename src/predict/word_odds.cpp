#include "predict/word_odds.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "predict/set_table.h"

namespace forerun::predict {
namespace {

constexpr float kStep = 0.035f;   // of the gradient descent
constexpr float kOddsMax = 4;     // no bias grows beyond
constexpr float kLeast = 0.005f;  // probabilities are kept away from 0 and 1 by this
constexpr uint32_t kCountBits = 24;
constexpr uint32_t kCountMask = (1u << kCountBits) - 1;
constexpr uint32_t kRemembered = 64;  // blocks of one access, at most

uint8_t log_class(uint64_t value, size_t classes) {
  return static_cast<uint8_t>(
      std::min<size_t>(static_cast<size_t>(std::bit_width(value)), classes));
}

}  // namespace

WordOdds::WordOdds(size_t models) : last_(kPlaces), biases_(models) {}

uint32_t WordOdds::line_of(ComponentId component, uint64_t block) {
  return hash_of({component, block / kLine});
}

void WordOdds::remember(const trace::Access& access, uint32_t were_right) {
  if (access.op == trace::Op::kRead)
    for (size_t m = 0; m < biases_.size(); ++m)
      tracks_[m] = static_cast<uint8_t>(tracks_[m] << 1 | (were_right >> m & 1));
  if (access.op == trace::Op::kRead) ++reads_;
  const uint64_t end = access.first_block + std::min(access.block_count, kRemembered);
  for (uint64_t block = access.first_block; block < end;) {
    const uint32_t line = line_of(access.component, block);
    const uint32_t stamp = line >> kCountBits << kCountBits | ((reads_ + 1) & kCountMask);
    uint32_t* places = &last_[static_cast<size_t>(line) * kLine & (kPlaces - 1)];
    const uint64_t line_end = std::min(end, (block / kLine + 1) * kLine);
    for (; block < line_end; ++block) places[block % kLine] = stamp;
  }
}

void WordOdds::prefetch(const Candidate& candidate) const {
  const uint32_t line = line_of(candidate.component, candidate.first_block);
  __builtin_prefetch(&last_[static_cast<size_t>(line) * kLine & (kPlaces - 1)]);
}

WordOdds::Traits WordOdds::traits_of(uint8_t model, const Candidate& candidate,
                                     const trace::Access& access) const {
  const uint32_t line = line_of(candidate.component, candidate.first_block);
  const uint32_t stamp =
      last_[(static_cast<size_t>(line) * kLine & (kPlaces - 1)) + candidate.first_block % kLine];
  Traits traits{.age = kAges - 1, .blocks = 0, .distance = 0};
  if ((stamp & kCountMask) != 0 && stamp >> kCountBits == line >> kCountBits)
    traits.age = log_class((reads_ + 1 - stamp) & kCountMask, kAges - 2);
  traits.blocks = log_class(candidate.block_count, kSizes - 1);
  const bool is_before = candidate.first_block < access.first_block;
  const uint64_t apart = is_before ? access.first_block - candidate.first_block
                                   : candidate.first_block - access.first_block;
  traits.distance =
      static_cast<uint8_t>(log_class(apart, kDistances / 2 - 1) + (is_before ? kDistances / 2 : 0));
  const bool was_here = access.served_from != trace::ServedFrom::kRepository;
  traits.track = static_cast<uint8_t>((tracks_[model] & 7) | (was_here ? 8 : 0));
  return traits;
}

float WordOdds::probability(uint8_t model, Traits traits, float probability) const {
  const Biases& biases = biases_[model];
  const float known = std::clamp(probability, kLeast, 1 - kLeast);
  const float bias = biases.age[traits.age] + biases.blocks[traits.blocks] +
                     biases.distance[traits.distance] + biases.track[traits.track];
  // sigmoid(log(p / (1 - p)) + bias)
  const float against = (1 - known) * std::exp(-bias);
  return known / (known + against);
}

void WordOdds::learn(uint8_t model, Traits traits, float probability, bool happened) {
  move(model, traits, (happened ? 1.0f : 0.0f) - probability);
}

void WordOdds::revise(uint8_t model, Traits traits) { move(model, traits, 1); }

void WordOdds::move(uint8_t model, Traits traits, float error) {
  Biases& biases = biases_[model];
  for (float* bias : {&biases.age[traits.age], &biases.blocks[traits.blocks],
                      &biases.distance[traits.distance], &biases.track[traits.track]})
    *bias = std::clamp(*bias + kStep * error, -kOddsMax, kOddsMax);
}

size_t WordOdds::state_bytes() const {
  return last_.capacity() * sizeof(uint32_t) + biases_.capacity() * sizeof(Biases);
}

}  // namespace forerun::predict
