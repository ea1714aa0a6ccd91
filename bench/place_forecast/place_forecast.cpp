// place_forecast: forecasts of hosts of twelve random Bitbrains VMs, scored on days 17 to 28 of the
// month; the unit is the host's 95th percentile of its first ten days. Prints JSON: by horizon in
// minutes the mean absolute error in % of that, of the choosing forecaster and of the last value,
// and what its 90 % intervals covered.
//
// With days of PlanetLab also how well onset of overload is foreseen on hosts of their VMs
// (onset.h).
//
// usage: place_forecast MONTH [DAYS]
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <string>

#include "core/rng.h"
#include "forecast/series_forecast.h"
#include "onset.h"
#include "os/file.h"
#include "trace/vm_trace.h"

namespace {

namespace json = boost::json;
using namespace forerun;
using forecast::SeriesForecaster;

constexpr size_t kVmsPerHost = 12;
constexpr size_t kDay = 288;
constexpr size_t kFrom = 16 * kDay, kTo = 28 * kDay;
const std::vector<uint32_t> kHorizons = {1, 3, 6, 12};

Result<trace::VmTrace> read(const std::string& folder) {
  FR_TRY(const auto names, os::list_folder(folder));
  std::vector<trace::TimedVm> vms;
  for (const std::string& name : names) {
    const std::string path = folder + "/" + name;
    FR_TRY(auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
    FR_TRY(auto vm, trace::read_bitbrains_vm(*file, path, name, {}));
    vms.push_back(std::move(vm));
  }
  return trace::on_grid(std::move(vms), 300, {});
}

Result<std::vector<trace::VmTrace>> read_days(const std::string& folder) {
  FR_TRY(const auto days, os::list_folder(folder));
  std::vector<trace::VmTrace> traces;
  for (const std::string& day : days) {
    FR_TRY(const auto names, os::list_folder(folder + "/" + day));
    trace::VmTrace trace;
    for (const std::string& name : names) {
      const std::string path = folder + "/" + day + "/" + name;
      FR_TRY(auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
      FR_TRY(auto vm, trace::read_planetlab_vm(*file, path, name, {}));
      trace.vms.push_back(std::move(vm));
    }
    traces.push_back(std::move(trace));
  }
  return traces;
}

struct Score {
  double chosen = 0, last = 0, covered = 0, count = 0;
};

// Adds a host's forecasts. `load` in units.
void score_host(const std::vector<double>& load, std::vector<Score>& scores) {
  SeriesForecaster forecaster({.horizons = kHorizons, .season = kDay});
  for (size_t i = 0; i < load.size(); ++i) {
    forecaster.observe(load[i]);
    if (i + 1 < kFrom || i + 1 >= kTo) continue;
    for (size_t k = 0; k < kHorizons.size(); ++k) {
      if (i + kHorizons[k] >= load.size()) continue;
      const auto said = forecaster.forecast(k);
      const double came = load[i + kHorizons[k]];
      scores[k].chosen += std::abs(said->value - came);
      scores[k].last += std::abs(load[i] - came);
      scores[k].covered += came >= said->low && came <= said->high;
      scores[k].count += 1;
    }
  }
}

std::vector<Score> score_trace(const trace::VmTrace& trace) {
  std::vector<size_t> order(trace.vms.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Rng rng(1);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  std::vector<Score> scores(kHorizons.size());
  for (size_t first = 0; first + kVmsPerHost <= order.size(); first += kVmsPerHost) {
    std::vector<double> load(trace.vms[0].cpu_permille.size());
    for (size_t v = 0; v < kVmsPerHost; ++v) {
      const auto& vm = trace.vms[order[first + v]];
      for (size_t i = 0; i < load.size(); ++i)
        load[i] += vm.cpu_permille[i] * vm.capacity_mhz / 1000;
    }
    std::vector<double> sorted(load.begin(), load.begin() + 10 * kDay);
    std::sort(sorted.begin(), sorted.end());
    const double unit = sorted[sorted.size() * 95 / 100];
    if (unit <= 0) continue;
    for (double& value : load) value /= unit;
    score_host(load, scores);
  }
  return scores;
}

}  // namespace

int fail_with(const std::string& message) {
  std::fprintf(stderr, "place_forecast: %s\n", message.c_str());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: place_forecast MONTH [DAYS]\n");
    return 2;
  }
  const auto trace = read(argv[1]);
  if (!trace) return fail_with(trace.error().message);
  if (trace->vms.empty() || trace->vms[0].cpu_permille.size() < kTo)
    return fail_with("the trace is shorter than 28 days");
  const auto scores = score_trace(*trace);
  json::object horizons;
  for (size_t k = 0; k < scores.size(); ++k)
    horizons[std::to_string(kHorizons[k] * 5)] = {
        {"mae", 100 * scores[k].chosen / scores[k].count},
        {"mae_last", 100 * scores[k].last / scores[k].count},
        {"covered_90", scores[k].covered / scores[k].count}};
  json::object result{{"bitbrains", std::move(horizons)}};
  if (argc == 3) {
    const auto days = read_days(argv[2]);
    if (!days) return fail_with(days.error().message);
    if (days->size() < 2) return fail_with("two days are needed: one to learn from");
    const OnsetScore onset = score_onset(*days);
    json::array of_days;
    for (const auto& day : onset.days)
      of_days.push_back({{"onset_ap", day.average_precision}, {"onset_base", day.base}});
    result["planetlab"] = {{"onset_ap", onset.average_precision},
                           {"onset_ap_9_shuffles", onset.average_precision_all},
                           {"onset_base_9_shuffles", onset.base_all},
                           {"onset_days", std::move(of_days)},
                           {"onset_ap_ewma", onset.average_precision_smoothed},
                           {"onset_base", onset.base},
                           {"onset_count", onset.count}};
  }
  std::puts(json::serialize(result).c_str());
  return 0;
}
