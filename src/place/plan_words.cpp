// A plan for people and programs.
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "place/fleet_model.h"

namespace forerun::place {
namespace {

namespace json = boost::json;

constexpr double kMib = 1024.0 * 1024;

std::string percent(double ratio) {
  if (ratio > 0 && ratio < 0.005) return "< 1 %";
  if (ratio > 0.995 && ratio < 1) return "> 99 %";
  return fmt::format("{:.0f} %", 100 * ratio);
}

double load_ratio(const HostLoad& load) { return load.is_foreseen ? load.ahead : load.mean; }

std::string load_words(const HostLoad& load) {
  return fmt::format("{} of its CPUs now, {} expected, over with {}", percent(load.now),
                     percent(load_ratio(load)), percent(over_probability(load)));
}

double rounded(double value) { return std::round(value * 1e6) / 1e6; }

json::object json_of(const HostLoad& load) {
  json::object object{{"now", rounded(load.now)},
                      {"mean", rounded(load.mean)},
                      {"sd", rounded(load.sd)},
                      {"over_probability", rounded(over_probability(load))}};
  if (load.is_foreseen) {
    object["ahead"] = rounded(load.ahead);
    object["ahead_sd"] = rounded(load.ahead_sd);
  }
  return object;
}

class Words {
 public:
  explicit Words(const FleetModel& fleet) : fleet_(fleet) {}

  std::string rule(int id) const {
    if (id < 0) return "";
    return fleet_.state().rules[static_cast<size_t>(id)].name;
  }
  std::string seconds(uint32_t ticks) const {
    return fmt::format("{:.0f} s", ticks * fleet_.snapshot().tick_s);
  }
  std::string of(const Rejected& rejected, const std::string& chosen) const;
  json::object json_of_rejected(const Rejected& rejected, const std::string& chosen) const;
  json::object json_of_move(const PlannedMove& move) const;
  json::object json_of_unrelieved(const Unrelieved& unrelieved) const;

