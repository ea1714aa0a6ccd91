// What to prefetch now, within a budget of bytes: what is worth most per byte, and only if it is
// worth more than what the bytes will buy later.
//
// The price is learned: for a ladder of prices, a shadow account notes what would have been spent
// per tick by buying all that was worth more (SOURCE: the bid-price control of revenue management,
// Talluri, van Ryzin, "The theory and practice of revenue management", 2004, ch. 3, with the dual
// price read from the past). Unused budget is saved up to a limit, for busier hours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "forecast/launch.h"

namespace forerun::forecast {

// One thread. State: kPrices × cells × 8 bytes.
class LaunchPrices {
 public:
  struct Options {
    double half_life_s = 86400;  // of what was spent: a day, since days repeat
  };
  // `sizes`: bytes of each manifest. REQUIRES: none is 0.
  LaunchPrices(const LaunchShape& shape, std::vector<uint64_t> sizes, Options options);

  // Notes what the cells are worth at `tick`: launches expected in its window.
  void see(int64_t tick, std::span<const double> worth);
  // Returns the price, in launches per byte, at which `bytes_per_tick` would have been spent; 0 if
  // that buys everything.
  double price(double bytes_per_tick) const;
  std::span<const uint64_t> sizes() const { return sizes_; }

 private:
  static constexpr size_t kPrices = 96;
  static double price_at(double step);

  LaunchShape shape_;
  std::vector<uint64_t> sizes_;
  double rate_;
  uint64_t seen_ = 0;
  std::vector<int64_t> covered_until_;  // by price, then cell: ready before this tick
  std::vector<double> spent_;           // by price: decayed mean of bytes per tick
};

struct LaunchPrefetch {
  uint32_t host = 0;
  uint32_t manifest = 0;
  uint64_t bytes = 0;
};

// One thread.
class LaunchPlan {
 public:
  struct Options {
    double bytes_per_tick = 0;   // of the whole fleet
    uint32_t saved_ticks = 288;  // budget of so many ticks can be saved; 0: all is spent at once
  };
  LaunchPlan(const LaunchShape& shape, Options options);

  // Returns what to prefetch at the beginning of `tick`, best first; each is ready for a window.
  // What is still ready is not fetched again. With `prices` it buys only what is worth the price.
  // Never spends more than was granted: bytes_per_tick for each call.
  // `worth`: by cell; the order in which to buy is worth, per byte if `per_byte`.
  std::vector<LaunchPrefetch> plan(int64_t tick, std::span<const double> worth,
                                   std::span<const uint64_t> sizes, const LaunchPrices* prices,
                                   bool per_byte);
  // Returns whether a launch in `tick` finds its manifest prefetched within the window before.
  bool ready(uint32_t host, uint32_t manifest, int64_t tick) const;

  double saved_bytes() const { return saved_; }
  uint64_t spent_bytes() const { return spent_; }

 private:
  LaunchShape shape_;
  Options options_;
  double saved_ = 0;
  uint64_t spent_ = 0;
  std::vector<int64_t> covered_from_, covered_until_;  // by cell: [from, until) ticks
};

}  // namespace forerun::forecast
