#include "forecast/launch_plan.h"

#include <algorithm>
#include <cmath>

#include "core/result.h"

namespace forerun::forecast {
namespace {

constexpr double kUnitBytes = 256.0 * (1 << 20);  // prices are a ladder around 1 launch per this
constexpr double kStepsPerOctave = 4;
constexpr double kStepOfUnit = 64;
// What is asked of the price, as a share of the income, from an empty account to a full pocket.
constexpr double kSpendLow = 0.6, kSpendRise = 0.4, kSpendRiseMax = 2;
constexpr double kPocketTicks = 24;

// Spreads equal worth over hosts differently at each tick, without favour.
uint64_t shuffle(uint64_t cell, uint64_t tick) {
  uint64_t z = cell * 0x9e3779b97f4a7c15 + tick * 0xbf58476d1ce4e5b9 + 0x94d049bb133111eb;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

LaunchPrices::LaunchPrices(const LaunchShape& shape, std::vector<uint64_t> sizes, Options options)
    : shape_(shape),
      sizes_(std::move(sizes)),
      rate_(1 - std::exp2(-static_cast<double>(shape.tick_s) / options.half_life_s)),
      covered_until_(kPrices * shape.cells()),
      spent_(kPrices) {
  FR_ASSERT(sizes_.size() == shape_.manifests);
  FR_ASSERT(std::find(sizes_.begin(), sizes_.end(), 0U) == sizes_.end());
}

double LaunchPrices::price_at(double step) {
  return std::exp2((step - kStepOfUnit) / kStepsPerOctave) / kUnitBytes;
}

void LaunchPrices::see(int64_t tick, std::span<const double> worth) {
  FR_ASSERT(worth.size() == shape_.cells());
  const double rate = std::max(rate_, 1.0 / static_cast<double>(++seen_));
  for (size_t i = 0; i < kPrices; ++i) {
    const double price = price_at(static_cast<double>(i));
    int64_t* covered = covered_until_.data() + i * shape_.cells();
    double spent = 0;
    for (size_t c = 0; c < shape_.cells(); ++c) {
      const auto size = static_cast<double>(sizes_[c % shape_.manifests]);
      if (covered[c] > tick || worth[c] <= price * size) continue;
      covered[c] = tick + shape_.window_ticks;
      spent += size;
    }
    spent_[i] += rate * (spent - spent_[i]);
  }
}

double LaunchPrices::price(double bytes_per_tick) const {
  for (size_t i = kPrices; i-- > 0;) {
    if (spent_[i] < bytes_per_tick) continue;
    if (i + 1 == kPrices) return price_at(kPrices - 1);
    const double gap = spent_[i] - spent_[i + 1];
    const double part = gap > 0 ? (spent_[i] - bytes_per_tick) / gap : 0;
    return price_at(static_cast<double>(i) + std::min(part, 1.0));
  }
  return 0;
}

LaunchPlan::LaunchPlan(const LaunchShape& shape, Options options)
    : shape_(shape),
      options_(options),
      covered_from_(shape.cells()),
      covered_until_(shape.cells()) {}

std::vector<LaunchPrefetch> LaunchPlan::plan(int64_t tick, std::span<const double> worth,
                                             std::span<const uint64_t> sizes,
                                             const LaunchPrices* prices, bool per_byte) {
  FR_ASSERT(worth.size() == shape_.cells() && sizes.size() == shape_.manifests);
  const double income = options_.bytes_per_tick;
  // What cannot be spent at once is kept until it is enough for the largest, at least.
  const auto largest = static_cast<double>(*std::max_element(sizes.begin(), sizes.end()));
  saved_ = std::min(saved_ + income, std::max(income * options_.saved_ticks, income + largest));
  double price = 0;
  if (prices) {
    const double full = std::min(saved_ / (income * kPocketTicks), kSpendRiseMax);
    price = prices->price(income * (kSpendLow + kSpendRise * full));
  }
  struct Offer {
    double rank;
    uint64_t order;
    size_t cell;
  };
  std::vector<Offer> offers;
  for (size_t c = 0; c < worth.size(); ++c) {
    const auto size = static_cast<double>(sizes[c % shape_.manifests]);
    if (covered_until_[c] > tick || worth[c] <= price * size) continue;
    offers.push_back(
        {per_byte ? worth[c] / size : worth[c], shuffle(c, static_cast<uint64_t>(tick)), c});
  }
  std::sort(offers.begin(), offers.end(), [](const Offer& a, const Offer& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.order < b.order;
  });
  std::vector<LaunchPrefetch> chosen;
  for (const Offer& offer : offers) {
    const auto manifest = static_cast<uint32_t>(offer.cell % shape_.manifests);
    if (static_cast<double>(sizes[manifest]) > saved_) break;  // wait for it, not for a worse one
    saved_ -= static_cast<double>(sizes[manifest]);
    spent_ += sizes[manifest];
    covered_from_[offer.cell] = tick;
    covered_until_[offer.cell] = tick + shape_.window_ticks;
    chosen.push_back(
        {static_cast<uint32_t>(offer.cell / shape_.manifests), manifest, sizes[manifest]});
  }
  return chosen;
}

bool LaunchPlan::ready(uint32_t host, uint32_t manifest, int64_t tick) const {
  const size_t cell = shape_.cell(host, manifest);
  return covered_from_[cell] <= tick && tick < covered_until_[cell];
}

}  // namespace forerun::forecast
