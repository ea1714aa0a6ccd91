// What the lab's switch is asked over its control socket, and what it answers: a JSON message each
// way. The socket is its owner's only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "lab/switch.h"

namespace forerun::net {

// What is to change of the link from one port to another; what is not said stays.
struct LinkChange {
  size_t from = 0, to = 0;
  std::optional<Nanos> delay = std::nullopt;
  std::optional<uint64_t> rate_bytes_per_s = std::nullopt;
  std::optional<uint64_t> queue_bytes_max = std::nullopt;
  std::optional<bool> is_up = std::nullopt;
  bool operator==(const LinkChange&) const = default;
};

struct LinkState {
  size_t from = 0, to = 0;
  lab::LinkSettings settings;
  lab::LinkCounters counters;
  bool operator==(const LinkState&) const = default;
};

struct SwitchState {
  std::vector<LinkState> links;
  std::vector<uint64_t> lost;  // [port]: frames that its device did not take
  bool operator==(const SwitchState&) const = default;
};

inline constexpr size_t kSwitchRequestBytesMax = 64 * 1024;
inline constexpr size_t kSwitchAnswerBytesMax = 192 * 1024;

// ERRORS: kInvalid: a value is over its limit (lab/link.h).
Status check_link(const lab::LinkSettings& settings);

std::string encode_changes(const std::vector<LinkChange>& changes);
// ERRORS: kInvalid.
Result<std::vector<LinkChange>> decode_changes(std::string_view text);
std::string encode_state(const SwitchState& state);
std::string encode_refusal(const Error& error);
// ERRORS: kInvalid with what encode_refusal was given; kCorrupt.
Result<SwitchState> decode_state(std::string_view text);

// Makes all of the changes, or none, and returns how the switch is then. ERRORS: kUnavailable (no
// switch answers), kTimedOut, kInvalid.
Result<SwitchState> ask_switch(const std::string& socket, const std::vector<LinkChange>& changes);

}  // namespace forerun::net
