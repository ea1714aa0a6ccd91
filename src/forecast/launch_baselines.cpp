#include "forecast/launch_baselines.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace forerun::forecast {
namespace {

constexpr double kTieBreak = 1e-9;  // of a count: orders what the rule itself leaves equal

class LastValue final : public LaunchRanking {
 public:
  explicit LastValue(const LaunchShape& shape) : shape_(shape), ranks_(shape.cells()) {}
  void rank(int64_t /*tick*/, std::span<double> rank) override {
    std::copy(ranks_.begin(), ranks_.end(), rank.begin());
  }
  void learn(int64_t tick, std::span<const Launched> launched) override {
    for (const Launched& one : launched)
      ranks_[shape_.cell(one.host, one.manifest)] =
          static_cast<double>(tick + 1) + one.launches * kTieBreak;
  }

 private:
  LaunchShape shape_;
  std::vector<double> ranks_;
};

enum class Count { kLaunches, kBatches, kFleet };

class MostFrequent final : public LaunchRanking {
 public:
  MostFrequent(const LaunchShape& shape, Count count)
      : shape_(shape), count_(count), counts_(shape.cells()), fleet_(shape.manifests) {}
  void rank(int64_t /*tick*/, std::span<double> rank) override {
    for (size_t c = 0; c < counts_.size(); ++c)
      rank[c] = count_ == Count::kFleet ? fleet_[c % shape_.manifests] : counts_[c];
  }
  void learn(int64_t /*tick*/, std::span<const Launched> launched) override {
    for (const Launched& one : launched) {
      counts_[shape_.cell(one.host, one.manifest)] +=
          count_ == Count::kBatches ? one.batches : one.launches;
      fleet_[one.manifest] += one.launches;
    }
  }

 private:
  LaunchShape shape_;
  Count count_;
  std::vector<double> counts_, fleet_;
};

class SeasonalNaive final : public LaunchRanking {
 public:
  explicit SeasonalNaive(const LaunchShape& shape)
      : shape_(shape), day_(shape.ticks_of(86400)), counts_(shape.cells()) {}
  void rank(int64_t tick, std::span<double> rank) override {
    for (size_t c = 0; c < counts_.size(); ++c) rank[c] = counts_[c] * kTieBreak;
    for (const Tick& past : past_) {
      const int64_t into = past.tick + day_ - tick;  // of the window
      if (into < 0 || into >= shape_.window_ticks) continue;
      for (const Launched& one : past.launched)
        rank[shape_.cell(one.host, one.manifest)] += one.launches;
    }
  }
  void learn(int64_t tick, std::span<const Launched> launched) override {
    for (const Launched& one : launched)
      counts_[shape_.cell(one.host, one.manifest)] += one.launches;
    past_.push_back({tick, {launched.begin(), launched.end()}});
    while (past_.front().tick + day_ <= tick) past_.pop_front();
  }

 private:
  struct Tick {
    int64_t tick;
    std::vector<Launched> launched;
  };
  LaunchShape shape_;
  int64_t day_;
  std::vector<double> counts_;
  std::deque<Tick> past_;  // of one day
};

constexpr std::array<std::string_view, 5> kNames = {"last_value", "most_frequent",
                                                    "most_frequent_batches", "most_frequent_fleet",
                                                    "seasonal_naive"};

}  // namespace

std::span<const std::string_view> launch_ranking_names() { return kNames; }

Result<std::unique_ptr<LaunchRanking>> make_launch_ranking(std::string_view name,
                                                           const LaunchShape& shape) {
  if (name == kNames[0]) return std::make_unique<LastValue>(shape);
  if (name == kNames[1]) return std::make_unique<MostFrequent>(shape, Count::kLaunches);
  if (name == kNames[2]) return std::make_unique<MostFrequent>(shape, Count::kBatches);
  if (name == kNames[3]) return std::make_unique<MostFrequent>(shape, Count::kFleet);
  if (name == kNames[4]) return std::make_unique<SeasonalNaive>(shape);
  return fail(ErrorCode::kNotFound, fmt::format("no ranking of launches is named '{}'", name));
}

}  // namespace forerun::forecast
