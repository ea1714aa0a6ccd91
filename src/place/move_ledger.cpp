#include "place/move_ledger.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

namespace forerun::place {
namespace {

namespace json = boost::json;

constexpr double kDay_s = 86'400;
// Less than this share of the time on one core is noise.
constexpr double kNoise_ratio = 0.01;

json::object json_of(const MoveRecord& record) {
  return {{"number", record.number},
          {"vm", record.vm},
          {"from", record.from},
          {"to", record.to},
          {"reason", record.reason},
          {"why", record.why},
          {"decided_at", record.decided_at},
          {"ended_at", record.ended_at},
          {"state", move_state_name(record.state)},
          {"attempts", record.attempts},
          {"outcome", record.outcome},
          {"horizon_seconds", record.horizon_s},
          {"confidence", record.confidence},
          {"avoided_core_seconds", record.avoided},
          {"cost_core_seconds", record.cost},
          {"seconds", record.seconds},
          {"scored", record.is_scored},
          {"unmet_with_core_seconds", record.unmet_with},
          {"unmet_without_core_seconds", record.unmet_without},
          {"scored_seconds", record.scored_s}};
}

// Reads a member if it is there and of its type; sets `is_whole` to false if not.
class Reader {
 public:
  explicit Reader(const json::value& value) : object_(value.if_object()) {
    is_whole = object_ != nullptr;
  }
  bool is_whole;

  void read(std::string_view key, std::string& into) {
    if (const json::value* found = find(key); found && found->is_string())
      into = std::string(found->get_string());
    else
      is_whole = false;
  }
  void read(std::string_view key, double& into) {
    const json::value* found = find(key);
    if (found && found->is_number() && std::isfinite(found->to_number<double>()))
      into = found->to_number<double>();
    else
      is_whole = false;
  }
  template <typename T>
  void whole(std::string_view key, T& into) {
    double value = 0;
    read(key, value);
    is_whole = is_whole && value >= 0 && value < 1e15;
    if (is_whole) into = static_cast<T>(value);
  }
  void read(std::string_view key, bool& into) {
    if (const json::value* found = find(key); found && found->is_bool())
      into = found->get_bool();
    else
      is_whole = false;
  }

