// How numbers, times and tables look to people, and how sizes and forwards are typed. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace forerun::cli {

std::string show_bytes(double bytes);            // "312 MiB"
std::string show_rate(double bytes_per_second);  // "1.1 MiB/s"
std::string show_seconds(double seconds);        // "85 µs", "1.24 s", "3 min", "2.5 h"
std::string show_ratio(double ratio);            // "84 %", "< 1 %", "–" if it is no number
std::string show_count(uint64_t count);          // "12,345"

// Returns bytes of "512M", "2GiB", "196616K", "1073741824". ERRORS: kInvalid.
Result<uint64_t> parse_size(std::string_view text);
// Returns seconds of "90", "1.5s", "250ms", "20us", "2m", "24h", "7d". ERRORS: kInvalid.
Result<double> parse_seconds(std::string_view text);

// Returns bytes per second of "200mbit", "1gbit", "64kbit", "1000bit", "none" (0). ERRORS:
// kInvalid.
Result<uint64_t> parse_bit_rate(std::string_view text);
// Returns "200 Mbit/s"; "none" of 0.
std::string show_bit_rate(uint64_t bytes_per_second);

struct ForwardArgument {
  std::string host_address = "127.0.0.1";
  uint16_t host_port = 0;
  uint16_t guest_port = 0;
};
// Returns what "tcp:8080:80" or "tcp:0.0.0.0:8080:80" asks for. ERRORS: kInvalid.
Result<ForwardArgument> parse_forward(std::string_view text);

// Rows of cells under a heading; columns are as wide as their widest cell.
class Table {
 public:
  struct Column {
    std::string heading;
    bool is_number = false;  // aligned to the right
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Returns the columns that `text` takes on a terminal: its code points.
size_t width_of(std::string_view text);

// Returns a line of blocks, one for each group of bins, as high as the share of its time that was
// stalled. `cells_max` bounds its width. `ascii` uses " .:-=+*#%" instead of blocks.
std::string stall_line(const std::vector<double>& bin_ms, double bin_seconds, size_t cells_max,
                       bool ascii);

// Returns `text` with control characters shown as '?': names from elsewhere must not move the
// cursor.
std::string printable(std::string_view text);

}  // namespace forerun::cli
