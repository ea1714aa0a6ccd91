#include "trace/block_trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace forerun::trace {
namespace {

constexpr size_t kLineBytesMax = 256;

// Takes the text before the next comma out of `rest`.
std::string_view take_field(std::string_view& rest) {
  const size_t comma = std::min(rest.find(','), rest.size());
  const std::string_view field = rest.substr(0, comma);
  rest.remove_prefix(std::min(comma + 1, rest.size()));
  return field;
}

bool parse_whole(std::string_view text, uint64_t& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size();
}

}  // namespace

BlockTraceReader::BlockTraceReader(StorageFile& file, std::string label, Limits limits)
    : limits_(limits),
      lines_(file, std::move(label), "block requests", {.line_bytes_max = kLineBytesMax}) {}

Result<bool> BlockTraceReader::next(BlockRequest& request) {
  for (;;) {
    FR_TRY(const bool is_line, lines_.next(line_));
    if (!is_line) return false;
    std::string_view line = line_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool is_heading = is_first_ && line.starts_with("ts_us");
    is_first_ = false;
    if (is_heading) continue;
    FR_CHECK(parse(line, request));
    request.at_us = last_at_us_ = std::max(request.at_us, last_at_us_);
    return true;
  }
}

Status BlockTraceReader::parse(std::string_view line, BlockRequest& request) const {
  std::string_view rest = line;
  const std::string_view at = take_field(rest), op = take_field(rest), sector = take_field(rest);
  uint64_t sectors = 0;
  if (!parse_whole(at, request.at_us) || (op != "R" && op != "W") ||
      !parse_whole(sector, request.first_sector) || !parse_whole(rest, sectors))
    return lines_.wrong("expected ts_us,R|W,start_sector,n_sectors");
  if (request.at_us > limits_.at_us_max)
    return lines_.wrong(fmt::format("time {} is over {} µs", request.at_us, limits_.at_us_max),
                        ErrorCode::kTooLarge);
#ifndef FORERUN_PLANT_BUG_TRACES  // fuzz/trace/prove.sh
  if (sectors == 0) return lines_.wrong("a request of no sectors");
#endif
  if (sectors > limits_.sectors_max)
    return lines_.wrong(fmt::format("{} sectors are over {}", sectors, limits_.sectors_max),
                        ErrorCode::kTooLarge);
  if (request.first_sector > limits_.sector_max)
    return lines_.wrong(
        fmt::format("sector {} is over {}", request.first_sector, limits_.sector_max),
        ErrorCode::kTooLarge);
  request.op = op == "R" ? Op::kRead : Op::kWrite;
  request.sectors = static_cast<uint32_t>(sectors);
  return {};
}

}  // namespace forerun::trace
