#include "forecast/volume.h"

#include <algorithm>
#include <cmath>

#include "core/result.h"

namespace forerun::forecast {
namespace {

constexpr double kDayKeep = 0.85;     // a day's weight in the profile of the time of day, per day
constexpr double kHourRate = 0.06;    // an hour's, in the profile of the minute of the hour
constexpr double kRatioRate = 0.001;  // a tick's, in the ratio that corrects the square root
constexpr double kFloor = 1e-3;       // of the long mean: nothing that was seen becomes impossible

}  // namespace

Volume::Volume(const LaunchShape& shape, LaunchUnit unit)
    : shape_(shape),
      unit_(unit),
      hour_(shape.ticks_of(3600)),
      day_(shape.ticks_of(86400)),
      week_(day_ * 7),
      day_weight_(day_),
      now_(shape.manifests),
      other_(shape.manifests) {
  constexpr std::array<double, kDecays> kHalfLives = {900, 3600, 21600, 172800};  // seconds
  for (size_t k = 0; k < kDecays; ++k)
    rates_[k] = 1 - std::exp2(-static_cast<double>(shape_.tick_s) / kHalfLives[k]);
  const size_t ring = week_ + shape_.window_ticks + 1;
  for (uint32_t m = 0; m < shape_.manifests; ++m)
    manifests_.push_back({.day_sum = std::vector<double>(day_),
                          .hour_mean = std::vector<double>(hour_),
                          .past = std::vector<float>(ring, -1.0F),
                          .weights = LeastSquares(kInputs, {})});
}

double Volume::at(const Manifest& manifest, int64_t tick) const {
  const auto ring = static_cast<int64_t>(manifest.past.size());
  if (tick < 0 || tick >= next_ || tick < next_ - ring) return manifest.decayed[2];
  const float number = manifest.past[static_cast<size_t>(tick % ring)];
  return number < 0 ? day_at(manifest, tick) : number;
}

double Volume::window_at(const Manifest& manifest, int64_t tick) const {
  double sum = 0;
  for (uint32_t i = 0; i < shape_.window_ticks; ++i) sum += at(manifest, tick + i);
  return sum / shape_.window_ticks;
}

double Volume::day_at(const Manifest& manifest, int64_t tick) const {
  const auto slot = static_cast<size_t>((tick % day_ + day_) % day_);
  return day_weight_[slot] > 0 ? manifest.day_sum[slot] / day_weight_[slot] : manifest.decayed[2];
}

Volume::Inputs Volume::inputs_of(const Manifest& manifest, int64_t tick) const {
  const auto window = static_cast<int64_t>(shape_.window_ticks);
  double day = 0, hour = 0, around = 0;
  for (int64_t i = 0; i < window; ++i) {
    day += day_at(manifest, tick + i);
    hour += manifest.hour_mean[static_cast<size_t>((tick + i) % hour_)];
  }
  const int64_t half = std::max<int64_t>(1, hour_ / 2);
  for (int64_t i = 1 - half; i <= half; ++i) around += day_at(manifest, tick + i);
  // The window an hour ago may not be over yet if the window is longer than an hour.
  const int64_t hour_ago = std::max<int64_t>(hour_, window);
  Inputs inputs = {at(manifest, tick - 1),
                   at(manifest, tick - 2),
                   at(manifest, tick - 3),
                   manifest.decayed[0],
                   manifest.decayed[1],
                   manifest.decayed[2],
                   manifest.decayed[3],
                   day / static_cast<double>(window),
                   around / static_cast<double>(2 * half),
                   hour / static_cast<double>(window),
                   window_at(manifest, tick - hour_ago),
                   window_at(manifest, tick - day_),
                   window_at(manifest, tick - week_),
                   manifest.other_last,
                   1};
  for (double& input : inputs) input = std::sqrt(std::max(input, 0.0));
  return inputs;
}

void Volume::foresee(int64_t tick, std::span<double> expected) {
  FR_ASSERT(expected.size() == manifests_.size() && tick >= next_);
  forget_until(tick);
  Pending pending{tick, {}};
  for (size_t m = 0; m < manifests_.size(); ++m) {
    const Manifest& manifest = manifests_[m];
    pending.inputs.push_back(inputs_of(manifest, tick));
    const double ratio = manifest.happened / manifest.said;
    const double number = number_of(manifest.weights.predict(pending.inputs.back())) * ratio;
    expected[m] = std::max(number, kFloor * manifest.decayed[kDecays - 1]) * shape_.window_ticks;
  }
  pending_.push_back(std::move(pending));
  if (pending_.size() > shape_.window_ticks) pending_.pop_front();
}

// Ticks that were never learned stay marked as not observed.
void Volume::forget_until(int64_t tick) {
  const auto ring = static_cast<int64_t>(manifests_.empty() ? 1 : manifests_[0].past.size());
  next_ = std::max(next_, tick - ring);
  for (; next_ < tick; ++next_)
    for (Manifest& manifest : manifests_) manifest.past[static_cast<size_t>(next_ % ring)] = -1.0F;
}

void Volume::learn(int64_t tick, std::span<const Launched> launched) {
  FR_ASSERT(tick >= next_);
  forget_until(tick);
  std::fill(now_.begin(), now_.end(), 0.0);
  std::fill(other_.begin(), other_.end(), 0.0);
  for (const Launched& one : launched) {
    const bool by_batch = unit_ == LaunchUnit::kBatches;
    now_[one.manifest] += by_batch ? one.batches : one.launches;
    other_[one.manifest] += by_batch ? one.launches : one.batches;
  }
  ++observed_;
  const auto ring = static_cast<int64_t>(manifests_.empty() ? 1 : manifests_[0].past.size());
  for (uint32_t m = 0; m < manifests_.size(); ++m)
    manifests_[m].past[static_cast<size_t>(tick % ring)] = static_cast<float>(now_[m]);
  next_ = tick + 1;
  learn_weights(tick);
  double& weight = day_weight_[static_cast<size_t>(tick % day_)];
  weight = weight * kDayKeep + 1;
  for (uint32_t m = 0; m < manifests_.size(); ++m) learn_profiles(tick, m, now_[m]);
}

// The forecast whose window ends with `tick` meets its outcome, if all of it was observed.
void Volume::learn_weights(int64_t tick) {
  const int64_t first = tick - shape_.window_ticks + 1;
  const auto found = std::find_if(pending_.begin(), pending_.end(),
                                  [&](const Pending& one) { return one.tick == first; });
  if (found == pending_.end()) return;
  const auto ring = static_cast<int64_t>(manifests_[0].past.size());
  for (size_t m = 0; m < manifests_.size(); ++m) {
    Manifest& manifest = manifests_[m];
    double outcome = 0;
    for (int64_t t = first; t <= tick; ++t) {
      const float number = manifest.past[static_cast<size_t>(t % ring)];
      if (number < 0) return;
      outcome += number;
    }
    outcome /= shape_.window_ticks;
    const double said = number_of(manifest.weights.predict(found->inputs[m]));
    manifest.happened += kRatioRate * (outcome - manifest.happened);
    manifest.said += kRatioRate * (said - manifest.said);
    manifest.said = std::max(manifest.said, 1e-9);
    manifest.weights.learn(found->inputs[m], std::sqrt(outcome));
  }
}

void Volume::learn_profiles(int64_t tick, uint32_t index, double number) {
  Manifest& manifest = manifests_[index];
  const double young = 1.0 / static_cast<double>(observed_);  // the plain mean at first
  for (size_t k = 0; k < kDecays; ++k)
    manifest.decayed[k] += std::max(rates_[k], young) * (number - manifest.decayed[k]);
  double& day = manifest.day_sum[static_cast<size_t>(tick % day_)];
  day = day * kDayKeep + number;
  double& hour = manifest.hour_mean[static_cast<size_t>(tick % hour_)];
  hour += std::max(kHourRate, hour_ * young > 1 ? 1.0 : hour_ * young) * (number - hour);
  manifest.other_last = other_[index];
}

}  // namespace forerun::forecast
