#include "forecast/cell_pieces.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace forerun::forecast {
namespace {

constexpr double kCellHalfLife_s = 7 * 86400;
constexpr double kPriorTicks = 200;    // of the manifest's own rate, in a cell that saw little
constexpr double kSeasonRate = 0.01;   // an hour's tick, a day's tick is 12 times slower
constexpr double kLevelRate = 0.0005;  // about a week of 5 min ticks
constexpr double kTableKeep = 0.9995;  // of hazard and burst counts, per tick: about 5 days
constexpr double kHazardPrior = 0.02;  // per tick, weighing as one tick

float probability_of(double number) { return static_cast<float>(-std::expm1(-number)); }

}  // namespace

DecayedCounts::DecayedCounts(const LaunchShape& shape)
    : shape_(shape),
      keep_(std::exp2(-static_cast<double>(shape.tick_s) / kCellHalfLife_s)),
      cells_(shape.cells()),
      manifests_(shape.manifests) {}

void DecayedCounts::foresee(int64_t /*tick*/, std::span<float> probability) {
  for (uint32_t h = 0; h < shape_.hosts; ++h)
    for (uint32_t m = 0; m < shape_.manifests; ++m) {
      const double everywhere = manifests_[m] / std::max(weight_, 1.0) / shape_.hosts;
      const size_t cell = shape_.cell(h, m);
      const double rate = (cells_[cell] + kPriorTicks * everywhere) / (weight_ + kPriorTicks);
      probability[cell] = probability_of(rate * shape_.window_ticks);
    }
}

void DecayedCounts::learn(int64_t /*tick*/, std::span<const Launched> launched) {
  weight_ = weight_ * keep_ + 1;
  for (double& one : cells_) one *= keep_;
  for (double& one : manifests_) one *= keep_;
  for (const Launched& one : launched) {
    cells_[shape_.cell(one.host, one.manifest)] += one.batches;
    manifests_[one.manifest] += one.batches;
  }
}

SeasonalCells::SeasonalCells(const LaunchShape& shape)
    : shape_(shape), manifests_(shape.manifests), now_(shape.manifests) {
  for (Manifest& manifest : manifests_) {
    manifest.hours.fill(1);
    manifest.days.fill(1);
  }
}

void SeasonalCells::foresee(int64_t tick, std::span<float> probability) {
  const uint32_t hour = shape_.hour_of(tick), day = shape_.weekday_of(tick);
  for (uint32_t m = 0; m < shape_.manifests; ++m) {
    const Manifest& manifest = manifests_[m];
    const double rate = manifest.level * manifest.hours[hour] * manifest.days[day] / shape_.hosts;
    const float chance = probability_of(rate * shape_.window_ticks);
    for (uint32_t h = 0; h < shape_.hosts; ++h) probability[shape_.cell(h, m)] = chance;
  }
}

void SeasonalCells::learn(int64_t tick, std::span<const Launched> launched) {
  std::fill(now_.begin(), now_.end(), 0.0);
  for (const Launched& one : launched) now_[one.manifest] += one.batches;
  const double young = 1.0 / static_cast<double>(++observed_);
  const uint32_t hour = shape_.hour_of(tick), day = shape_.weekday_of(tick);
  for (uint32_t m = 0; m < shape_.manifests; ++m) {
    Manifest& manifest = manifests_[m];
    manifest.level += std::max(kLevelRate, young) * (now_[m] - manifest.level);
    if (manifest.level <= 0) continue;
    const double index = now_[m] / manifest.level;
    double& by_hour = manifest.hours[hour];
    double& by_day = manifest.days[day];
    by_hour += kSeasonRate * (index / std::max(by_day, 0.1) - by_hour);
    by_day += kSeasonRate / 12 * (index / std::max(by_hour, 0.1) - by_day);
  }
}

Recency::Recency(const LaunchShape& shape)
    : shape_(shape),
      last_(shape.cells(), -1),
      is_stopped_(shape.cells()),
      hazards_(shape.manifests),
      now_(shape.cells()),
      stopped_now_(shape.cells()) {}

