#include "trace/launch_trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace forerun::trace {
namespace {

// Adds one to the manifest's part, keeping parts in order.
void add_to(std::vector<LaunchBatch::Part>& parts, uint32_t manifest) {
  const auto at = std::lower_bound(
      parts.begin(), parts.end(), manifest,
      [](const LaunchBatch::Part& part, uint32_t number) { return part.manifest < number; });
  if (at != parts.end() && at->manifest == manifest)
    ++at->launches;
  else
    parts.insert(at, {manifest, 1});
}

}  // namespace

bool is_launch_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-' || c == ':' || c == '+';
  });
}

std::string launch_line(const LaunchBin& bin, const LaunchNames& names) {
  std::string line = fmt::format("{} ", bin.second);
  const auto add = [&](const std::vector<LaunchBatch::Part>& parts, std::string_view mark) {
    for (const LaunchBatch::Part& part : parts)
      for (uint32_t i = 0; i < part.launches; ++i)
        line += fmt::format("{}{},", mark, names.name_of(part.manifest));
  };
  for (size_t i = 0; i < bin.batches.size(); ++i) {
    const LaunchBatch& batch = bin.batches[i];
    if (i > 0) line += ',';
    add(batch.parts, "");
    add(batch.stops, "~");
    if (!batch.host.empty()) line += fmt::format("@{},", batch.host);
    if (!batch.tenant.empty()) line += fmt::format("%{},", batch.tenant);
    line += '|';
  }
  return line + '\n';
}

uint32_t LaunchNames::number_of(std::string_view name) {
  if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
  const auto number = static_cast<uint32_t>(names_.size());
  names_.emplace_back(name);
  numbers_.emplace(name, number);
  return number;
}

LaunchTraceReader::LaunchTraceReader(StorageFile& file, std::string label, LaunchNames& names,
                                     Limits limits)
    : names_(names),
      limits_(limits),
      lines_(file, std::move(label), "launches",
             {.line_bytes_max = limits.line_bytes_max, .text_bytes_max = limits.text_bytes_max}) {}

Result<bool> LaunchTraceReader::next(LaunchBin& bin) {
  std::string text;
  FR_TRY(const bool is_line, lines_.next(text));
  if (!is_line) return false;
  FR_CHECK(parse(text, bin));
  return true;
}

Status LaunchTraceReader::parse(std::string_view line, LaunchBin& bin) {
  bin.batches.clear();
  const char* end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, bin.second);
  if (error != std::errc{} || (stop != end && *stop != ' '))
    return lines_.wrong("expected seconds, a blank and batches");
  if (bin.second > limits_.second_max)
    return lines_.wrong(fmt::format("second {} is over {}", bin.second, limits_.second_max),
                        ErrorCode::kTooLarge);
  if (any_ && bin.second < last_second_)
    return lines_.wrong(fmt::format("second {} does not come after {}", bin.second, last_second_));
  any_ = true;
  last_second_ = bin.second;
  if (stop == end || stop + 1 == end) return {};
  return parse_batches(line.substr(static_cast<size_t>(stop + 1 - line.data())), bin);
}

Status LaunchTraceReader::parse_batches(std::string_view list, LaunchBin& bin) {
  LaunchBatch batch;
  for (size_t from = 0; from <= list.size();) {
    const size_t comma = std::min(list.find(',', from), list.size());
    const std::string_view item = list.substr(from, comma - from);
    from = comma + 1;
    if (item != "|") {
      FR_CHECK(parse_item(item, batch));
      continue;
    }
    if (batch.parts.empty() && batch.stops.empty()) return lines_.wrong("a batch without launches");
    bin.batches.push_back(std::exchange(batch, {}));
  }
  if (batch != LaunchBatch{}) return lines_.wrong("the last batch is not ended by '|'");
  return {};
}

Status LaunchTraceReader::parse_item(std::string_view item, LaunchBatch& batch) {
  if (item.starts_with('@')) {
    FR_CHECK(check_name(item.substr(1)));
    if (!batch.host.empty()) return lines_.wrong("a batch names two hosts");
    batch.host = item.substr(1);
    return {};
  }
  if (item.starts_with('%')) {
    FR_CHECK(check_name(item.substr(1)));
    if (!batch.tenant.empty()) return lines_.wrong("a batch names two tenants");
    batch.tenant = item.substr(1);
    return {};
  }
  const bool is_stop = item.starts_with('~');
  FR_TRY(const uint32_t manifest, parse_name(is_stop ? item.substr(1) : item));
  add_to(is_stop ? batch.stops : batch.parts, manifest);
  return {};
}

Status LaunchTraceReader::check_name(std::string_view name) const {
  if (name.size() > limits_.name_bytes_max)
    return lines_.wrong(fmt::format("a name longer than {} bytes", limits_.name_bytes_max),
                        ErrorCode::kTooLarge);
  if (!is_launch_name(name))
    return lines_.wrong("a name is empty or holds other than letters, digits and ._-:+");
  return {};
}

Result<uint32_t> LaunchTraceReader::parse_name(std::string_view name) {
  FR_CHECK(check_name(name));
  const uint32_t number = names_.number_of(name);
  if (names_.size() > limits_.names_max)
    return lines_.wrong(fmt::format("more than {} different names", limits_.names_max),
                        ErrorCode::kTooLarge);
  return number;
}

}  // namespace forerun::trace
