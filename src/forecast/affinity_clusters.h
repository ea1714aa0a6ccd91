// Categories of workload, found by clustering how VMs behave: named by what is special about them,
// and stable: found again, a category keeps its number and its name.
//
// SOURCE: mini-batch k-means: Sculley, "Web-scale k-means clustering", WWW 2010; seeds: Arthur &
// Vassilvitskii, "k-means++", SODA 2007; the number of clusters by the simplified silhouette:
// Hruschka, de Castro & Campello, "Evolutionary algorithms for clustering gene-expression data",
// ICDM 2004.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace forerun::forecast {

// How a VM behaves, each in 0 … 1.
enum class WorkloadFeature : uint8_t {
  kCpu,        // mean demand, of its vCPUs
  kMemory,     // resident, of what it was given
  kIo,         // disk and network bytes per second: log2(1 + x) / 30
  kBurst,      // of CPU demand: 1 − mean / (its 95 % quantile)
  kPeriod,     // of CPU demand: the largest autocorrelation at a lag that returns
  kFeatures_,  // how many there are
};
inline constexpr size_t kWorkloadFeatures = static_cast<size_t>(WorkloadFeature::kFeatures_);
using WorkloadVector = std::array<float, kWorkloadFeatures>;

// What of a VM is seen, over the same ticks; a series may be empty.
struct WorkloadSeries {
  std::span<const float> cpu_cores;
  double cpus = 1;
  double memory_ratio = 0;
  double io_bytes_per_s = 0;
};
WorkloadVector workload_of(const WorkloadSeries& seen);

struct WorkloadCategory {
  uint32_t id = 0;   // stays its own for as long as the category is found again
  std::string name;  // "CPU-bound, periodic"
  WorkloadVector centre{};
  double weight = 0;  // VMs lately
};

// One thread. Deterministic. State: the categories, and a reservoir of vectors.
class WorkloadClusters {
 public:
  struct Options {
    uint32_t categories_max = 8;
    size_t reservoir_max = 2048;  // vectors that the number of categories is chosen by
    uint32_t iterations = 20;
    double silhouette_min = 0.35;  // below it there is one category only
    double separation_min = 0.25;  // of centres: what is nearer does not differ for anybody
    // Another number must be so much better: categories come and go seldom.
    double silhouette_margin = 0.03;
    double match_distance_max = 0.35;  // beyond it, a cluster is a new category
    uint64_t seed = 1;
  };
  explicit WorkloadClusters(Options options) : options_(options) {}

  // Takes what VMs did in the last while, and moves the categories by it.
  void observe(std::span<const WorkloadVector> batch);
  // Chooses anew how many categories there are, and where, from what is remembered.
  void recluster();
  // Returns the place of the nearest in categories(); nothing before there are any: −1.
  int category_of(const WorkloadVector& vector) const;
  const std::vector<WorkloadCategory>& categories() const { return categories_; }
  // Takes up categories that were known before.
  void restore(std::vector<WorkloadCategory> categories);

 private:
  using Centres = std::vector<WorkloadVector>;
  Centres cluster(uint32_t count, uint64_t seed) const;
  double silhouette(const Centres& centres) const;
  void adopt(const Centres& centres);
  void name_all();

  Options options_;
  std::vector<WorkloadVector> reservoir_;  // a ring once full
  size_t next_ = 0;
  std::vector<WorkloadCategory> categories_;
  uint32_t next_id_ = 1;
};

}  // namespace forerun::forecast
