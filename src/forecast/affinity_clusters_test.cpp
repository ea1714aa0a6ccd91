#include "forecast/affinity_clusters.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "core/rng.h"

namespace forerun::forecast {
namespace {

using testing::HasSubstr;

// VMs of planted kinds: idle, CPU-bound, I/O-heavy, memory-intensive and periodic.
struct Planted {
  std::vector<WorkloadVector> vectors;
  std::vector<size_t> kinds;
};

WorkloadVector planted(size_t kind, Rng& rng) {
  const auto near = [&](double value) {
    return static_cast<float>(std::clamp(value + 0.08 * (rng.unit() - 0.5), 0.0, 1.0));
  };
  constexpr double kKinds[5][kWorkloadFeatures] = {{0.05, 0.1, 0.2, 0.1, 0.1},
                                                   {0.9, 0.2, 0.2, 0.1, 0.1},
                                                   {0.2, 0.2, 0.9, 0.2, 0.1},
                                                   {0.2, 0.9, 0.2, 0.1, 0.1},
                                                   {0.3, 0.2, 0.2, 0.6, 0.9}};
  WorkloadVector vector{};
  for (size_t f = 0; f < kWorkloadFeatures; ++f) vector[f] = near(kKinds[kind][f]);
  return vector;
}

Planted plant(size_t kinds, size_t each, uint64_t seed) {
  Rng rng(seed);
  Planted all;
  for (size_t i = 0; i < each; ++i)
    for (size_t kind = 0; kind < kinds; ++kind) {
      all.vectors.push_back(planted(kind, rng));
      all.kinds.push_back(kind);
    }
  return all;
}

TEST(WorkloadClusters, FindWhatWasPlantedAndHowManyThereAre) {
  for (size_t kinds = 2; kinds <= 5; ++kinds) {
    const Planted all = plant(kinds, 30, kinds);
    WorkloadClusters clusters({});
    clusters.observe(all.vectors);
    clusters.recluster();
    ASSERT_EQ(clusters.categories().size(), kinds);
    std::set<std::pair<size_t, int>> pairs;
    for (size_t i = 0; i < all.vectors.size(); ++i)
      pairs.emplace(all.kinds[i], clusters.category_of(all.vectors[i]));
    EXPECT_EQ(pairs.size(), kinds);  // one category for each kind, and each VM in it
  }
}

TEST(WorkloadClusters, AreNamedByWhatIsSpecial) {
  const Planted all = plant(5, 30, 7);
  WorkloadClusters clusters({});
  clusters.observe(all.vectors);
  clusters.recluster();
  const char* names[5] = {"light", "CPU-bound", "I/O-heavy", "memory-intensive", "periodic"};
  for (size_t kind = 0; kind < 5; ++kind) {
    const auto category = static_cast<size_t>(clusters.category_of(all.vectors[kind]));
    EXPECT_THAT(clusters.categories()[category].name, HasSubstr(names[kind]));
  }
}

TEST(WorkloadClusters, KeepTheirNumbersWhenFoundAgain) {
  WorkloadClusters clusters({});
  clusters.observe(plant(4, 30, 1).vectors);
  clusters.recluster();
  const Planted later = plant(5, 40, 2);
  std::vector<std::string> before;
  for (size_t kind = 0; kind < 4; ++kind)
    before.push_back(
        clusters.categories()[static_cast<size_t>(clusters.category_of(later.vectors[kind]))].name);
  clusters.observe(later.vectors);
  clusters.recluster();
  ASSERT_EQ(clusters.categories().size(), 5U);
  for (size_t kind = 0; kind < 4; ++kind)
    EXPECT_EQ(
        clusters.categories()[static_cast<size_t>(clusters.category_of(later.vectors[kind]))].name,
        before[kind]);
  std::set<uint32_t> ids;
  for (const WorkloadCategory& category : clusters.categories()) ids.insert(category.id);
  EXPECT_EQ(*ids.rbegin(), 5U);
}

TEST(WorkloadClusters, OfOneKindThereIsOne) {
  WorkloadClusters clusters({});
  clusters.observe(plant(1, 100, 3).vectors);
  clusters.recluster();
  EXPECT_EQ(clusters.categories().size(), 1U);
}

TEST(Workload, TellsBurstsAndPeriodsFromSlopes) {
  std::vector<float> wave, slope, bursts(100, 0.1F);
  for (int i = 0; i < 100; ++i) {
    wave.push_back(1 + std::sin(0.5F * static_cast<float>(i)));
    slope.push_back(0.01F * static_cast<float>(i));
    if (i % 17 < 2) bursts[static_cast<size_t>(i)] = 2;
  }
  const auto of = [](const std::vector<float>& series, WorkloadFeature feature) {
    return workload_of({.cpu_cores = series, .cpus = 2})[static_cast<size_t>(feature)];
  };
  EXPECT_GT(of(wave, WorkloadFeature::kPeriod), 0.8);
  EXPECT_LT(of(slope, WorkloadFeature::kPeriod), 0.3);
  EXPECT_GT(of(bursts, WorkloadFeature::kBurst), 0.6);
  EXPECT_NEAR(of(wave, WorkloadFeature::kCpu), 0.5, 0.05);
}

}  // namespace
}  // namespace forerun::forecast
