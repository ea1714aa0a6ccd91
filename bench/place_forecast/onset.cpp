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
constexpr size_t kMemberEvery = 5;  // of a VM's samples, one that is learned from
constexpr double kCapacity_mips = 5320;
constexpr std::array<double, 4> kTypes_mips = {2500, 2000, 1000, 500};
const forecast::OnsetOptions kOptions;
const size_t kFirst = kOptions.past_min - 1;  // sample that is foreseen from

struct Placed {
  size_t vm = 0;
  float share = 0;  // of the host's capacity
};
using Host = std::array<Placed, kVmsPerHost>;

struct Sample {
  forecast::OnsetRow row;
  uint32_t host = 0, at = 0;
  double smoothed = 0;
  bool happened = false;
  bool is_tested = false;
};

struct Day {
  std::vector<std::vector<float>> demand;                     // of each VM, of its own capacity
  std::vector<std::vector<forecast::MemberFigures>> figures;  // of each VM, from kFirst on
  std::vector<Host> hosts;
  std::vector<Sample> samples;
};

void add_vms(const trace::VmTrace& trace, Day& day) {
  for (const auto& vm : trace.vms) {
    auto& demand = day.demand.emplace_back();
    for (const uint16_t permille : vm.cpu_permille)
      demand.push_back(static_cast<float>(permille) / 1000);
    auto& figures = day.figures.emplace_back();
    for (size_t i = kFirst; i + kOptions.ahead < demand.size(); ++i)
      figures.push_back(forecast::member_figures(std::span(demand).first(i + 1)));
  }
}

void add_samples(Day& day, const Host& host, bool is_tested) {
  const size_t count = day.demand[host[0].vm].size();
  std::vector<float> load(count);
  for (const Placed& placed : host)
    for (size_t i = 0; i < count; ++i) load[i] += placed.share * day.demand[placed.vm][i];
  double smoothed = load[0];
  for (size_t i = 1; i + kOptions.ahead < count; ++i) {
    smoothed += 0.3 * (load[i] - smoothed);
    if (i < kFirst) continue;
    std::array<forecast::OnsetMember, kVmsPerHost> members;
    for (size_t v = 0; v < host.size(); ++v)
      members[v] = {&day.figures[host[v].vm][i - kFirst], host[v].share};
    const auto row = forecast::onset_row(std::span(load).first(i + 1), members, kOptions);
    if (!row) continue;
    day.samples.push_back(
        {*row, static_cast<uint32_t>(day.hosts.size() - 1), static_cast<uint32_t>(i), smoothed,
         forecast::is_onset(std::span(load).subspan(i + 1, kOptions.ahead), kOptions), is_tested});
  }
}

Day day_of(const trace::VmTrace& trace, Rng& rng) {
  Day day;
  add_vms(trace, day);
  std::vector<size_t> order(trace.vms.size());
  for (size_t shuffle = 0; shuffle < kShuffles; ++shuffle) {
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    for (size_t first = 0; first + kVmsPerHost <= order.size(); first += kVmsPerHost) {
      Host& host = day.hosts.emplace_back();
      for (size_t v = 0; v < kVmsPerHost; ++v)
        host[v] = {order[first + v],
                   static_cast<float>(kTypes_mips[rng.below(kTypes_mips.size())] / kCapacity_mips)};
      add_samples(day, Host(host), shuffle < kShufflesTested);
    }
  }
  return day;
}

void teach(const Day& day, forecast::MemberForecaster& forecaster) {
  for (size_t v = 0; v < day.demand.size(); ++v)
    for (size_t k = v % kMemberEvery; k < day.figures[v].size(); k += kMemberEvery)
      forecaster.observe(day.figures[v][k],
                         std::span(day.demand[v]).subspan(kFirst + k + 1, kOptions.ahead));
}

// What each VM of the day is expected to ask for, from kFirst on.
std::vector<std::vector<forecast::MemberOutlook>> outlooks_of(
    const Day& day, const forecast::MemberForecaster& forecaster) {
  std::vector<std::vector<forecast::MemberOutlook>> outlooks;
  for (const auto& figures : day.figures) {
    auto& each = outlooks.emplace_back();
    for (const auto& one : figures) each.push_back(forecaster.outlook(one));
  }
  return outlooks;
}

using Scored = std::vector<std::pair<double, bool>>;

double average_precision(Scored scored) {
  std::sort(scored.begin(), scored.end(), std::greater<>());
  double found = 0, sum = 0;
  for (size_t i = 0; i < scored.size(); ++i) {
    if (!scored[i].second) continue;
    found += 1;
    sum += found / static_cast<double>(i + 1);
  }
  return found > 0 ? sum / found : 0;
}

double share_of(const Scored& scored) {
  double happened = 0;
  for (const auto& each : scored) happened += each.second;
  return happened / static_cast<double>(scored.size());
}

}  // namespace

OnsetScore score_onset(std::span<const trace::VmTrace> traces) {
  Rng rng(1);
  std::vector<Day> days;
  for (const trace::VmTrace& trace : traces) days.push_back(day_of(trace, rng));
  OnsetScore score;
  Scored learned, every, smoothed;
  for (size_t tested = 0; tested < days.size(); ++tested) {
    OnsetForecaster forecaster(kOptions, size_t{1} << 20);
    forecast::MemberForecaster members(size_t{1} << 20);
    for (size_t d = 0; d < days.size(); ++d) {
      if (d == tested) continue;
      teach(days[d], members);
      for (const Sample& sample : days[d].samples) forecaster.observe(sample.row, sample.happened);
    }
    if (!members.train() || !forecaster.train({})) continue;
    const Day& day = days[tested];
    const auto outlooks = outlooks_of(day, members);
    Scored of_day;
    for (const Sample& sample : day.samples) {
      forecast::MemberOutlook sum;
      for (const Placed& placed : day.hosts[sample.host])
        sum.add(outlooks[placed.vm][sample.at - kFirst], placed.share);
      const double probability = forecaster.probability(sample.row, sum);
      every.emplace_back(probability, sample.happened);
      if (!sample.is_tested) continue;
      of_day.emplace_back(probability, sample.happened);
      smoothed.emplace_back(sample.smoothed, sample.happened);
    }
    score.days.push_back({average_precision(of_day), share_of(of_day)});
    learned.insert(learned.end(), of_day.begin(), of_day.end());
  }
  score.average_precision = average_precision(learned);
  score.base = share_of(learned);
  score.average_precision_smoothed = average_precision(smoothed);
  score.average_precision_all = average_precision(every);
  score.base_all = share_of(every);
  score.count = learned.size();
  return score;
}
