#include "onset.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "forecast/overload_onset.h"

namespace {

using namespace forerun;
using forecast::OnsetForecaster;

constexpr size_t kVmsPerHost = 20;
constexpr size_t kShuffles = 9;  // that are learned from
constexpr size_t kShufflesTested = 3;
constexpr double kCapacity_mips = 5320;
constexpr std::array<double, 4> kTypes_mips = {2500, 2000, 1000, 500};
const forecast::OnsetOptions kOptions;

struct Sample {
  forecast::OnsetRow row;
  double smoothed = 0;
  bool happened = false;
  bool is_tested = false;
};

void add_host(const std::vector<std::vector<float>>& members, bool is_tested,
              std::vector<Sample>& samples) {
  const size_t count = members[0].size();
  std::vector<float> load(count);
  for (const auto& member : members)
    for (size_t i = 0; i < count; ++i) load[i] += member[i];
  double smoothed = load[0];
  for (size_t i = 1; i + kOptions.ahead < count; ++i) {
    smoothed += 0.3 * (load[i] - smoothed);
    std::vector<forecast::MemberPast> pasts;
    for (const auto& member : members) pasts.emplace_back(member.data(), i + 1);
    const auto row = forecast::onset_row(pasts, kOptions);
    if (!row) continue;
    samples.push_back({*row, smoothed,
                       forecast::is_onset(std::span(load).subspan(i + 1, kOptions.ahead), kOptions),
                       is_tested});
  }
}

std::vector<Sample> samples_of(const trace::VmTrace& day, Rng& rng) {
  std::vector<Sample> samples;
  std::vector<size_t> order(day.vms.size());
  for (size_t shuffle = 0; shuffle < kShuffles; ++shuffle) {
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    for (size_t first = 0; first + kVmsPerHost <= order.size(); first += kVmsPerHost) {
      std::vector<std::vector<float>> members;
      for (size_t v = 0; v < kVmsPerHost; ++v) {
        const double mips = kTypes_mips[rng.below(kTypes_mips.size())];
        auto& member = members.emplace_back();
        for (const uint16_t permille : day.vms[order[first + v]].cpu_permille)
          member.push_back(static_cast<float>(permille / 1000.0 * mips / kCapacity_mips));
      }
      add_host(members, shuffle < kShufflesTested, samples);
    }
  }
  return samples;
}

double average_precision(std::vector<std::pair<double, bool>> scored) {
  std::sort(scored.begin(), scored.end(), std::greater<>());
  double found = 0, sum = 0;
  for (size_t i = 0; i < scored.size(); ++i) {
    if (!scored[i].second) continue;
    found += 1;
    sum += found / static_cast<double>(i + 1);
  }
  return found > 0 ? sum / found : 0;
}

}  // namespace

OnsetScore score_onset(std::span<const trace::VmTrace> days) {
  Rng rng(1);
  std::vector<std::vector<Sample>> samples;
  for (const trace::VmTrace& day : days) samples.push_back(samples_of(day, rng));
  std::vector<std::pair<double, bool>> learned, smoothed;
  for (size_t tested = 0; tested < days.size(); ++tested) {
    OnsetForecaster forecaster(kOptions, size_t{1} << 20);
    for (size_t d = 0; d < days.size(); ++d)
      if (d != tested)
        for (const Sample& sample : samples[d]) forecaster.observe(sample.row, sample.happened);
    if (!forecaster.train({})) continue;
    for (const Sample& sample : samples[tested]) {
      if (!sample.is_tested) continue;
      learned.emplace_back(forecaster.probability(sample.row), sample.happened);
      smoothed.emplace_back(sample.smoothed, sample.happened);
    }
  }
  double happened = 0;
  for (const auto& each : learned) happened += each.second;
  return {.average_precision = average_precision(learned),
          .base = happened / static_cast<double>(learned.size()),
          .average_precision_smoothed = average_precision(smoothed),
          .count = learned.size()};
}
