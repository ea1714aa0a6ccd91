#include "command.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

namespace forerun::link {

namespace {

struct Quantity {
  double number = 0;
  std::string_view unit;
};

Result<Quantity> parse_quantity(std::string_view text) {
  Quantity quantity;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc{} || !(quantity.number >= 0)) {
    return fail(ErrorCode::kInvalid, fmt::format("\"{}\" does not begin with a number", text));
  }
  quantity.unit = text.substr(static_cast<size_t>(end - text.data()));
  return quantity;
}

}  // namespace

Result<uint64_t> parse_rate(std::string_view text) {
  if (text == "none") return 0;
  FR_TRY(const Quantity quantity, parse_quantity(text));
  double bits = 0;
  if (quantity.unit == "kbit") bits = quantity.number * 1e3;
  if (quantity.unit == "mbit") bits = quantity.number * 1e6;
  if (quantity.unit == "gbit") bits = quantity.number * 1e9;
  // Below a byte a second nothing ever arrives; above 1 Tbit/s it is a typing mistake.
  if (bits < 8 || bits > 1e12) {
    return fail(ErrorCode::kInvalid,
                fmt::format("\"{}\" is no rate: write for example 20mbit, or none", text));
  }
  return static_cast<uint64_t>(bits / 8);
}

Result<Nanos> parse_delay(std::string_view text) {
  FR_TRY(const Quantity quantity, parse_quantity(text));
  double seconds = -1;
  if (quantity.unit == "us") seconds = quantity.number * 1e-6;
  if (quantity.unit == "ms") seconds = quantity.number * 1e-3;
  if (quantity.unit == "s") seconds = quantity.number;
  if (quantity.unit.empty() && quantity.number == 0) seconds = 0;
  if (seconds < 0 || seconds > 3600) {
    return fail(ErrorCode::kInvalid,
                fmt::format("\"{}\" is no delay: write for example 10ms, at most 3600s", text));
  }
  return from_seconds(seconds);
}

Result<Command> parse_command(std::string_view line) {
  Command command;
  if (line == "cut") {
    command.kind = Command::Kind::kCut;
  } else if (line == "heal") {
    command.kind = Command::Kind::kHeal;
  } else if (line == "reset") {
    command.kind = Command::Kind::kReset;
  } else if (line == "stats") {
    command.kind = Command::Kind::kStats;
  } else if (line.starts_with("rate ")) {
    command.kind = Command::Kind::kRate;
    FR_TRY(command.rate_bytes_per_s, parse_rate(line.substr(5)));
  } else if (line.starts_with("delay ")) {
    command.kind = Command::Kind::kDelay;
    FR_TRY(command.delay, parse_delay(line.substr(6)));
  } else {
    return fail(ErrorCode::kInvalid,
                fmt::format("unknown command \"{}\": cut, heal, reset, stats, rate R, delay D",
                            line.substr(0, 40)));
  }
  return command;
}

}  // namespace forerun::link
