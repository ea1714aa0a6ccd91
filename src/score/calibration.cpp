#include "score/calibration.h"

#include <algorithm>
#include <cmath>

namespace forerun::score {
namespace {

constexpr float kSure = 0.995f;  // nothing is certain

}  // namespace

size_t bin_of(float probability) {
  const float scaled = std::clamp(probability, 0.0f, 1.0f) * static_cast<float>(kBins);
  return std::min(static_cast<size_t>(scaled), kBins - 1);
}

Calibration::Calibration(Options options)
    : options_(options),
      keep_(static_cast<float>(std::exp2(-1.0 / std::max(1.0, options.memory)))) {}

float Calibration::probability(uint16_t context, float said) const {
  const size_t index = std::min<size_t>(context, options_.contexts_max - 1);
  const float own = std::clamp(said, 1 - kSure, kSure);
  if (index >= cells_.size()) return own;
  const Cell& seen = cells_[index][bin_of(said)];
  const float weight = static_cast<float>(options_.prior_weight);
  const float blended = (seen.happened + weight * own) / (seen.happened + seen.failed + weight);
  return std::clamp(blended, 1 - kSure, kSure);
}

Calibration::Cell& Calibration::cell(uint16_t context, float said) {
  const size_t index = std::min<size_t>(context, options_.contexts_max - 1);
  if (index >= cells_.size()) cells_.resize(index + 1);
  return cells_[index][bin_of(said)];
}

void Calibration::learn(uint16_t context, float said, bool happened) {
  Cell& seen = cell(context, said);
  seen.happened *= keep_;
  seen.failed *= keep_;
  (happened ? seen.happened : seen.failed) += 1;
}

void Calibration::revise(uint16_t context, float said) {
  Cell& seen = cell(context, said);
  const float back = std::min(1.0f, seen.failed);
  seen.failed -= back;
  seen.happened += 1;
}

void Calibration::forget(uint32_t outcomes_kept) {
  const auto kept = static_cast<float>(outcomes_kept);
  for (Cells& cells : cells_) {
    for (Cell& seen : cells) {
      const float total = seen.happened + seen.failed;
      if (total <= kept) continue;
      seen.happened *= kept / total;
      seen.failed *= kept / total;
    }
  }
}

void Reliability::add(float probability, bool happened) {
  Sum& sum = sums_[bin_of(probability)];
  sum.said += static_cast<double>(std::clamp(probability, 0.0f, 1.0f));
  sum.happened += happened ? 1 : 0;
  ++sum.count;
}

void Reliability::revise(float probability) {
  Sum& sum = sums_[bin_of(probability)];
  if (sum.happened < sum.count) ++sum.happened;
}

std::array<Reliability::Bin, kBins> Reliability::bins() const {
  std::array<Bin, kBins> out{};
  for (size_t i = 0; i < kBins; ++i) {
    const Sum& sum = sums_[i];
    if (sum.count == 0) continue;
    const double count = static_cast<double>(sum.count);
    out[i] = {sum.said / count, static_cast<double>(sum.happened) / count, sum.count};
  }
  return out;
}

double Reliability::gap() const {
  double weighted = 0;
  uint64_t total = 0;
  for (const Bin& bin : bins()) {
    weighted += std::abs(bin.said - bin.happened) * static_cast<double>(bin.count);
    total += bin.count;
  }
  return total == 0 ? 0 : weighted / static_cast<double>(total);
}

uint64_t Reliability::count() const {
  uint64_t total = 0;
  for (const Sum& sum : sums_) total += sum.count;
  return total;
}

uint64_t Reliability::happened() const {
  uint64_t total = 0;
  for (const Sum& sum : sums_) total += sum.happened;
  return total;
}

}  // namespace forerun::score