 private:
  const FleetModel& fleet_;
};

std::string Words::of(const Rejected& rejected, const std::string& chosen) const {
  const std::string& vm = fleet_.vm_name(rejected.vm);
  const std::string& host = fleet_.host_name(rejected.host);
  switch (rejected.reason) {
    case RejectReason::kMemory:
      return fmt::format("{} has too little memory: {:.0f} MiB with {}, of {:.0f}", host,
                         rejected.memory_mb, vm,
                         fleet_.state().hosts[static_cast<size_t>(rejected.host)].memory_mb);
    case RejectReason::kLoad:
      return fmt::format("{} with {} would be asked for too much: {}", host, vm,
                         load_words(rejected.after));
    case RejectReason::kCore:
      return fmt::format("a core of {} is too slow for {}", host, vm);
    case RejectReason::kRule:
      if (rejected.host < 0) return fmt::format("{} has to stay with others that cannot move", vm);
      return fmt::format("{} on {} would break the rule \"{}\"", vm, host, rule(rejected.rule));
    case RejectReason::kWorse:
      return fmt::format("{} would do, {} is better: {} with {}: {}", host, chosen, host, vm,
                         load_words(rejected.after));
    case RejectReason::kPinned:
      return fmt::format("{} may not move", vm);
    case RejectReason::kCoolingDown:
      if (rejected.ticks_left == 0) return fmt::format("{} moves already", vm);
      return fmt::format("{} moved lately: it stays for another {}", vm,
                         seconds(rejected.ticks_left));
    case RejectReason::kNotWorth:
      return fmt::format(
          "moving {} to {} is not worth it: it would avoid {:.3g} core seconds of waiting, and "
          "cost {:.3g}",
          vm, host, rejected.value.avoided, rejected.value.cost);
    case RejectReason::kPayback:
      return fmt::format("moving {} to {} pays only after {:.0f} s", vm, host,
                         rejected.value.payback_s);
    case RejectReason::kNoHost:
      return fmt::format("no host has room for {}", vm);
    case RejectReason::kMoveLimit:
      return fmt::format("{} stays: as many VMs as may move now do", vm);
  }
  return "";
}

json::object Words::json_of_rejected(const Rejected& rejected, const std::string& chosen) const {
  json::object object{{"vm", fleet_.vm_name(rejected.vm)},
                      {"reason", reject_reason_name(rejected.reason)},
                      {"why", of(rejected, chosen)}};
  if (rejected.host >= 0) object["host"] = fleet_.host_name(rejected.host);
  if (rejected.rule >= 0) object["rule"] = rule(rejected.rule);
  if (rejected.host >= 0 && rejected.reason != RejectReason::kMemory &&
      rejected.reason != RejectReason::kRule)
    object["after"] = json_of(rejected.after);
  if (rejected.memory_mb > 0) object["memory_bytes"] = std::round(rejected.memory_mb * kMib);
  if (rejected.reason == RejectReason::kNotWorth || rejected.reason == RejectReason::kPayback) {
    object["avoided_core_seconds"] = rounded(rejected.value.avoided);
    object["cost_core_seconds"] = rounded(rejected.value.cost);
  }
  return object;
}

json::object Words::json_of_move(const PlannedMove& move) const {
  const SnapshotVm& vm = fleet_.snapshot().vms[static_cast<size_t>(move.vm)];
  const std::string& to = fleet_.host_name(move.to);
  json::object object{{"vm", vm.name},
                      {"from", fleet_.host_name(move.from)},
                      {"to", to},
                      {"reason", move_reason_name(move.reason)},
                      {"why", move_sentence(fleet_, move)},
                      {"confidence", rounded(move.value.confidence)},
                      {"avoided_core_seconds", rounded(move.value.avoided)},
                      {"cost_core_seconds", rounded(move.value.cost)},
                      {"bytes", vm.move.bytes},
                      {"seconds", vm.move.seconds},
                      {"downtime_seconds", vm.move.downtime_s},
                      {"forecast_by", fleet_.method(move.vm)},
                      {"hosts_considered", move.alternatives.considered}};
  if (std::isfinite(move.value.payback_s))
    object["payback_seconds"] = rounded(move.value.payback_s);
  if (move.rule >= 0) object["rule"] = rule(move.rule);
  if (!vm.category.empty()) object["category"] = vm.category;
  if (move.from >= 0) {
    object["from_before"] = json_of(move.from_before);
    object["from_after"] = json_of(move.from_after);
  }
  object["to_before"] = json_of(move.to_before);
  object["to_after"] = json_of(move.to_after);
  json::array rejected;
  for (const Rejected& each : move.rejected) rejected.push_back(json_of_rejected(each, to));
  object["rejected"] = std::move(rejected);
  return object;
}

json::object Words::json_of_unrelieved(const Unrelieved& unrelieved) const {
  const std::string& host = fleet_.host_name(unrelieved.host);
  const std::string& vm = fleet_.vm_name(unrelieved.vm);
  std::string what =
      fmt::format("{} will be asked for too much ({})", host, load_words(unrelieved.load));
  if (unrelieved.rule >= 0)
    what = fmt::format("the rule \"{}\" does not hold{}", rule(unrelieved.rule),
                       vm.empty() ? "" : ", for " + vm);
  else if (host.empty())
    what = fmt::format("{} finds no host", vm);
  else if (!vm.empty())
    what = fmt::format("{} cannot leave {}", vm, host);
  const auto why = [&]() -> std::string_view {
    switch (unrelieved.why) {
      case Unrelieved::Why::kCoolingDown:
        return "all that could go may not move, or moved lately";
      case Unrelieved::Why::kNoHost:
        return "no host can take what would have to go";
      case Unrelieved::Why::kNotWorth:
        return "no move is worth what it costs";
      case Unrelieved::Why::kMoveLimit:
        return "as many VMs as may move now do";
    }
    return "";
  };
  json::array rejected;
  for (const Rejected& each : unrelieved.rejected) rejected.push_back(json_of_rejected(each, ""));
  json::object object{{"host", host},
                      {"vm", vm},
                      {"reason", unrelieved_reason_name(unrelieved.why)},
                      {"why", fmt::format("{}: {}", what, why())},
                      {"rejected", std::move(rejected)}};
  if (unrelieved.rule >= 0) object["rule"] = rule(unrelieved.rule);
  if (unrelieved.host >= 0) object["load"] = json_of(unrelieved.load);
  return object;
}

std::string verdict_of(const Plan& plan) {
  if (!plan.moves.empty())
    return fmt::format("{} move{}", plan.moves.size(), plan.moves.size() == 1 ? "" : "s");
  return plan.unrelieved.empty() ? "no move is worth making" : "no move helps";
}

}  // namespace

std::string move_sentence(const FleetModel& fleet, const PlannedMove& move) {
  const std::string& from = fleet.host_name(move.from);
  const std::string after =
      fmt::format("{} then: {}", fleet.host_name(move.to), load_words(move.to_after));
  switch (move.reason) {
    case MoveReason::kRelief:
      return fmt::format("{} is asked for {}; without it {}. {}", from,
                         load_words(move.from_before), percent(load_ratio(move.from_after)), after);
    case MoveReason::kConsolidate:
      return fmt::format("{} is not needed. {}", from, after);
    case MoveReason::kDrain:
      return fmt::format("{} is drained. {}", from, after);
    case MoveReason::kRule:
      return fmt::format("the rule \"{}\" asks for it. {}",
                         fleet.state().rules[static_cast<size_t>(move.rule)].name, after);
    case MoveReason::kPlace:
      return fmt::format("it starts. {}", after);
  }
  return "";
}

std::string plan_json(const FleetModel& fleet, const Plan& plan,
                      const std::vector<std::string>& supposed, const std::string& as_of,
                      const std::vector<std::string>& notes) {
  const Words words(fleet);
  const LoadBook book(fleet.state(), LoadBook::Options{});
  json::array hosts, moves, unrelieved, questions, noted;
  for (size_t h = 0; h < fleet.state().hosts.size(); ++h) {
    const SnapshotHost& host = fleet.snapshot().hosts[h];
    const int id = static_cast<int>(h);
    hosts.push_back({{"name", host.name},
                     {"zone", host.zone},
                     {"cores", host.cores},
                     {"vms", book.vms(id).size()},
                     {"memory_bytes", host.memory_bytes},
                     {"vm_memory_bytes", std::round(book.memory_mb(id) * kMib)},
                     {"drained", host.is_drained},
                     {"load", json_of(book.load(id))}});
  }
  for (const PlannedMove& move : plan.moves) moves.push_back(words.json_of_move(move));
  for (const Unrelieved& each : plan.unrelieved)
    unrelieved.push_back(words.json_of_unrelieved(each));
  for (const std::string& question : supposed) questions.emplace_back(question);
  for (const std::string& note : notes) noted.emplace_back(note);
  return json::serialize(json::value{{"as_of", as_of},
                                     {"supposed", std::move(questions)},
                                     {"horizon_seconds", fleet.snapshot().horizon_s},
                                     {"vms", fleet.snapshot().vms.size()},
                                     {"hosts", std::move(hosts)},
                                     {"verdict", verdict_of(plan)},
                                     {"moves", std::move(moves)},
                                     {"unrelieved", std::move(unrelieved)},
                                     {"notes", std::move(noted)}});
}

}  // namespace forerun::place