size_t Recency::situation(size_t cell, int64_t tick) const {
  if (last_[cell] < 0) return kAges - 1;
  const auto age = static_cast<uint64_t>(std::max<int64_t>(tick - last_[cell], 1));
  return std::min<size_t>(static_cast<size_t>(std::bit_width(age)) - 1, kAges - 2) +
         (is_stopped_[cell] ? kAges : 0);
}

void Recency::foresee(int64_t tick, std::span<float> probability) {
  for (uint32_t h = 0; h < shape_.hosts; ++h)
    for (uint32_t m = 0; m < shape_.manifests; ++m) {
      const size_t cell = shape_.cell(h, m);
      double none = 1;  // no launch in any tick of the window
      for (uint32_t i = 0; i < shape_.window_ticks; ++i) {
        const Hazard& hazard = hazards_[m][situation(cell, tick + i)];
        none *= 1 - (hazard.launched + kHazardPrior) / (hazard.ticks + 1);
      }
      probability[cell] = static_cast<float>(1 - none);
    }
}

void Recency::learn(int64_t tick, std::span<const Launched> launched) {
  now_.assign(now_.size(), false);
  for (const Launched& one : launched) now_[shape_.cell(one.host, one.manifest)] = true;
  for (auto& manifest : hazards_)
    for (Hazard& hazard : manifest) {
      hazard.launched *= kTableKeep;
      hazard.ticks *= kTableKeep;
    }
  for (uint32_t h = 0; h < shape_.hosts; ++h)
    for (uint32_t m = 0; m < shape_.manifests; ++m) {
      const size_t cell = shape_.cell(h, m);
      Hazard& hazard = hazards_[m][situation(cell, tick)];
      hazard.ticks += 1;
      if (now_[cell]) hazard.launched += 1;
      if (!now_[cell] && !stopped_now_[cell]) continue;
      last_[cell] = tick;
      is_stopped_[cell] = !now_[cell];
    }
  stopped_now_.assign(stopped_now_.size(), false);
}

// Of a stop and a launch within one tick the launch counts as the later: a VM is started again.
void Recency::learn_stops(int64_t /*tick*/, std::span<const Stopped> stopped) {
  for (const Stopped& one : stopped) stopped_now_[shape_.cell(one.host, one.manifest)] = true;
}

Burst::Burst(const LaunchShape& shape)
    : shape_(shape), here_(shape.cells()), fleet_(shape.manifests), rates_(shape.manifests) {}

size_t Burst::situation(uint32_t host, uint32_t manifest) const {
  const size_t fleet =
      std::min<size_t>(static_cast<size_t>(std::bit_width(fleet_[manifest])), kFleet - 1);
  const size_t here = std::min<size_t>(here_[shape_.cell(host, manifest)], kHere - 1);
  return fleet * kHere + here;
}

void Burst::foresee(int64_t /*tick*/, std::span<float> probability) {
  for (uint32_t h = 0; h < shape_.hosts; ++h)
    for (uint32_t m = 0; m < shape_.manifests; ++m) {
      const Rate& rate = rates_[m][situation(h, m)];
      const double mean = (rate.batches + kHazardPrior) / (rate.ticks + 1);
      probability[shape_.cell(h, m)] = probability_of(mean * shape_.window_ticks);
    }
}

void Burst::learn(int64_t tick, std::span<const Launched> launched) {
  if (last_tick_ + 1 == tick) {
    for (auto& manifest : rates_)
      for (Rate& rate : manifest) {
        rate.batches *= kTableKeep;
        rate.ticks *= kTableKeep;
      }
    for (uint32_t h = 0; h < shape_.hosts; ++h)
      for (uint32_t m = 0; m < shape_.manifests; ++m) rates_[m][situation(h, m)].ticks += 1;
    for (const Launched& one : launched)
      rates_[one.manifest][situation(one.host, one.manifest)].batches += one.batches;
  }
  last_tick_ = tick;
  std::fill(here_.begin(), here_.end(), 0U);
  std::fill(fleet_.begin(), fleet_.end(), 0U);
  for (const Launched& one : launched) {
    here_[shape_.cell(one.host, one.manifest)] += one.batches;
    fleet_[one.manifest] += one.batches;
  }
}

}  // namespace forerun::forecast
