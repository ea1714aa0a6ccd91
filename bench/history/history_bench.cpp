// What the history of use costs: a tick of 100,000 series, and the bytes of a month of 1,000 VMs.
// Use is made up: a daily wave, a walk and a burst now and then, for each series its own. Writes
// JSON.
#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/rng.h"
#include "os/clock.h"
#include "store/history_store.h"

namespace json = boost::json;
using namespace forerun;
using telemetry::HistoryPoint;

namespace {

constexpr int64_t kBegin = 1'790'006'400;  // a midnight
constexpr size_t kMetrics = 7;             // of a VM

class Usage {
 public:
  explicit Usage(size_t count) : rng_(7), walk_(count), phase_(count) {
    for (double& phase : phase_) phase = rng_.unit() * 6.28;
  }
  void fill(int64_t at, std::vector<HistoryPoint>& points) {
    for (size_t i = 0; i < points.size(); ++i) {
      walk_[i] = 0.95 * walk_[i] + 0.1 * (rng_.unit() - 0.5);
      const double wave = 0.3 + 0.2 * std::sin(static_cast<double>(at) / 13751 + phase_[i]);
      const double burst = rng_.below(200) == 0 ? 1 : 0;
      const auto value = static_cast<float>(std::max(0.0, wave + walk_[i] + burst));
      // Every third is a gauge that hardly moves, such as memory.
      points[i].mean = points[i].max = i % 3 == 0 ? std::round(value * 8) * 1e8f : value;
    }
  }

 private:
  Rng rng_;
  std::vector<double> walk_, phase_;
};

std::vector<HistoryPoint> series_of(store::HistoryStore& store, size_t vms, size_t metrics) {
  std::vector<HistoryPoint> points;
  for (size_t vm = 0; vm < vms; ++vm)
    for (size_t metric = 0; metric < metrics; ++metric) {
      const auto id = store.series({fmt::format("vm/v{}", vm), fmt::format("m{}", metric)});
      FR_ASSERT(id.has_value());
      points.push_back({*id, 0, 0});
    }
  return points;
}

std::unique_ptr<store::HistoryStore> open(const std::string& folder) {
  auto opened =
      store::HistoryStore::open({.path = folder + "/history.db", .bytes_max = 1ull << 40});
  if (!opened) fmt::print(stderr, "{}\n", opened.error().message);
  FR_ASSERT(opened.has_value());
  return std::move(*opened);
}

// A quarter of an hour of ticks of 100,000 series.
json::object ingest(const std::string& folder) {
  const auto store = open(folder);
  auto points = series_of(*store, 10'000, 10);
  Usage usage(points.size());
  const os::SystemClock clock;
  std::vector<double> took;
  for (int64_t at = kBegin; at < kBegin + 900; at += 10) {
    usage.fill(at, points);
    const Time begin = clock.now();
    const Status kept = store->append(at, points);
    FR_ASSERT(kept.has_value());
    took.push_back(to_seconds(clock.now() - begin) * 1e3);
  }
  std::ranges::sort(took);
  return {{"series", points.size()},
          {"tick_ms_median", took[took.size() / 2]},
          {"tick_ms_worst", took.back()}};
}

// Six hours of 1,000 VMs, and what each resolution takes when it is full.
json::object month(const std::string& folder) {
  const auto store = open(folder);
  auto points = series_of(*store, 1000, kMetrics);
  Usage usage(points.size());
  std::array<double, telemetry::kResolutionCount> bytes{}, rows{};
  for (int64_t at = kBegin; at < kBegin + 6 * 3600; at += 10) {
    usage.fill(at, points);
    FR_ASSERT(store->append(at, points).has_value());
  }
  double whole = 0;
  json::object by_resolution;
  for (size_t i = 0; i < telemetry::kResolutionCount; ++i) {
    const auto resolution = static_cast<telemetry::Resolution>(i);
    const Status read = store->each_row(
        resolution, 0, INT64_MAX, [&](int64_t, const std::vector<HistoryPoint>& row) -> Status {
          bytes[i] += static_cast<double>(telemetry::encode_row(row).size());
          ++rows[i];
          return {};
        });
    FR_ASSERT(read.has_value() && rows[i] > 0);
    const auto& rule = telemetry::kResolutions[i];
    const double full = bytes[i] / rows[i] * static_cast<double>(rule.kept_seconds / rule.seconds);
    by_resolution[telemetry::resolution_name(resolution)] = {{"row_bytes", bytes[i] / rows[i]},
                                                             {"full_bytes", full}};
    whole += full;
  }
  const os::SystemClock clock;
  const Time begin = clock.now();
  const auto day = store->read({"vm/v500", "m1"}, telemetry::Resolution::k1min, 0, INT64_MAX);
  FR_ASSERT(day.has_value());
  return {{"vms", 1000},
          {"metrics", kMetrics},
          {"full_bytes", whole},
          {"resolutions", std::move(by_resolution)},
          {"read_one_series_ms_per_row",
           to_seconds(clock.now() - begin) * 1e3 / static_cast<double>(day->size())}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: history_bench OUT.json COMMIT\n");
    return 2;
  }
  char name[] = "/var/tmp/forerun-history-XXXXXX";
  const std::string folder = mkdtemp(name);
  std::filesystem::create_directory(folder + "/a");
  std::filesystem::create_directory(folder + "/b");
  const json::object result{
      {"commit", argv[2]}, {"ingest", ingest(folder + "/a")}, {"month", month(folder + "/b")}};
  std::filesystem::remove_all(folder);
  fmt::print("{}\n", json::serialize(result));
  std::ofstream out(argv[1]);
  out << json::serialize(result) << "\n";
  out.close();
  if (!out) fmt::print(stderr, "cannot write {}\n", argv[1]);
  return out ? 0 : 1;
}
