// What is kept of how hosts and VMs were used: series of points at four resolutions. A row holds
// one point of every series at one time; coarser rows are made from finer ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::telemetry {

// What is measured of whom. Entities: "host", "vm/NAME". Metrics are names with their unit:
// "cpu_cores", "memory_bytes", "disk_read_bytes_per_s".
struct SeriesName {
  std::string entity, metric;
  auto operator<=>(const SeriesName&) const = default;
};
inline constexpr size_t kSeriesNameBytesMax = 80;
// ERRORS: kInvalid: an entity that is not host or vm/NAME; a metric that is not 1 to 64 of
// [a-z0-9_].
Status check(const SeriesName& name);

enum class Resolution : uint8_t { k10s = 0, k1min = 1, k5min = 2, k1h = 3 };
inline constexpr size_t kResolutionCount = 4;
struct ResolutionRule {
  int64_t seconds;       // of one point
  int64_t kept_seconds;  // points older than this are dropped
};
inline constexpr std::array<ResolutionRule, kResolutionCount> kResolutions{
    {{10, 3 * 3600}, {60, 2 * 86400}, {300, 35 * 86400}, {3600, 400 * 86400}}};
inline constexpr ResolutionRule rule(Resolution resolution) {
  return kResolutions[static_cast<size_t>(resolution)];
}
std::string_view resolution_name(Resolution resolution);  // "10s", "1m", "5m", "1h"
// Returns the finest that has `seconds` of the past in at most `points_max` points.
Resolution resolution_for(int64_t seconds, size_t points_max);

// One series in one span of time.
struct HistoryPoint {
  uint32_t series = 0;
  float mean = 0, max = 0;
  bool operator==(const HistoryPoint&) const = default;
};
inline constexpr size_t kRowPointsMax = 1'000'000;

// Points of one time as bytes, in the order of their series; values keep 12 bits of their mantissa
// (1 in 8,192). REQUIRES: no series twice, at most kRowPointsMax points, values that are finite.
Buffer encode_row(std::vector<HistoryPoint> points);
// ERRORS: kCorrupt, kTooLarge.
Result<std::vector<HistoryPoint>> decode_row(ByteView bytes);

// Makes one coarser row of finer ones: means of means, maxima of maxima, of those that have it.
class RowMerger {
 public:
  void add(std::span<const HistoryPoint> row);
  bool is_empty() const { return sums_.empty(); }
  std::vector<HistoryPoint> take();  // in the order of the series; then it is empty

 private:
  struct Sum {
    double means = 0;
    float max = 0;
    uint32_t count = 0;
  };
  std::vector<std::pair<uint32_t, Sum>> sums_;  // by series
};

}  // namespace forerun::telemetry
