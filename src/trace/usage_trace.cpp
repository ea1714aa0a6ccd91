#include "trace/usage_trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>

#include "trace/text_lines.h"

namespace forerun::trace {
namespace {

constexpr std::string_view kHeader = "unix_seconds,entity,metric,mean,max";
constexpr double kSecondMax = 1e12;
constexpr double kCores_max = 1 << 16;
constexpr double kBytesPerMb = 1 << 20;

struct Mean {
  double sum = 0;
  uint32_t count = 0;
  void add(double value) {
    sum += value;
    ++count;
  }
  double value() const { return count > 0 ? sum / count : 0; }
};

// Of one interval.
struct Bucket {
  Mean ran, waited, memory_bytes;
};

struct Vm {
  std::map<uint64_t, Bucket> buckets;  // by their number since 1970
  double memory_bytes_max = 0;
};

struct Point {
  double second = 0, mean = 0, max = 0;
  std::string_view entity, metric;
};

bool parse_number(std::string_view text, double& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size() && std::isfinite(value) &&
         value >= 0;
}

bool parse_point(std::string_view line, Point& point) {
  std::array<std::string_view, 5> fields;
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t comma = line.find(',');
    if ((comma == line.npos) != (i + 1 == fields.size())) return false;
    fields[i] = line.substr(0, comma);
    if (comma != line.npos) line.remove_prefix(comma + 1);
  }
  point.entity = fields[1];
  point.metric = fields[2];
  return parse_number(fields[0], point.second) && parse_number(fields[3], point.mean) &&
         parse_number(fields[4], point.max) && point.second <= kSecondMax && !point.entity.empty();
}

TimedVm timed(std::string name, const Vm& vm, double core_mhz, uint32_t interval_s) {
  TimedVm timed;
  timed.name = std::move(name);
  timed.memory_mb = static_cast<uint32_t>(std::min(vm.memory_bytes_max / kBytesPerMb + 1, 4e9));
  double cores_max = 0, memory_mb = 0;
  for (const auto& [number, bucket] : vm.buckets) {
    const double cores = std::min(bucket.ran.value() + bucket.waited.value(), kCores_max);
    cores_max = std::max(cores_max, cores);
    if (bucket.memory_bytes.count > 0)
      memory_mb = std::min(bucket.memory_bytes.value() / kBytesPerMb, 4e9);
    timed.rows.push_back(
        {number * interval_s, cores * core_mhz, static_cast<uint32_t>(memory_mb), 0});
  }
  timed.capacity_mhz = std::max(1.0, std::ceil(cores_max)) * core_mhz;
  return timed;
}

}  // namespace

Result<VmTrace> read_usage_export(StorageFile& file, const std::string& label, double core_mhz,
                                  uint32_t interval_s, const VmTraceLimits& limits) {
  TextLines lines(file, label, "usage", {.line_bytes_max = 1024});
  std::string line;
  FR_TRY(const bool has_header, lines.next(line));
  if (!has_header || line != kHeader)
    return lines.wrong(fmt::format("the header is not {}", kHeader));
  std::map<std::string, Vm, std::less<>> vms;
  for (;;) {
    FR_TRY(const bool more, lines.next(line));
    if (!more) break;
    Point point;
    if (!parse_point(line, point)) return lines.wrong("not a time, two names and two numbers");
    if (!point.entity.starts_with("vm/")) continue;
    const bool is_ran = point.metric == "cpu_cores", is_waited = point.metric == "cpu_wait_cores";
    if (!is_ran && !is_waited && point.metric != "memory_bytes") continue;
    const std::string_view name = point.entity.substr(3);
    auto found = vms.find(name);
    if (found == vms.end()) {
      if (vms.size() == limits.vms_max)
        return lines.wrong(fmt::format("more than {} VMs", limits.vms_max), ErrorCode::kTooLarge);
      found = vms.emplace(name, Vm{}).first;
    }
    Vm& vm = found->second;
    Bucket& bucket = vm.buckets[static_cast<uint64_t>(point.second) / interval_s];
    if (vm.buckets.size() > limits.samples_max)
      return lines.wrong(fmt::format("more than {} samples", limits.samples_max),
                         ErrorCode::kTooLarge);
    (is_ran ? bucket.ran : is_waited ? bucket.waited : bucket.memory_bytes).add(point.mean);
    if (!is_ran && !is_waited) vm.memory_bytes_max = std::max(vm.memory_bytes_max, point.max);
  }
  if (vms.empty())
    return fail(ErrorCode::kInvalid, fmt::format("cannot read {}: no VM is in it", label));
  std::vector<TimedVm> all;
  for (const auto& [name, vm] : vms) all.push_back(timed(name, vm, core_mhz, interval_s));
  return on_grid(std::move(all), interval_s, limits);
}

}  // namespace forerun::trace
