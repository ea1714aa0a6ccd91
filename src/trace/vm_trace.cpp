#include "trace/vm_trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "trace/text_lines.h"

namespace forerun::trace {
namespace {

constexpr uint64_t kNumberMax = uint64_t{1} << 40;

bool parse_number(std::string_view text, uint64_t& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size() && value <= kNumberMax;
}

// Returns how many numbers the line holds, 0 if something else is between its commas.
size_t parse_numbers(std::string_view line, std::span<uint64_t> numbers) {
  size_t count = 0;
  for (;;) {
    const size_t comma = line.find(',');
    if (count == numbers.size() || !parse_number(line.substr(0, comma), numbers[count])) return 0;
    ++count;
    if (comma == std::string_view::npos) return count;
    line.remove_prefix(comma + 1);
  }
}

void strip_return(std::string& line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
}

// What was provisioned while rows were read: permille are of it.
struct Provision {
  double mhz = 0;
  bool is_known = false;
};

Status add_row(const TextLines& lines, std::span<const uint64_t> numbers,
               const Provision& provision, TimedVm& vm) {
  if (!provision.is_known) return lines.wrong("a sample stands before what is provisioned");
  const uint64_t before = vm.rows.empty() ? 0 : vm.rows.back().second;
  if (numbers[0] > kNumberMax - before) return lines.wrong("the time is too large");
  const auto bounded = [](uint64_t value) {
    return static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX));
  };
  vm.rows.push_back({before + numbers[0], static_cast<double>(numbers[1]) / 1000 * provision.mhz,
                     bounded(numbers[2]), bounded(numbers[5] + numbers[6])});
  return {};
}

}  // namespace

Result<VmSeries> read_planetlab_vm(StorageFile& file, const std::string& label, std::string name,
                                   const VmTraceLimits& limits) {
  TextLines lines(file, label, "utilisation", {.line_bytes_max = 64});
  VmSeries vm;
  vm.name = std::move(name);
  std::string line;
  for (;;) {
    FR_TRY(const bool more, lines.next(line));
    if (!more) break;
    strip_return(line);
    uint64_t percent = 0;
    if (!parse_number(line, percent) || percent > 100)
      return lines.wrong("not a whole percentage from 0 to 100");
    if (vm.cpu_permille.size() == limits.samples_max)
      return lines.wrong(fmt::format("more than {} samples", limits.samples_max),
                         ErrorCode::kTooLarge);
    vm.cpu_permille.push_back(static_cast<uint16_t>(percent * 10));
  }
  if (vm.cpu_permille.empty()) return lines.wrong("there is no sample");
  return vm;
}

Result<TimedVm> read_bitbrains_vm(StorageFile& file, const std::string& label, std::string name,
                                  const VmTraceLimits& limits) {
  TextLines lines(file, label, "utilisation", {.line_bytes_max = 256});
  TimedVm vm;
  vm.name = std::move(name);
  Provision provision;
  std::string line;
  std::array<uint64_t, 7> numbers{};
  for (;;) {
    FR_TRY(const bool more, lines.next(line));
    if (!more) break;
    strip_return(line);
    const bool is_provision = line.starts_with('#');
    const size_t count = parse_numbers(std::string_view(line).substr(is_provision), numbers);
    if (is_provision && count == 3) {
      provision = {static_cast<double>(numbers[1]), true};
      vm.capacity_mhz = std::max(vm.capacity_mhz, provision.mhz);
      vm.memory_mb =
          std::max(vm.memory_mb, static_cast<uint32_t>(std::min<uint64_t>(numbers[2], UINT32_MAX)));
    } else if (!is_provision && count == 7) {
      if (vm.rows.size() == limits.samples_max)
        return lines.wrong(fmt::format("more than {} samples", limits.samples_max),
                           ErrorCode::kTooLarge);
      FR_CHECK(add_row(lines, numbers, provision, vm));
    } else {
      return lines.wrong("neither # and 3 nor 7 whole numbers between commas");
    }
  }
  if (vm.rows.empty()) return lines.wrong("there is no sample");
  return vm;
}

Result<VmTrace> on_grid(std::vector<TimedVm> vms, uint32_t interval_s,
                        const VmTraceLimits& limits) {
  VmTrace trace;
  trace.interval_s = interval_s;
  std::sort(vms.begin(), vms.end(),
            [](const TimedVm& a, const TimedVm& b) { return a.name < b.name; });
  uint64_t first = UINT64_MAX, last = 0;
  for (const TimedVm& vm : vms) {
    first = std::min(first, vm.rows.front().second);
    last = std::max(last, vm.rows.back().second);
  }
  const size_t samples = vms.empty() ? 0 : static_cast<size_t>((last - first) / interval_s) + 1;
  if (samples > limits.samples_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("cannot put VMs on one grid: it has {} samples, more than {}", samples,
                            limits.samples_max));
  for (TimedVm& timed : vms) {
    VmSeries vm;
    vm.name = std::move(timed.name);
    vm.capacity_mhz = timed.capacity_mhz;
    vm.memory_mb = timed.memory_mb;
    vm.cpu_permille.resize(samples);
    vm.memory_used_mb.resize(samples);
    vm.network_kb_per_s.resize(samples);
    size_t next = 0;
    TimedVm::Row row;
    for (size_t i = 0; i < samples; ++i) {
      const uint64_t end = first + (i + 1) * interval_s;
      for (; next < timed.rows.size() && timed.rows[next].second < end; ++next)
        row = timed.rows[next];
      const double share = timed.capacity_mhz > 0 ? row.cpu_mhz / timed.capacity_mhz : 0;
      vm.cpu_permille[i] = static_cast<uint16_t>(std::clamp(share * 1000 + 0.5, 0.0, 65535.0));
      vm.memory_used_mb[i] = row.memory_used_mb;
      vm.network_kb_per_s[i] = row.network_kb_per_s;
    }
    trace.vms.push_back(std::move(vm));
  }
  return trace;
}

}  // namespace forerun::trace
