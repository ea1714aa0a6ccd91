#include "cli/text.h"

#include <charconv>
#include <cmath>

namespace forerun::cli {
namespace {

// Two or three digits that matter.
std::string digits(double value) {
  const double rounded = std::round(value * 100) / 100;
  if (value >= 99.95 || rounded == std::floor(rounded)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, value >= 9.995 ? 1 : 2);
}

template <typename T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// Splits "512MiB" into 512 and "MiB".
Result<double> parse_with_unit(std::string_view text, std::string_view* unit) {
  size_t end = 0;
  while (end < text.size() && ((text[end] >= '0' && text[end] <= '9') || text[end] == '.')) ++end;
  double value = 0;
  if (!parse_number(text.substr(0, end), value)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' does not begin with a number", text));
  }
  *unit = text.substr(end);
  return value;
}

}  // namespace

std::string show_bytes(double bytes) {
  static constexpr std::array<std::string_view, 6> kUnits = {"B",   "KiB", "MiB",
                                                             "GiB", "TiB", "PiB"};
  if (!std::isfinite(bytes)) return "?";
  size_t unit = 0;
  while (bytes >= 1023.95 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", unit == 0 ? fmt::format("{:.0f}", bytes) : digits(bytes),
                     kUnits[unit]);
}

std::string show_rate(double bytes_per_second) { return show_bytes(bytes_per_second) + "/s"; }

std::string show_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds == 0) return "0 s";
  if (seconds < 0.9995e-3) return digits(seconds * 1e6) + " µs";
  if (seconds < 0.9995) return digits(seconds * 1e3) + " ms";
  if (seconds < 119.95) return digits(seconds) + " s";
  if (seconds < 7200) return digits(seconds / 60) + " min";
  return digits(seconds / 3600) + " h";
}

std::string show_ratio(double ratio) {
  if (!std::isfinite(ratio)) return "–";
  if (ratio > 0 && ratio < 0.01) return "< 1 %";
  if (ratio > 0.99 && ratio < 1) return "> 99 %";
  return fmt::format("{:.0f} %", ratio * 100);
}

std::string show_count(uint64_t count) {
  std::string plain = fmt::to_string(count);
  for (int64_t at = static_cast<int64_t>(plain.size()) - 3; at > 0; at -= 3) {
    plain.insert(static_cast<size_t>(at), ",");
  }
  return plain;
}

Result<uint64_t> parse_size(std::string_view text) {
  std::string_view unit;
  FR_TRY(const double value, parse_with_unit(text, &unit));
  static constexpr std::string_view kLetters = "KMGT";
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    const char letter = static_cast<char>(unit[0] & ~0x20);
    const size_t power = kLetters.find(letter);
    const std::string_view rest = unit.substr(1);
    if (power == std::string_view::npos || (!rest.empty() && rest != "iB")) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("'{}': units are K, M, G, T (powers of 1024)", text));
    }
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  }
  if (value * factor > 9e18)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is too large", text));
  return static_cast<uint64_t>(value * factor);
}

Result<double> parse_seconds(std::string_view text) {
  std::string_view unit;
  FR_TRY(const double value, parse_with_unit(text, &unit));
  if (unit.empty() || unit == "s") return value;
  if (unit == "us") return value / 1e6;
  if (unit == "ms") return value / 1000;
  if (unit == "m" || unit == "min") return value * 60;
  if (unit == "h") return value * 3600;
  if (unit == "d") return value * 86400;
  return fail(ErrorCode::kInvalid, fmt::format("'{}': units are us, ms, s, m, h, d", text));
}

Result<uint64_t> parse_bit_rate(std::string_view text) {
  constexpr double kBytesPerSecondMax = 1e15;
  if (text == "none") return 0;
  std::string_view unit;
  const auto value = parse_with_unit(text, &unit);
  const double bits = unit == "bit"    ? 1
                      : unit == "kbit" ? 1e3
                      : unit == "mbit" ? 1e6
                      : unit == "gbit" ? 1e9
                                       : 0;
  const double bytes_per_second = value.value_or(0) * bits / 8;
  if (!(bytes_per_second >= 1 && bytes_per_second <= kBytesPerSecondMax))
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no rate such as 200mbit: units are bit, kbit, mbit, gbit; "
                            "or none",
                            text));
  return static_cast<uint64_t>(bytes_per_second);
}

std::string show_bit_rate(uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return "none";
  const double bits = static_cast<double>(bytes_per_second) * 8;
  if (bits >= 1e9) return fmt::format("{:.4g} Gbit/s", bits / 1e9);
  if (bits >= 1e6) return fmt::format("{:.4g} Mbit/s", bits / 1e6);
  if (bits >= 1e3) return fmt::format("{:.4g} kbit/s", bits / 1e3);
  return fmt::format("{:.4g} bit/s", bits);
}

Result<ForwardArgument> parse_forward(std::string_view text) {
  const auto wrong = [&] {
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not tcp:[ADDRESS:]HOST_PORT:GUEST_PORT", text));
  };
  constexpr std::string_view kTcp = "tcp:";
  if (!text.starts_with(kTcp)) return wrong();
  std::string_view rest = text.substr(kTcp.size());
  ForwardArgument forward;
  const size_t last = rest.rfind(':');
  if (last == std::string_view::npos || !parse_number(rest.substr(last + 1), forward.guest_port)) {
    return wrong();
  }
  rest = rest.substr(0, last);
  const size_t middle = rest.rfind(':');
  if (middle != std::string_view::npos) {
    forward.host_address = std::string(rest.substr(0, middle));
    rest = rest.substr(middle + 1);
  }
  if (!parse_number(rest, forward.host_port) || forward.host_port == 0 || forward.guest_port == 0 ||
      forward.host_address.empty()) {
    return wrong();
  }
  return forward;
}

size_t width_of(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = width_of(columns_[i].heading);
    for (const auto& row : rows_) width = std::max(width, width_of(row[i]));
    widths.push_back(width);
  }
  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& cell = cell_of(i);
      const std::string padding(widths[i] - width_of(cell), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].is_number ? padding + cell : cell + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](size_t i) -> const std::string& { return columns_[i].heading; });
  for (const auto& row : rows_) add_line([&](size_t i) -> const std::string& { return row[i]; });
  return text;
}

std::string stall_line(const std::vector<double>& bin_ms, double bin_seconds, size_t cells_max,
                       bool ascii) {
  static constexpr std::array<std::string_view, 9> kBlocks = {" ", "▁", "▂", "▃", "▄",
                                                              "▅", "▆", "▇", "█"};
  static constexpr std::string_view kLetters = " .:-=+*#%";
  if (bin_ms.empty() || cells_max == 0 || bin_seconds <= 0) return "";
  const size_t group = (bin_ms.size() + cells_max - 1) / cells_max;
  std::string line;
  for (size_t begin = 0; begin < bin_ms.size(); begin += group) {
    const size_t end = std::min(begin + group, bin_ms.size());
    double stalled_ms = 0;
    for (size_t i = begin; i < end; ++i) stalled_ms += bin_ms[i];
    const double share = stalled_ms / (static_cast<double>(end - begin) * bin_seconds * 1000);
    // Anything above nothing is seen: the lowest block.
    const size_t level =
        share <= 0 ? 0 : std::clamp<size_t>(static_cast<size_t>(std::lround(share * 8)), 1, 8);
    line += ascii ? std::string(1, kLetters[level]) : std::string(kBlocks[level]);
  }
  return line;
}

std::string printable(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    shown += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  return shown;
}

}  // namespace forerun::cli
