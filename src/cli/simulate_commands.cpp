// forerun simulate: what policies of placement would have done on recorded traces. Without a
// daemon.
#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/simulate_output.h"
#include "cli/text.h"
#include "cli/vm_traces.h"
#include "os/clock.h"
#include "os/file.h"
#include "place/cloudsim_world.h"
#include "place/fleet_world.h"
#include "place/grown_trace.h"
#include "place/policies.h"

namespace forerun::cli {
namespace {

using place::SimResult;

constexpr int kCloudsimHosts = 800;
constexpr int kHosts_max = 100'000;

struct Arguments {
  std::vector<std::string> traces, policies;
  std::string model = "cloudsim4", grow, report;
  int hosts = 0;  // 0: 800, or as many as the trace needs
  bool keep_idle = false;
  uint64_t seed = 1;
  int host_cores = 16;
  double host_mhz = 2600, host_memory_gb = 256, link_gbit = 10;
  bool is_fleet() const { return model == "forerun"; }
};

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
    if (!place::make_policy(name))
      return fail(
          ErrorCode::kInvalid,
          fmt::format("no policy '{}'; there are {}, forerun@LOAD, and those of a number with "
                      "any other",
                      printable(name), fmt::join(known, ", ")));
  return arguments.policies;
}

// "HOSTSxVMS".
struct Fleet {
  int hosts = 0;
  size_t vms = 0;
};
Result<Fleet> parse_fleet(const std::string& text) {
  Fleet fleet;
  const size_t cross = text.find('x');
  if (cross == text.npos || !CLI::detail::lexical_cast(text.substr(0, cross), fleet.hosts) ||
      !CLI::detail::lexical_cast(text.substr(cross + 1), fleet.vms) || fleet.hosts < 1 ||
      fleet.hosts > kHosts_max || fleet.vms < 1 || fleet.vms > trace::VmTraceLimits{}.vms_max)
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not HOSTSxVMS, such as 1000x10000", printable(text)));
  return fleet;
}

Result<std::vector<NamedVmTrace>> read_traces(const Arguments& arguments, size_t vms) {
  std::vector<NamedVmTrace> traces;
  for (const std::string& path : arguments.traces) {
    FR_TRY(auto more, read_vm_traces(path, arguments.host_mhz));
    std::move(more.begin(), more.end(), std::back_inserter(traces));
  }
  if (vms > 0)
    for (NamedVmTrace& named : traces) named.trace = place::grow(named.trace, vms, arguments.seed);
  return traces;
}

using AtShare = std::function<void(double)>;

Result<SimResult> run_cloudsim(const Arguments& arguments, const trace::VmTrace& trace,
                               place::SimPolicy& policy, SimulatedTrace& part, AtShare progress) {
  part.hosts = arguments.hosts > 0 ? arguments.hosts : kCloudsimHosts;
  place::CloudsimWorld world(
      trace,
      {.hosts = part.hosts, .keeps_idle = arguments.keep_idle, .progress = std::move(progress)});
  return world.run(policy);
}

Result<SimResult> run_fleet(const Arguments& arguments, const trace::VmTrace& trace,
                            place::SimPolicy& policy, SimulatedTrace& part, AtShare progress) {
  constexpr double kMbPerGb = 1024, kMbPerGbit = 125;
  place::FleetWorld::Options options{.hosts = arguments.hosts,
                                     .cores = arguments.host_cores,
                                     .core_mhz = arguments.host_mhz,
                                     .memory_mb = arguments.host_memory_gb * kMbPerGb,
                                     .link_mb_per_s = arguments.link_gbit * kMbPerGbit,
                                     .progress = std::move(progress)};
  place::FleetWorld world(trace, std::move(options));
  part.hosts = static_cast<int>(world.hosts().size());
  part.left_out = world.left_out();
  return world.run(policy);
}

Result<int> simulate(const Context& context, Arguments arguments) {
  FR_TRY(const auto policies, wanted_policies(arguments));
  Fleet fleet;
  if (!arguments.grow.empty()) {
    FR_TRY(fleet, parse_fleet(arguments.grow));
    arguments.hosts = fleet.hosts;
  }
  FR_TRY(const auto traces, read_traces(arguments, fleet.vms));
  Report report(context, traces.size() * policies.size());
  Simulated simulated{.model = arguments.model,
                      .is_fleet = arguments.is_fleet(),
                      .keeps_idle = arguments.keep_idle,
                      .seed = arguments.seed,
                      .traces = {}};
  for (const NamedVmTrace& named : traces) {
    SimulatedTrace part{.name = named.name,
                        .vms = named.trace.vms.size(),
                        .interval_s = named.trace.interval_s,
                        .runs = {}};
    for (const std::string& name : policies) {
      const auto policy = place::make_policy(name, arguments.seed);
      const std::string what = fmt::format("{}, {}", named.name, name);
      const auto progress = [&](double share) { report.at(what, share); };
      FR_TRY(auto result, (arguments.is_fleet() ? run_fleet : run_cloudsim)(
                              arguments, named.trace, *policy, part, progress));
      part.runs.push_back({name, std::move(result)});
      report.next();
    }
    simulated.traces.push_back(std::move(part));
  }
  report.finish();
  if (!arguments.report.empty())
    FR_CHECK(os::write_file_atomic(arguments.report, as_bytes(simulated_page(simulated))));
  if (context.output == Output::kTable)
    print(simulated_table(simulated));
  else
    print_json(context, simulated_json(simulated));
  return kExitOk;
}

void add_hosts(CLI::App& app, const std::shared_ptr<Arguments>& arguments) {
  app.add_option("--hosts", arguments->hosts,
                 "how many; without, 800 of two types in turn, or for forerun what the trace needs")
      ->check(CLI::Range(1, kHosts_max));
  app.add_option("--host-cores", arguments->host_cores, "of a host, for forerun")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--host-mhz", arguments->host_mhz, "of a core, for forerun")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
  app.add_option("--host-memory-gb", arguments->host_memory_gb, "for forerun")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  app.add_option("--link-gbit", arguments->link_gbit, "of a host, for forerun")
      ->check(CLI::Range(0.001, 1e5))
      ->capture_default_str();
}

}  // namespace

void add_simulate_command(CLI::App& app, const Context& context, Command& chosen) {
  auto* simulate_app = app.add_subcommand(
      "simulate", "what policies of placement would have done on recorded traces");
  auto arguments = std::make_shared<Arguments>();
  simulate_app
      ->add_option("TRACE", arguments->traces,
                   "folders with a file per VM, or with such folders; files of 'usage export'")
      ->required();
  simulate_app->add_option("--model", arguments->model, "the data centre")
      ->check(CLI::IsMember({"cloudsim4", "forerun"}))
      ->capture_default_str();
  simulate_app->add_option("--policy", arguments->policies, "which; all without")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...");
  add_hosts(*simulate_app, arguments);
  simulate_app->add_flag("--keep-idle", arguments->keep_idle,
                         "keep VMs that ask for nothing; upstream destroys them, forerun never");
  simulate_app->add_option("--grow", arguments->grow, "a fleet of VMs drawn from each trace")
      ->type_name("HOSTSxVMS");
  simulate_app->add_option("--seed", arguments->seed, "of what is drawn")->capture_default_str();
  simulate_app->add_option("--report", arguments->report, "write a page of HTML with pictures")
      ->type_name("FILE");
  simulate_app->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return simulate(context, *arguments); };
  });
}

}  // namespace forerun::cli
