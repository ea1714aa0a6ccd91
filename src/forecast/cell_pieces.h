// Pieces that look at each (manifest, host) by itself, or at little more.
#pragma once

#include <array>
#include <vector>

#include "forecast/launch.h"

namespace forerun::forecast {

// Exponentially decayed rate of batches per (manifest, host), shrunk to the manifest's over all
// hosts. SOURCE: Brown, "Exponential smoothing", 1956; shrinkage: gamma prior of a Poisson rate.
class DecayedCounts final : public LaunchPiece {
 public:
  static constexpr std::string_view kName = "decayed_counts";
  explicit DecayedCounts(const LaunchShape& shape);
  std::string_view name() const override { return kName; }
  void foresee(int64_t tick, std::span<float> probability) override;
  void learn(int64_t tick, std::span<const Launched> launched) override;

 private:
  LaunchShape shape_;
  double keep_;
  double weight_ = 0;  // decayed number of ticks
  std::vector<double> cells_, manifests_;
};

// The rate of batches per manifest by hour of the day and by day of the week, over all hosts.
// SOURCE: classical multiplicative seasonality (Winters, 1960), with decayed means as indices.
class SeasonalCells final : public LaunchPiece {
 public:
  static constexpr std::string_view kName = "seasonal";
  explicit SeasonalCells(const LaunchShape& shape);
  std::string_view name() const override { return kName; }
  void foresee(int64_t tick, std::span<float> probability) override;
  void learn(int64_t tick, std::span<const Launched> launched) override;

 private:
  struct Manifest {
    double level = 0;
    std::array<double, 24> hours;
    std::array<double, 7> days;
  };
  LaunchShape shape_;
  uint64_t observed_ = 0;
  std::vector<Manifest> manifests_;
  std::vector<double> now_;
};

// The hazard of the next launch by what happened last in the same cell, a launch or a stop, and how
// long ago (inter-arrival hazard; last value is its first bin), learned per manifest from how often
// it came true.
// SOURCE: life-table estimate of a discrete hazard (Kaplan, Meier, 1958), with decayed counts.
class Recency final : public LaunchPiece {
 public:
  static constexpr std::string_view kName = "recency";
  explicit Recency(const LaunchShape& shape);
  std::string_view name() const override { return kName; }
  void foresee(int64_t tick, std::span<float> probability) override;
  void learn(int64_t tick, std::span<const Launched> launched) override;
  void learn_stops(int64_t tick, std::span<const Stopped> stopped) override;

 private:
  static constexpr size_t kAges = 16;  // by powers of two of ticks; the last: never
  struct Hazard {
    double launched = 0;
    double ticks = 0;
  };
  size_t situation(size_t cell, int64_t tick) const;

  LaunchShape shape_;
  std::vector<int64_t> last_;     // by cell; negative: never
  std::vector<bool> is_stopped_;  // by cell: what happened last was a stop
  std::vector<std::array<Hazard, 2 * kAges>> hazards_;
  std::vector<bool> now_, stopped_now_;
};

// Bursts: how often a cell sees a batch in the next tick, by how many batches the manifest had in
// the fleet in the last tick and whether one of them was here (batch continuation).
class Burst final : public LaunchPiece {
 public:
  static constexpr std::string_view kName = "burst";
  explicit Burst(const LaunchShape& shape);
  std::string_view name() const override { return kName; }
  void foresee(int64_t tick, std::span<float> probability) override;
  void learn(int64_t tick, std::span<const Launched> launched) override;

 private:
  static constexpr size_t kFleet = 8;  // 0, 1, 2–3, 4–7, … batches in the last tick
  static constexpr size_t kHere = 3;   // 0, 1, more batches here
  struct Rate {
    double batches = 0;
    double ticks = 0;
  };
  size_t situation(uint32_t host, uint32_t manifest) const;

  LaunchShape shape_;
  int64_t last_tick_ = -2;
  std::vector<uint32_t> here_, fleet_;  // in the last tick
  std::vector<std::array<Rate, kFleet * kHere>> rates_;
};

}  // namespace forerun::forecast
