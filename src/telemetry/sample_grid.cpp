#include "telemetry/sample_grid.h"

#include <algorithm>
#include <cmath>

namespace forerun::telemetry {
namespace {

constexpr int64_t kMinute_ms = kMinute_s * 1000;
constexpr int64_t kStale_ms = kStale_s * 1000;

using Joined = MetricQuery::Joined;

MinuteValues minutes_of_gauge(std::span<const RemoteSample> samples, int64_t begin_ms,
                              size_t minutes) {
  MinuteValues values(minutes);
  size_t next = 0;
  for (size_t m = 0; m < minutes; ++m) {
    const int64_t from = begin_ms + static_cast<int64_t>(m) * kMinute_ms;
    double sum = 0;
    size_t count = 0;
    for (; next < samples.size() && samples[next].unix_ms < from + kMinute_ms; ++next) {
      if (samples[next].unix_ms < from || !std::isfinite(samples[next].value)) continue;
      sum += samples[next].value;
      ++count;
    }
    if (count > 0) {
      values[m] = sum / static_cast<double>(count);
    } else if (next > 0) {
      const RemoteSample& last = samples[next - 1];
      if (std::isfinite(last.value) && from - last.unix_ms < kStale_ms) values[m] = last.value;
    }
  }
  return values;
}

MinuteValues minutes_of_counter(std::span<const RemoteSample> samples, int64_t begin_ms,
                                size_t minutes) {
  std::vector<double> risen(minutes), known_ms(minutes);
  const int64_t end_ms = begin_ms + static_cast<int64_t>(minutes) * kMinute_ms;
  for (size_t i = 1; i < samples.size(); ++i) {
    const RemoteSample &before = samples[i - 1], &after = samples[i];
    const int64_t length = after.unix_ms - before.unix_ms;
    if (length <= 0 || length > kStale_ms || !std::isfinite(before.value) ||
        !std::isfinite(after.value))
      continue;
    const double rise = after.value < before.value ? after.value : after.value - before.value;
    int64_t at = std::max(before.unix_ms, begin_ms);
    while (at < std::min(after.unix_ms, end_ms)) {
      const auto minute = static_cast<size_t>((at - begin_ms) / kMinute_ms);
      const int64_t next = begin_ms + static_cast<int64_t>(minute + 1) * kMinute_ms;
      const auto part = static_cast<double>(std::min(next, after.unix_ms) - at);
      risen[minute] += rise * part / static_cast<double>(length);
      known_ms[minute] += part;
      at = next;
    }
  }
  MinuteValues values(minutes);
  for (size_t m = 0; m < minutes; ++m)
    if (2 * known_ms[m] >= static_cast<double>(kMinute_ms))
      values[m] = risen[m] / (known_ms[m] / 1000);
  return values;
}

}  // namespace

MinuteValues minutes_of(std::span<const RemoteSample> samples, MetricQuery::Reading reading,
                        int64_t begin_s, size_t minutes) {
  FR_ASSERT(begin_s % kMinute_s == 0);
  return reading == MetricQuery::Reading::kGauge
             ? minutes_of_gauge(samples, begin_s * 1000, minutes)
             : minutes_of_counter(samples, begin_s * 1000, minutes);
}

std::map<std::string, MinuteValues> joined_minutes(const MetricQuery& query,
                                                   std::span<const RemoteSeries> series,
                                                   int64_t begin_s, size_t minutes) {
  std::map<std::string, MinuteValues> joined;
  std::map<std::string, std::vector<size_t>> counts;
  for (const RemoteSeries& each : series) {
    std::string vm;
    if (!query.vm_label.empty()) {
      const auto label = each.labels.find(query.vm_label);
      if (label == each.labels.end() || label->second.empty()) continue;
      vm = label->second;
    }
    const MinuteValues values = minutes_of(each.samples, query.reading, begin_s, minutes);
    MinuteValues& sum = joined.try_emplace(vm, minutes).first->second;
    std::vector<size_t>& count = counts.try_emplace(vm, minutes).first->second;
    for (size_t m = 0; m < minutes; ++m) {
      if (!values[m]) continue;
      ++count[m];
      if (!sum[m])
        sum[m] = values[m];
      else
        sum[m] =
            query.joined == Joined::kMax ? std::max(*sum[m], *values[m]) : *sum[m] + *values[m];
    }
  }
  for (auto& [vm, values] : joined)
    for (size_t m = 0; m < minutes; ++m) {
      if (!values[m]) continue;
      const auto count = static_cast<double>(counts[vm][m]);
      if (query.joined == Joined::kMean) values[m] = *values[m] / count;
      if (query.joined == Joined::kCount) values[m] = count;
      values[m] = *values[m] * query.scale;
    }
  return joined;
}

void add_where_both(MinuteValues& sum, const MinuteValues& other) {
  for (size_t m = 0; m < sum.size(); ++m) {
    if (sum[m] && other[m])
      sum[m] = *sum[m] + *other[m];
    else
      sum[m].reset();
  }
}

}  // namespace forerun::telemetry