 private:
  const json::value* find(std::string_view key) {
    return object_ == nullptr ? nullptr : object_->if_contains(key);
  }
  const json::object* object_;
};

bool read(const json::value& value, MoveRecord& record) {
  Reader reader(value);
  std::string state;
  reader.whole("number", record.number);
  reader.read("vm", record.vm);
  reader.read("from", record.from);
  reader.read("to", record.to);
  reader.read("reason", record.reason);
  reader.read("why", record.why);
  reader.whole("decided_at", record.decided_at);
  reader.whole("ended_at", record.ended_at);
  reader.read("state", state);
  reader.whole("attempts", record.attempts);
  reader.read("outcome", record.outcome);
  reader.read("horizon_seconds", record.horizon_s);
  reader.read("confidence", record.confidence);
  reader.read("avoided_core_seconds", record.avoided);
  reader.read("cost_core_seconds", record.cost);
  reader.read("seconds", record.seconds);
  reader.read("scored", record.is_scored);
  reader.read("unmet_with_core_seconds", record.unmet_with);
  reader.read("unmet_without_core_seconds", record.unmet_without);
  reader.read("scored_seconds", record.scored_s);
  for (const auto each : {MoveState::kRunning, MoveState::kDone, MoveState::kAbandoned})
    if (move_state_name(each) == state) record.state = each;
  return reader.is_whole;
}

// What a host's VMs asked for, tick by tick, the newest first.
std::vector<double> demand_on(const FleetSnapshot& fleet, const std::string& host, size_t ticks) {
  std::vector<double> sum(ticks);
  for (const SnapshotVm& vm : fleet.vms) {
    if (vm.host != host) continue;
    for (size_t i = 0; i < std::min(ticks, vm.demand.size()); ++i)
      sum[i] += static_cast<double>(vm.demand[vm.demand.size() - 1 - i]);
  }
  return sum;
}

}  // namespace

std::string_view move_state_name(MoveState state) {
  switch (state) {
    case MoveState::kRunning:
      return "running";
    case MoveState::kDone:
      return "done";
    case MoveState::kAbandoned:
      return "abandoned";
  }
  return "";
}

MoveRecord record_of(const FleetModel& fleet, const PlannedMove& move) {
  MoveRecord record;
  record.vm = fleet.vm_name(move.vm);
  record.from = fleet.host_name(move.from);
  record.to = fleet.host_name(move.to);
  record.reason = std::string(move_reason_name(move.reason));
  record.why = move_sentence(fleet, move);
  record.horizon_s = fleet.snapshot().horizon_s;
  record.confidence = move.value.confidence;
  record.avoided = move.value.avoided;
  record.cost = move.value.cost;
  record.seconds = fleet.snapshot().vms[static_cast<size_t>(move.vm)].move.seconds;
  return record;
}

bool score(const FleetSnapshot& fleet, int64_t now, MoveRecord& record) {
  const auto host = [&](const std::string& name) -> const SnapshotHost* {
    for (const SnapshotHost& each : fleet.hosts)
      if (each.name == name) return &each;
    return nullptr;
  };
  const SnapshotHost* from = host(record.from);
  const SnapshotHost* to = host(record.to);
  const auto vm = std::find_if(fleet.vms.begin(), fleet.vms.end(), [&](const SnapshotVm& each) {
    return each.name == record.vm && each.host == record.to;
  });
  if (from == nullptr || to == nullptr || vm == fleet.vms.end()) return false;
  const double since = std::min(static_cast<double>(now - record.ended_at), record.horizon_s);
  const auto ticks =
      std::min(vm->demand.size(), static_cast<size_t>(std::max(0.0, since / fleet.tick_s)));
  if (ticks == 0) return false;
  const auto at_source = demand_on(fleet, record.from, ticks);
  const auto at_target = demand_on(fleet, record.to, ticks);
  const auto over = [](const SnapshotHost& each, double demand) {
    return std::max(0.0, demand - std::max(0.0, each.cores - each.used_cores));
  };
  record.unmet_with = record.unmet_without = 0;
  for (size_t i = 0; i < ticks; ++i) {
    const auto own = static_cast<double>(vm->demand[vm->demand.size() - 1 - i]);
    record.unmet_with += over(*from, at_source[i]) + over(*to, at_target[i]);
    record.unmet_without += over(*from, at_source[i] + own) + over(*to, at_target[i] - own);
  }
  record.unmet_with *= fleet.tick_s;
  record.unmet_without *= fleet.tick_s;
  record.scored_s = static_cast<double>(ticks) * fleet.tick_s;
  record.is_scored = true;
  return true;
}

std::string verdict_of(const MoveRecord& record) {
  if (!record.is_scored) return "";
  const double avoided = record.unmet_without - record.unmet_with;
  if (avoided > kNoise_ratio * record.scored_s)
    return fmt::format("avoided {:.3g} core seconds of waiting in {:.0f} s", avoided,
                       record.scored_s);
  if (avoided < -kNoise_ratio * record.scored_s)
    return fmt::format("did harm: {:.3g} core seconds more of waiting in {:.0f} s", -avoided,
                       record.scored_s);
  return record.reason == "relief" ? "was needless: nothing would have had to wait"
                                   : "made nothing wait";
}

uint64_t MoveLedger::add(MoveRecord record) {
  record.number = next_++;
  records_.push_back(std::move(record));
  if (records_.size() > kKeptMax) records_.erase(records_.begin());
  return records_.back().number;
}

MoveRecord* MoveLedger::find(uint64_t number) {
  for (MoveRecord& record : records_)
    if (record.number == number) return &record;
  return nullptr;
}

uint32_t MoveLedger::count_since(int64_t unix_seconds) const {
  return static_cast<uint32_t>(
      std::count_if(records_.begin(), records_.end(),
                    [&](const MoveRecord& record) { return record.decided_at > unix_seconds; }));
}

void MoveLedger::tell(FleetSnapshot& fleet, int64_t now) const {
  for (const MoveRecord& record : records_) {
    const auto age = static_cast<double>(now - std::max(record.decided_at, record.ended_at));
    if (age < 0 || age > kDay_s) continue;
    for (SnapshotVm& vm : fleet.vms)
      if (vm.name == record.vm)
        vm.moved_before.push_back(static_cast<uint32_t>(age / fleet.tick_s));
  }
}

bool MoveLedger::score_due(const FleetSnapshot& fleet, int64_t now) {
  bool any = false;
  for (MoveRecord& record : records_) {
    if (record.is_scored || record.state != MoveState::kDone || record.from.empty()) continue;
    if (static_cast<double>(now - record.ended_at) < record.horizon_s) continue;
    // Whatever is not there by twice the horizon does not come back.
    if (static_cast<double>(now - record.ended_at) > 2 * record.horizon_s) continue;
    any |= score(fleet, now, record);
  }
  return any;
}

std::string MoveLedger::encode(size_t bytes_max) const {
  size_t first = records_.size();
  for (size_t bytes = 64; first > 0; --first) {
    if (bytes_max == SIZE_MAX) continue;
    bytes += json::serialize(json_of(records_[first - 1])).size() + 1;
    if (bytes > bytes_max) break;
  }
  json::array items;
  for (size_t i = first; i < records_.size(); ++i) items.push_back(json_of(records_[i]));
  return json::serialize(json::value{{"next", next_}, {"moves", std::move(items)}});
}

Result<MoveLedger> MoveLedger::parse(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error) return fail(ErrorCode::kCorrupt, "it is no ledger of moves");
  MoveLedger ledger;
  Reader reader(value);
  reader.whole("next", ledger.next_);
  const json::value* moves = reader.is_whole ? value.get_object().if_contains("moves") : nullptr;
  if (moves == nullptr || !moves->is_array() || moves->get_array().size() > kKeptMax)
    return fail(ErrorCode::kCorrupt, "it is no ledger of moves");
  for (const json::value& item : moves->get_array())
    if (!read(item, ledger.records_.emplace_back()))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("move {} in the ledger is damaged", ledger.records_.size()));
  return ledger;
}

std::string to_json(const MoveLedger& ledger, const std::string& vm) {
  json::array items;
  const auto& records = ledger.records();
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (!vm.empty() && record->vm != vm) continue;
    json::object item = json_of(*record);
    item["verdict"] = verdict_of(*record);
    items.push_back(std::move(item));
  }
  return json::serialize(json::value{{"items", std::move(items)}});
}

}  // namespace forerun::place
