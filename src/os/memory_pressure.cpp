#include "os/memory_pressure.h"

#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "os/file.h"

namespace forerun::os {
namespace {

constexpr size_t kFileBytesMax = 1 << 16;

// Returns the file's text, or nothing if it cannot be read.
std::optional<std::string> text_of(const std::string& path) {
  const auto content = read_file(path, kFileBytesMax);
  if (!content) return std::nullopt;
  return std::string(as_text(*content));
}

// Returns the number behind `key` and its blanks, wherever a line begins with `key`.
std::optional<double> number_after(std::string_view text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    double value = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), value).ec != std::errc())
      return std::nullopt;
    return value;
  }
  return std::nullopt;
}

std::optional<uint64_t> bytes_after(std::string_view text, std::string_view key, uint64_t unit) {
  const auto value = number_after(text, key);
  if (!value || *value < 0) return std::nullopt;
  return static_cast<uint64_t>(*value) * unit;
}

// Returns the share of the last 10 s, or 0 if the file is not there or says nothing.
double stall_ratio_of(const std::string& path) {
  const auto text = text_of(path);
  if (!text) return 0;
  return std::clamp(number_after(*text, "some avg10=").value_or(0) / 100, 0.0, 1.0);
}

// Lays one cgroup's limit over `pressure`. What the page cache holds of its files counts as free
// (but for a reserve), as it does in MemAvailable.
void apply_cgroup(const std::string& folder, MemoryPressure& pressure) {
  uint64_t limit = UINT64_MAX;
  for (const char* name : {"/memory.max", "/memory.high"}) {
    const auto text = text_of(folder + name);
    if (!text) continue;
    if (const auto bytes = bytes_after(*text, "", 1)) limit = std::min(limit, *bytes);
  }
  const auto current = text_of(folder + "/memory.current");
  const auto used = current ? bytes_after(*current, "", 1) : std::nullopt;
  if (limit == UINT64_MAX || !used) return;
  const std::string stat = text_of(folder + "/memory.stat").value_or("");
  const uint64_t inactive = bytes_after(stat, "inactive_file", 1).value_or(0);
  const uint64_t held = *used - std::min(*used, inactive);
  pressure.total_bytes = std::min(pressure.total_bytes, limit);
  pressure.available_bytes = std::min(pressure.available_bytes, limit - std::min(limit, held));
  pressure.stall_ratio =
      std::max(pressure.stall_ratio, stall_ratio_of(folder + "/memory.pressure"));
}

// Returns the path of this process in the v2 hierarchy, as "/a/b"; empty: none, or its root.
std::string cgroup_path(const std::string& root) {
  const std::string text = text_of(root + "/proc/self/cgroup").value_or("");
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.starts_with("0::/") && line.find("/../") == std::string_view::npos)
      return line.size() > 4 ? std::string(line.substr(3)) : std::string();
    at = end + 1;
  }
  return {};
}

}  // namespace

Result<MemoryPressure> read_memory_pressure(const std::string& root) {
  const std::string path = root + "/proc/meminfo";
  FR_TRY(const auto content, read_file(path, kFileBytesMax));
  const std::string_view text = as_text(content);
  const auto total = bytes_after(text, "MemTotal:", 1024);
  const auto available = bytes_after(text, "MemAvailable:", 1024);
  if (!total || !available)
    return fail(ErrorCode::kCorrupt, fmt::format("{} tells no MemTotal or MemAvailable", path));
  MemoryPressure pressure{*total, *available, stall_ratio_of(root + "/proc/pressure/memory")};
  for (std::string group = cgroup_path(root); !group.empty(); group.resize(group.rfind('/')))
    apply_cgroup(root + "/sys/fs/cgroup" + group, pressure);
  return pressure;
}

void release_freed_memory() { ::malloc_trim(0); }

}  // namespace forerun::os
