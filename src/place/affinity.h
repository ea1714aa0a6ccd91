// How well hosts suit categories of workload: what they have free of what the category needs, and
// how long its VMs had to wait there for what they did, what is long ago counting less.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "forecast/affinity_clusters.h"
#include "place/fleet_snapshot.h"

namespace forerun::place {

// One thread.
class AffinityBook {
 public:
  struct Options {
    double half_life_s = 3 * 86'400;
    // Of the score: what came of it there, and what is free; the rest is its load.
    double history_weight = 0.5, free_weight = 0.3;
    // Waiting per work at which history counts half; and so many core seconds of none are assumed
    // everywhere before anything was seen.
    double wait_ratio_half = 0.05, prior_core_s = 600;
    size_t cells_max = 100'000;
  };
  explicit AffinityBook(Options options) : options_(options) {}

  // VMs of a category did `work` on a host, and waited so long for a CPU meanwhile, in core
  // seconds. `now`: unix seconds, never less than before.
  void observe(const std::string& host, const std::string& category, double work, double waited,
               int64_t now);
  // Returns waiting per work of the category there.
  double wait_ratio(const std::string& host, const std::string& category) const;

  // What a host has left, of 1.
  struct Free {
    double cpu = 1, memory = 1;
  };
  // Returns 0 to 1. `needs`: the centre of the category.
  double score(const std::string& host, const std::string& category,
               const forecast::WorkloadVector& needs, const Free& free) const;

  std::string encode() const;
  // ERRORS: kCorrupt: nothing is changed.
  Status decode(std::string_view text);

 private:
  struct Cell {
    double work = 0, waited = 0;
    int64_t at = 0;
  };
  Options options_;
  std::map<std::pair<std::string, std::string>, Cell> cells_;
};

// Finds what the VMs of a fleet do, tells each its category, and each host its affinity to each.
// One thread. State: categories and the book.
class AffinityWatch {
 public:
  static constexpr size_t kVmsMin = 8;        // that must have been seen for there to be categories
  static constexpr uint32_t kRecluster = 24;  // rounds

  AffinityWatch() : clusters_({}), book_({}) {}
  // Learns what was done in the tick before `now`, and lays it over the fleet. The same tick is
  // learned once. Returns whether anything was.
  bool look(FleetSnapshot& fleet, int64_t now);
  std::string encode() const;
  // ERRORS: kCorrupt.
  Status decode(std::string_view text);
  const forecast::WorkloadClusters& clusters() const { return clusters_; }
  AffinityBook& book() { return book_; }

 private:
  void learn(const FleetSnapshot& fleet, const std::vector<forecast::WorkloadVector>& vectors,
             int64_t now);

  forecast::WorkloadClusters clusters_;
  AffinityBook book_;
  int64_t learned_at_ = 0;
  uint32_t rounds_ = 0;
};

}  // namespace forerun::place
