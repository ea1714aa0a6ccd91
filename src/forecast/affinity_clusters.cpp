#include "forecast/affinity_clusters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/rng.h"

namespace forerun::forecast {
namespace {

constexpr size_t kPeriodMin = 8;    // values, below which no period is told
constexpr double kForget = 0.98;    // of a category's weight, per batch
constexpr double kStand_out = 0.2;  // above the mean of all, for a feature to name a category
constexpr double kHigh = 0.5;       // or as high as that, whatever the others are
constexpr double kTieMargin = 1e-9;
constexpr std::array<std::string_view, kWorkloadFeatures> kNames{"CPU-bound", "memory-intensive",
                                                                 "I/O-heavy", "bursty", "periodic"};

double squared(const WorkloadVector& a, const WorkloadVector& b) {
  double sum = 0;
  for (size_t f = 0; f < kWorkloadFeatures; ++f) {
    const double difference = static_cast<double>(a[f]) - static_cast<double>(b[f]);
    sum += difference * difference;
  }
  return sum;
}

size_t nearest(std::span<const WorkloadVector> centres, const WorkloadVector& vector) {
  size_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t c = 0; c < centres.size(); ++c)
    if (const double distance = squared(centres[c], vector); distance < least) {
      least = distance;
      best = c;
    }
  return best;
}

double separation(std::span<const WorkloadVector> centres) {
  double least = std::numeric_limits<double>::infinity();
  for (size_t a = 0; a < centres.size(); ++a)
    for (size_t b = a + 1; b < centres.size(); ++b)
      least = std::min(least, squared(centres[a], centres[b]));
  return std::sqrt(least);
}

float ratio(double value) {
  return std::isfinite(value) ? static_cast<float>(std::clamp(value, 0.0, 1.0)) : 0.0F;
}

// The largest autocorrelation after it has been below zero: a slope alone is no period.
double periodicity(std::span<const float> series, double mean) {
  double variance = 0;
  for (const float value : series) variance += (value - mean) * (value - mean);
  if (variance < 1e-9 || series.size() < kPeriodMin) return 0;
  double most = 0;
  bool has_fallen = false;
  for (size_t lag = 1; lag <= series.size() / 2; ++lag) {
    double covariance = 0;
    for (size_t i = lag; i < series.size(); ++i)
      covariance += (series[i] - mean) * (series[i - lag] - mean);
    const auto pairs = static_cast<double>(series.size() - lag);
    const double correlation = covariance / pairs / (variance / static_cast<double>(series.size()));
    if (correlation < 0) has_fallen = true;
    if (has_fallen) most = std::max(most, correlation);
  }
  return most;
}

}  // namespace

WorkloadVector workload_of(const WorkloadSeries& seen) {
  WorkloadVector vector{};
  const auto set = [&](WorkloadFeature feature, double value) {
    vector[static_cast<size_t>(feature)] = ratio(value);
  };
  set(WorkloadFeature::kMemory, seen.memory_ratio);
  set(WorkloadFeature::kIo, std::log2(1 + std::max(0.0, seen.io_bytes_per_s)) / 30);
  if (seen.cpu_cores.empty()) return vector;
  double mean = 0;
  for (const float value : seen.cpu_cores) mean += value;
  mean /= static_cast<double>(seen.cpu_cores.size());
  std::vector<float> sorted(seen.cpu_cores.begin(), seen.cpu_cores.end());
  std::sort(sorted.begin(), sorted.end());
  const double high = sorted[(sorted.size() - 1) * 95 / 100];
  set(WorkloadFeature::kCpu, mean / std::max(seen.cpus, 1e-6));
  if (high > 0) set(WorkloadFeature::kBurst, 1 - mean / high);
  set(WorkloadFeature::kPeriod, periodicity(seen.cpu_cores, mean));
  return vector;
}

void WorkloadClusters::observe(std::span<const WorkloadVector> batch) {
  for (const WorkloadVector& vector : batch) {
    if (reservoir_.size() < options_.reservoir_max) {
      reservoir_.push_back(vector);
      continue;
    }
    reservoir_[next_] = vector;
    next_ = (next_ + 1) % options_.reservoir_max;
  }
  for (WorkloadCategory& category : categories_) category.weight *= kForget;
  // Each centre is the mean of what came to it, what is long ago counting less.
  for (const WorkloadVector& vector : batch) {
    const int found = category_of(vector);
    if (found < 0) break;
    WorkloadCategory& category = categories_[static_cast<size_t>(found)];
    // What is like none of them is no reason to move any: it waits to be clustered.
    if (squared(category.centre, vector) >
        options_.match_distance_max * options_.match_distance_max)
      continue;
    category.weight += 1;
    for (size_t f = 0; f < kWorkloadFeatures; ++f)
      category.centre[f] += (vector[f] - category.centre[f]) / static_cast<float>(category.weight);
  }
}

WorkloadClusters::Centres WorkloadClusters::cluster(uint32_t count, uint64_t seed) const {
  Rng rng(seed);
  Centres centres{reservoir_[rng.below(reservoir_.size())]};
  std::vector<double> distances(reservoir_.size());
  while (centres.size() < count) {
    double total = 0;
    for (size_t i = 0; i < reservoir_.size(); ++i)
      total += distances[i] = squared(reservoir_[i], centres[nearest(centres, reservoir_[i])]);
    if (total <= 0) break;  // there are no more that differ
    double left = total * static_cast<double>(rng.below(1U << 30)) / (1U << 30);
    size_t chosen = 0;
    while (chosen + 1 < distances.size() && left >= distances[chosen]) left -= distances[chosen++];
    centres.push_back(reservoir_[chosen]);
  }
  for (uint32_t i = 0; i < options_.iterations; ++i) {
    std::vector<std::array<double, kWorkloadFeatures>> sums(centres.size());
    std::vector<double> counts(centres.size());
    for (const WorkloadVector& vector : reservoir_) {
      const size_t c = nearest(centres, vector);
      counts[c] += 1;
      for (size_t f = 0; f < kWorkloadFeatures; ++f) sums[c][f] += static_cast<double>(vector[f]);
    }
    for (size_t c = 0; c < centres.size(); ++c)
      for (size_t f = 0; f < kWorkloadFeatures && counts[c] > 0; ++f)
        centres[c][f] = static_cast<float>(sums[c][f] / counts[c]);
  }
  return centres;
}

