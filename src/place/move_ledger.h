// What became of planned moves: what was expected of each, whether it was made, and what came of
// it: the demand that was not met, against what would not have been met without it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "place/fleet_model.h"

namespace forerun::place {

enum class MoveState : uint8_t { kRunning, kDone, kAbandoned };
std::string_view move_state_name(MoveState state);

struct MoveRecord {
  uint64_t number = 0;
  std::string vm, from, to, reason, why;
  int64_t decided_at = 0, ended_at = 0;  // unix seconds; 0: not yet
  MoveState state = MoveState::kRunning;
  uint32_t attempts = 0;
  std::string outcome;  // for people: what the migration said, or why it was abandoned
  // Expected. In core seconds within the horizon, as MoveValue.
  double horizon_s = 0, confidence = 0, avoided = 0, cost = 0, seconds = 0;
  // Seen, once the horizon has passed.
  bool is_scored = false;
  double unmet_with = 0, unmet_without = 0;  // core seconds
  double scored_s = 0;                       // of how much time
  bool operator==(const MoveRecord&) const = default;
};

// Returns the record of a move that is about to be made.
MoveRecord record_of(const FleetModel& fleet, const PlannedMove& move);

// What the hosts of a move were asked for beyond what they have, with it, and what they would have
// been without it: every VM's own demand, moved or not, is the counterfactual's. `now` is when the
// fleet was looked at. Returns false if there is nothing to compare: a host or the VM is gone.
bool score(const FleetSnapshot& fleet, int64_t now, MoveRecord& record);

// "avoided 31 core seconds of waiting", "was needless", "did harm"; empty: not scored.
std::string verdict_of(const MoveRecord& record);

// One planner's. One thread. Bounded.
class MoveLedger {
 public:
  static constexpr size_t kKeptMax = 1000;

  // ERRORS: kCorrupt.
  static Result<MoveLedger> parse(std::string_view text);
  // `bytes_max`: older moves are left out beyond it.
  std::string encode(size_t bytes_max = SIZE_MAX) const;

  // Returns its number.
  uint64_t add(MoveRecord record);
  MoveRecord* find(uint64_t number);
  const std::vector<MoveRecord>& records() const { return records_; }  // oldest first
  // Returns how many were begun since.
  uint32_t count_since(int64_t unix_seconds) const;
  // Sets for each VM of the fleet when it was moved, in ticks before `now`; attempts count.
  void tell(FleetSnapshot& fleet, int64_t now) const;
  // Scores what is due. Returns whether anything was.
  bool score_due(const FleetSnapshot& fleet, int64_t now);

 private:
  std::vector<MoveRecord> records_;
  uint64_t next_ = 1;
};

// Returns records as JSON: {"items": […]}; `vm`: only its; empty: all. Newest first.
std::string to_json(const MoveLedger& ledger, const std::string& vm);

}  // namespace forerun::place
