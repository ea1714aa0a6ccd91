// forerun simulate: what policies of placement would have done on recorded traces. Without a
// daemon.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/vm_traces.h"
#include "os/clock.h"
#include "place/policies.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using place::SimResult;

struct Arguments {
  std::vector<std::string> folders, policies;
  std::string model = "cloudsim4";
  int hosts = 800;
  bool keep_idle = false;
};

struct Run {
  std::string policy;
  SimResult result;
};

struct Part {
  std::string trace;
  size_t vms = 0;
  std::vector<Run> runs;
};

double percent(double ratio) { return 100 * ratio; }

json::object json_of(const SimResult& result) {
  return {{"kwh", result.kwh},
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
}

json::object result_json(const Arguments& arguments, const std::vector<Part>& parts) {
  json::object traces;
  for (const Part& part : parts) {
    json::object policies;
    for (const Run& run : part.runs) policies[run.policy] = json_of(run.result);
    traces[part.trace] = {{"vms", part.vms}, {"policies", std::move(policies)}};
  }
  return {{"model", arguments.model},
          {"hosts", arguments.hosts},
          {"idle_kept", arguments.keep_idle},
          {"traces", std::move(traces)}};
}

std::string result_table(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& part : parts) {
    Table table({{"POLICY"},
                 {"kWh", true},
                 {"MOVES", true},
                 {"SLATAH %", true},
                 {"CORRECTED %", true},
                 {"PDM %", true},
                 {"UNSERVED %", true},
                 {"AVERAGE %", true},
                 {"SHUTDOWNS", true}});
    for (const auto& [policy, result] : part.runs)
      table.add({policy, fmt::format("{:.2f}", result.kwh), show_count(result.migrations),
                 fmt::format("{:.2f}", percent(result.sla.slatah)),
                 fmt::format("{:.3f}", percent(result.sla.slatah_corrected)),
                 fmt::format("{:.3f}", percent(result.sla.pdm)),
                 fmt::format("{:.3f}", percent(result.sla.unserved)),
                 fmt::format("{:.2f}", percent(result.sla.average)), show_count(result.shutdowns)});
    text += fmt::format("{}{}: {} VMs\n{}", text.empty() ? "" : "\n", printable(part.trace),
                        show_count(part.vms), table.text());
  }
  return text;
}

// Says how far the whole work is; `done` and `all` count runs.
class Report {
 public:
  Report(const Context& context, size_t all)
      : progress_(Progress::style_for(context), clock_.now()), all_(all) {}
  void at(const std::string& what, double share) {
    const double whole = (static_cast<double>(done_) + share) / static_cast<double>(all_);
    const auto text =
        progress_.update({.message = fmt::format("{:.0f} %, {}", 100 * whole, what)}, clock_.now());
    if (!text.empty()) fmt::print(stderr, "{}", text);
  }
  void next() { ++done_; }
  void finish() { fmt::print(stderr, "{}", progress_.finish()); }

 private:
  os::SystemClock clock_;
  Progress progress_;
  size_t all_, done_ = 0;
};

Result<std::vector<std::string>> wanted_policies(const Arguments& arguments) {
  const auto known = place::policy_names();
  if (arguments.policies.empty()) return std::vector<std::string>(known.begin(), known.end());
  for (const std::string& name : arguments.policies)
    if (std::find(known.begin(), known.end(), name) == known.end())
      return fail(ErrorCode::kInvalid,
                  fmt::format("no policy '{}'; there are {}", name, fmt::join(known, ", ")));
  return arguments.policies;
}

Result<int> simulate(const Context& context, const Arguments& arguments) {
  FR_TRY(const auto policies, wanted_policies(arguments));
  std::vector<NamedVmTrace> traces;
  for (const std::string& folder : arguments.folders) {
    FR_TRY(auto more, read_vm_traces(folder));
    std::move(more.begin(), more.end(), std::back_inserter(traces));
  }
  Report report(context, traces.size() * policies.size());
  std::vector<Part> parts;
  for (const NamedVmTrace& named : traces) {
    Part part{named.name, named.trace.vms.size(), {}};
    for (const std::string& name : policies) {
      const auto policy = place::make_policy(name);
      const std::string what = fmt::format("{}, {}", named.name, name);
      place::CloudsimWorld world(named.trace,
                                 {.hosts = arguments.hosts,
                                  .keeps_idle = arguments.keep_idle,
                                  .progress = [&](double share) { report.at(what, share); }});
      FR_TRY(const SimResult result, world.run(*policy));
      part.runs.push_back({name, result});
      report.next();
    }
    parts.push_back(std::move(part));
  }
  report.finish();
  if (context.output == Output::kTable)
    print(result_table(parts));
  else
    print_json(context, json::serialize(result_json(arguments, parts)));
  return kExitOk;
}

}  // namespace

void add_simulate_command(CLI::App& app, const Context& context, Command& chosen) {
  auto* simulate_app = app.add_subcommand(
      "simulate", "what policies of placement would have done on recorded traces");
  auto arguments = std::make_shared<Arguments>();
  simulate_app
      ->add_option("TRACE", arguments->folders, "folders with a file per VM, or with such folders")
      ->required();
  simulate_app->add_option("--model", arguments->model, "the data centre")
      ->check(CLI::IsMember({"cloudsim4"}))
      ->capture_default_str();
  simulate_app->add_option("--policy", arguments->policies, "which; all without")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...");
  simulate_app->add_option("--hosts", arguments->hosts, "hosts, of two types in turn")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  simulate_app->add_flag("--keep-idle", arguments->keep_idle,
                         "keep VMs that ask for nothing; upstream destroys them");
  simulate_app->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return simulate(context, *arguments); };
  });
}

}  // namespace forerun::cli