// Of the distances to the nearest centre (a) and the next (b): the mean of (b − a) / b.
double WorkloadClusters::silhouette(const Centres& centres) const {
  if (centres.size() < 2) return 0;
  double sum = 0;
  for (const WorkloadVector& vector : reservoir_) {
    double a = std::numeric_limits<double>::infinity(), b = a;
    for (const WorkloadVector& centre : centres) {
      const double distance = std::sqrt(squared(centre, vector));
      if (distance < a) {
        b = a;
        a = distance;
      } else {
        b = std::min(b, distance);
      }
    }
    sum += b > 0 ? (b - a) / b : 0;
  }
  return sum / static_cast<double>(reservoir_.size());
}

void WorkloadClusters::recluster() {
  if (reservoir_.empty()) return;
  constexpr uint64_t kStarts = 4;
  Centres best = cluster(1, options_.seed);
  double score = options_.silhouette_min;
  for (uint32_t count = 2; count <= options_.categories_max; ++count) {
    Centres found;
    double most = 0;
    for (uint64_t start = 0; start < kStarts; ++start) {
      Centres centres = cluster(count, options_.seed + start * 1000 + count);
      if (separation(centres) < options_.separation_min) continue;
      if (const double said = silhouette(centres); said > most + kTieMargin) {
        most = said;
        found = std::move(centres);
      }
    }
    if (found.empty()) continue;
    // Those that were there before have the benefit of the doubt.
    const double favour = found.size() == categories_.size() ? options_.silhouette_margin : 0;
    if (most + favour <= score) continue;
    score = most + favour;
    best = std::move(found);
  }
  adopt(best);
}

// Each cluster takes over the nearest of the old categories that no other is nearer to.
void WorkloadClusters::adopt(const Centres& centres) {
  std::vector<std::tuple<double, size_t, size_t>> pairs;
  for (size_t c = 0; c < centres.size(); ++c)
    for (size_t old = 0; old < categories_.size(); ++old)
      pairs.emplace_back(std::sqrt(squared(centres[c], categories_[old].centre)), c, old);
  std::sort(pairs.begin(), pairs.end());
  std::vector<WorkloadCategory> adopted(centres.size());
  std::vector<uint8_t> is_matched(centres.size()), is_taken(categories_.size());
  for (const auto& [distance, c, old] : pairs) {
    if (distance > options_.match_distance_max || is_matched[c] || is_taken[old]) continue;
    is_matched[c] = is_taken[old] = 1;
    adopted[c] = categories_[old];
  }
  for (size_t c = 0; c < centres.size(); ++c) {
    if (!is_matched[c]) adopted[c].id = next_id_++;
    adopted[c].centre = centres[c];
    adopted[c].weight = 0;
  }
  for (const WorkloadVector& vector : reservoir_) adopted[nearest(centres, vector)].weight += 1;
  std::sort(adopted.begin(), adopted.end(),
            [](const WorkloadCategory& a, const WorkloadCategory& b) { return a.id < b.id; });
  categories_ = std::move(adopted);
  name_all();
}

// By what it has more of than the others, or much of, the most special first, two at most. A name
// that is taken is told apart by the category's number; one that has a name keeps it.
void WorkloadClusters::name_all() {
  WorkloadVector mean{};
  double weight = 0;
  for (const WorkloadCategory& category : categories_) {
    weight += category.weight;
    for (size_t f = 0; f < kWorkloadFeatures; ++f)
      mean[f] += category.centre[f] * static_cast<float>(category.weight);
  }
  for (float& value : mean) value /= static_cast<float>(std::max(weight, 1.0));
  for (WorkloadCategory& category : categories_) {
    if (!category.name.empty()) continue;
    std::vector<std::pair<double, size_t>> special;
    for (size_t f = 0; f < kWorkloadFeatures; ++f) {
      const double above = static_cast<double>(category.centre[f] - mean[f]);
      const bool is_high = static_cast<double>(category.centre[f]) >= kHigh;
      if (above >= kStand_out || (is_high && above > -kStand_out / 2))
        special.emplace_back(-above, f);
    }
    std::sort(special.begin(), special.end());
    for (size_t i = 0; i < std::min<size_t>(special.size(), 2); ++i)
      category.name += fmt::format("{}{}", i == 0 ? "" : ", ", kNames[special[i].second]);
    if (category.name.empty()) category.name = "light";
    for (const WorkloadCategory& other : categories_)
      if (&other != &category && other.name == category.name) {
        category.name += fmt::format(" {}", category.id);
        break;
      }
  }
}

void WorkloadClusters::restore(std::vector<WorkloadCategory> categories) {
  categories_ = std::move(categories);
  for (const WorkloadCategory& category : categories_)
    next_id_ = std::max(next_id_, category.id + 1);
}

int WorkloadClusters::category_of(const WorkloadVector& vector) const {
  int best = -1;
  double least = 0;
  for (size_t c = 0; c < categories_.size(); ++c)
    if (const double distance = squared(categories_[c].centre, vector);
        best < 0 || distance < least) {
      best = static_cast<int>(c);
      least = distance;
    }
  return best;
}

}  // namespace forerun::forecast
