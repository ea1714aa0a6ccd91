#include "cli/simulate_output.h"

#include <boost/json.hpp>

#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using place::SimResult;

double percent(double ratio) { return 100 * ratio; }

json::object json_of(const SimResult& result, bool is_fleet) {
  json::object object{{"kwh", result.kwh},
                      {"migrations", result.migrations},
                      {"slatah", percent(result.sla.slatah)},
                      {"slatah_corrected", percent(result.sla.slatah_corrected)},
                      {"pdm", percent(result.sla.pdm)},
                      {"unserved", percent(result.sla.unserved)},
                      {"unserved_overload", percent(result.sla.unserved - result.sla.pdm)},
                      {"average", percent(result.sla.average)},
                      {"slav", result.sla.slatah * result.sla.pdm},
                      {"esv", result.kwh * result.sla.slatah * result.sla.pdm},
                      {"shutdowns", result.shutdowns},
                      {"active_host_hours", result.active_host_hours}};
  if (!is_fleet) return object;
  object["contention_s"] = result.contention_s;
  object["waited_vm_s"] = result.waited_vm_s;
  object["moved_gb"] = result.moved_gb;
  object["moving_s"] = result.moving_s;
  object["memory_max"] = percent(result.memory_share_max);
  object["moves_refused"] = result.moves_refused;
  return object;
}

Table cloudsim_table(const SimulatedTrace& trace) {
  Table table({{"POLICY"},
               {"kWh", true},
               {"MOVES", true},
               {"SLATAH %", true},
               {"CORRECTED %", true},
               {"PDM %", true},
               {"UNSERVED %", true},
               {"AVERAGE %", true},
               {"SHUTDOWNS", true}});
  for (const auto& [policy, result] : trace.runs)
    table.add({policy, fmt::format("{:.2f}", result.kwh), show_count(result.migrations),
               fmt::format("{:.2f}", percent(result.sla.slatah)),
               fmt::format("{:.3f}", percent(result.sla.slatah_corrected)),
               fmt::format("{:.3f}", percent(result.sla.pdm)),
               fmt::format("{:.3f}", percent(result.sla.unserved)),
               fmt::format("{:.2f}", percent(result.sla.average)), show_count(result.shutdowns)});
  return table;
}

Table fleet_table(const SimulatedTrace& trace) {
  Table table({{"POLICY"},
               {"kWh", true},
               {"HOST HOURS", true},
               {"MOVES", true},
               {"MOVED GB", true},
               {"CONTENTION s", true},
               {"WAITED s", true},
               {"UNSERVED %", true},
               {"MEMORY %", true},
               {"REFUSED", true}});
  for (const auto& [policy, result] : trace.runs)
    table.add({policy, fmt::format("{:.2f}", result.kwh),
               fmt::format("{:.1f}", result.active_host_hours), show_count(result.migrations),
               fmt::format("{:.1f}", result.moved_gb), fmt::format("{:.0f}", result.contention_s),
               fmt::format("{:.0f}", result.waited_vm_s),
               fmt::format("{:.4f}", percent(result.sla.unserved)),
               fmt::format("{:.1f}", percent(result.memory_share_max)),
               show_count(result.moves_refused)});
  return table;
}

}  // namespace

std::string simulated_table(const Simulated& simulated) {
  std::string text;
  for (const SimulatedTrace& trace : simulated.traces) {
    if (!text.empty()) text += "\n";
    text += fmt::format("{}: {} VMs", printable(trace.name), show_count(trace.vms));
    if (simulated.is_fleet) text += fmt::format(" on {} hosts", trace.hosts);
    if (trace.left_out > 0)
      text += fmt::format(", without {} that no host has the memory for", trace.left_out);
    text += "\n";
    text += (simulated.is_fleet ? fleet_table(trace) : cloudsim_table(trace)).text();
  }
  return text;
}

std::string simulated_json(const Simulated& simulated) {
  json::object traces;
  for (const SimulatedTrace& trace : simulated.traces) {
    json::object policies;
    for (const SimulatedRun& run : trace.runs)
      policies[run.policy] = json_of(run.result, simulated.is_fleet);
    json::object part{{"vms", trace.vms}, {"hosts", trace.hosts}};
    if (simulated.is_fleet) part["left_out"] = trace.left_out;
    part["policies"] = std::move(policies);
    traces[trace.name] = std::move(part);
  }
  json::object all{{"model", simulated.model}, {"seed", simulated.seed}};
  if (!simulated.traces.empty()) all["hosts"] = simulated.traces[0].hosts;
  if (!simulated.is_fleet) all["idle_kept"] = simulated.keeps_idle;
  all["traces"] = std::move(traces);
  return json::serialize(all);
}

}  // namespace forerun::cli
