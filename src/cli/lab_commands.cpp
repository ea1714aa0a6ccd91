// forerun lab up|down|list|link|start: hosts on one machine, joined by a switch of our own. Without
// a daemon.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/lab_build.h"
#include "cli/operation.h"
#include "cli/text.h"
#include "net/switch_control.h"
#include "net/tap_switch.h"
#include "os/walk.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr const char* kFolder = "/var/lib/forerun-lab";

struct LinkArguments {
  std::string from, to, delay, rate, queue;
  bool down = false, up = false, one_way = false;
};

struct LabArguments {
  std::string folder = kFolder, subnet = "10.77.0.0/24", prefix = "forerun", host;
  size_t hosts = 2;
  bool keep = false;
  LinkArguments link;
};

// What is asked of a link; what is not said stays as it is.
Result<net::LinkChange> change_of(const LinkArguments& arguments) {
  net::LinkChange change;
  if (!arguments.delay.empty()) {
    FR_TRY(const double seconds, parse_seconds(arguments.delay));
    if (!(seconds >= 0 && seconds <= to_seconds(lab::kLinkDelayMax)))
      return fail(ErrorCode::kInvalid, "the delay of a link is 0 to 60 s");
    change.delay = from_seconds(seconds);
  }
  if (!arguments.rate.empty()) {
    FR_TRY(change.rate_bytes_per_s, parse_bit_rate(arguments.rate));
  }
  if (!arguments.queue.empty()) {
    FR_TRY(change.queue_bytes_max, parse_size(arguments.queue));
  }
  if (arguments.up && arguments.down)
    return fail(ErrorCode::kInvalid, "--up and --down exclude each other");
  if (arguments.up || arguments.down) change.is_up = arguments.up;
  return change;
}

Result<size_t> host_index(const LabRecord& record, const std::string& name) {
  for (size_t i = 0; i < record.plan.hosts.size(); ++i)
    if (record.plan.hosts[i].name == name) return i;
  return fail(ErrorCode::kNotFound,
              fmt::format("the lab has no host '{}': {} to {}", printable(name),
                          record.plan.hosts.front().name, record.plan.hosts.back().name));
}

std::string_view state_of(const LabRecord& record, const os::ProcessId& process) {
  return is_running(record, process) ? "running" : "ended";
}

json::object json_of(const LabRecord& record, const Result<net::SwitchState>& network) {
  json::array hosts, links;
  for (size_t i = 0; i < record.plan.hosts.size(); ++i) {
    const lab::Host& host = record.plan.hosts[i];
    hosts.push_back({{"name", host.name},
                     {"address", host.address},
                     {"namespace", host.name_space},
                     {"pid", record.hosts[i].pid},
                     {"state", state_of(record, record.hosts[i])},
                     {"socket", host.api_socket()},
                     {"folder", host.folder}});
  }
  for (const net::LinkState& link : network ? network->links : std::vector<net::LinkState>{}) {
    if (link.from >= record.plan.hosts.size() || link.to >= record.plan.hosts.size()) continue;
    links.push_back({{"from", record.plan.hosts[link.from].name},
                     {"to", record.plan.hosts[link.to].name},
                     {"is_up", link.settings.is_up},
                     {"delay_seconds", to_seconds(link.settings.delay)},
                     {"rate_bytes_per_s", link.settings.rate_bytes_per_s},
                     {"queue_bytes_max", link.settings.queue_bytes_max},
                     {"frames", link.counters.frames},
                     {"bytes", link.counters.bytes},
                     {"dropped", link.counters.dropped},
                     {"cut", link.counters.cut}});
  }
  return {{"folder", record.plan.folder},
          {"switch", {{"pid", record.network.pid}, {"state", state_of(record, record.network)}}},
          {"hosts", std::move(hosts)},
          {"links", std::move(links)}};
}

std::string table_of(const LabRecord& record, const Result<net::SwitchState>& network) {
  Table hosts({{"HOST"}, {"ADDRESS"}, {"NAMESPACE"}, {"PID", true}, {"STATE"}, {"SOCKET"}});
  for (size_t i = 0; i < record.plan.hosts.size(); ++i) {
    const lab::Host& host = record.plan.hosts[i];
    hosts.add({host.name, host.address, host.name_space, fmt::to_string(record.hosts[i].pid),
               std::string(state_of(record, record.hosts[i])), host.api_socket()});
  }
  std::string text = hosts.text() + "\n";
  if (!network)
    return text + fmt::format("The switch, pid {}, {}: {}\n", record.network.pid,
                              is_running(record, record.network)
                                  ? "does not answer"
                                  : "has ended, and the network with it; forerun lab down, then up",
                              network.error().message);
  Table links({{"LINK"},
               {"STATE"},
               {"DELAY", true},
               {"RATE", true},
               {"FRAMES", true},
               {"BYTES", true},
               {"DROPPED", true},
               {"CUT", true}});
  for (const net::LinkState& link : network->links) {
    if (link.from >= record.plan.hosts.size() || link.to >= record.plan.hosts.size()) continue;
    links.add(
        {fmt::format("{} > {}", record.plan.hosts[link.from].name, record.plan.hosts[link.to].name),
         link.settings.is_up ? "up" : "down", show_seconds(to_seconds(link.settings.delay)),
         show_bit_rate(link.settings.rate_bytes_per_s), show_count(link.counters.frames),
         show_bytes(static_cast<double>(link.counters.bytes)), show_count(link.counters.dropped),
         show_count(link.counters.cut)});
  }
  return text + links.text();
}

Result<int> show(const Context& context, const LabRecord& record) {
  const auto network = net::ask_switch(record.plan.control_socket(), {});
  if (context.output == Output::kTable)
    print(table_of(record, network));
  else
    print(json::serialize(json_of(record, network)) + "\n");
  return kExitOk;
}

Result<int> up(const Context& context, const LabArguments& arguments) {
  FR_CHECK(check_lab_rights());
  FR_TRY(const std::string folder, absolute_path(arguments.folder));
  FR_TRY(const lab::Plan plan,
         lab::plan_lab({folder, arguments.hosts, arguments.subnet, arguments.prefix}));
  FR_TRY(const net::LinkChange asked, change_of(arguments.link));
  const lab::LinkSettings link{asked.delay.value_or(Nanos{}), asked.rate_bytes_per_s.value_or(0),
                               asked.queue_bytes_max.value_or(0), true};
  FR_CHECK(net::check_link(link));
  FR_TRY(const os::Fd lock, lock_lab(folder));
  FR_TRY(const LabRecord record, build_lab(plan, link));
  return show(context, record);
}

Result<int> down(const LabArguments& arguments) {
  FR_CHECK(check_lab_rights());
  FR_TRY(const std::string folder, absolute_path(arguments.folder));
  if (!os::path_exists(lab_record_path(folder))) {
    fmt::print(stderr, "no lab is up in {}\n", folder);
    return kExitOk;
  }
  FR_TRY(const os::Fd lock, lock_lab(folder));
  FR_TRY(const LabRecord record, load_lab(folder));
  FR_CHECK(end_lab(record, arguments.keep));
  if (arguments.keep) return kExitOk;
  FR_CHECK(os::remove_tree(folder + "/lock"));
  [[maybe_unused]] const Status emptied = os::remove_folder(folder);  // others' files may be in it
  return kExitOk;
}

Result<int> list(const Context& context, const LabArguments& arguments) {
  FR_TRY(const std::string folder, absolute_path(arguments.folder));
  FR_TRY(const LabRecord record, load_lab(folder));
  return show(context, record);
}

Result<int> link(const LabArguments& arguments) {
  FR_TRY(const std::string folder, absolute_path(arguments.folder));
  FR_TRY(const LabRecord record, load_lab(folder));
  FR_TRY(net::LinkChange change, change_of(arguments.link));
  FR_TRY(change.from, host_index(record, arguments.link.from));
  FR_TRY(change.to, host_index(record, arguments.link.to));
  if (change.from == change.to)
    return fail(ErrorCode::kInvalid, "a link joins two different hosts");
  if (change == net::LinkChange{.from = change.from, .to = change.to})
    return fail(ErrorCode::kInvalid, "say what to change: --down, --up, --delay, --rate, --queue");
  std::vector<net::LinkChange> changes = {change};
  if (!arguments.link.one_way) {
    std::swap(change.from, change.to);
    changes.push_back(change);
  }
  FR_CHECK(net::ask_switch(record.plan.control_socket(), changes));
  return kExitOk;
}

Result<int> start(const LabArguments& arguments) {
  FR_CHECK(check_lab_rights());
  FR_TRY(const std::string folder, absolute_path(arguments.folder));
  FR_TRY(LabRecord record, load_lab(folder));
  FR_TRY(const os::Fd lock, lock_lab(folder));
  FR_TRY(const size_t index, host_index(record, arguments.host));
  FR_CHECK(start_host(record, index));
  return kExitOk;
}

void add_link_options(CLI::App& command, LinkArguments& link) {
  command.add_option("--delay", link.delay, "one way: 5ms, 1s")->type_name("TIME");
  command.add_option("--rate", link.rate, "200mbit, 1gbit; none: as fast as it goes")
      ->type_name("RATE");
  command
      .add_option("--queue", link.queue,
                  "what may wait for the wire; 0: 50 ms of the rate, at least 256K")
      ->type_name("SIZE");
}

// The process that `lab up` starts. Not for people: its arguments are what `lab up` says.
void add_switch(CLI::App& lab, Command& chosen) {
  auto options = std::make_shared<net::TapSwitchOptions>();
  auto delay_ns = std::make_shared<int64_t>(0);
  auto* command = lab.add_subcommand("switch", "the network of a lab, as a process")->group("");
  command->add_option("--control", options->control_socket)->required();
  command->add_option("--port", options->name_spaces)->required();
  command->add_option("--delay-ns", *delay_ns);
  command->add_option("--rate-bytes", options->link.rate_bytes_per_s);
  command->add_option("--queue-bytes", options->link.queue_bytes_max);
  command->callback([options, delay_ns, &chosen] {
    chosen = [options, delay_ns]() -> Result<int> {
      options->link.delay = Nanos(*delay_ns);
      FR_CHECK(net::run_tap_switch(*options));
      return kExitOk;
    };
  });
}

}  // namespace

void add_lab_commands(CLI::App& app, const Context& context, Command& chosen) {
  auto* lab = app.add_subcommand("lab", "hosts on one machine, joined by a network of our own");
  lab->require_subcommand(1);
  auto arguments = std::make_shared<LabArguments>();
  lab->add_option("--dir", arguments->folder, "where the lab's hosts keep everything")
      ->type_name("DIR")
      ->capture_default_str();

  auto* command = lab->add_subcommand("up", "Put a lab up: namespaces, a switch, daemons");
  command->add_option("--hosts", arguments->hosts, "2 to 16: a, b, …")->capture_default_str();
  add_link_options(*command, arguments->link);
  command->add_option("--subnet", arguments->subnet, "addresses of hosts and VMs")
      ->capture_default_str();
  command->add_option("--prefix", arguments->prefix, "of the names of network namespaces")
      ->capture_default_str();
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return up(context, *arguments); };
  });

  command = lab->add_subcommand("down", "Take the lab down, VMs and all");
  command->add_flag("--keep", arguments->keep, "leave the files: lab up finds the hosts' state");
  command->callback([&chosen, arguments] { chosen = [arguments] { return down(*arguments); }; });

  lab->add_subcommand("list", "Show hosts and links")->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return list(context, *arguments); };
  });

  command = lab->add_subcommand("link", "Change the link between two hosts, both ways, at once");
  command->add_option("A", arguments->link.from, "a host")->required();
  command->add_option("B", arguments->link.to, "another")->required();
  command->add_flag("--down", arguments->link.down, "cut it: what is on its way is lost");
  command->add_flag("--up", arguments->link.up, "heal it");
  command->add_flag("--one-way", arguments->link.one_way, "only from A to B");
  add_link_options(*command, arguments->link);
  command->callback([&chosen, arguments] { chosen = [arguments] { return link(*arguments); }; });

  command = lab->add_subcommand("start", "Start the forerund of a host that has ended");
  command->add_option("HOST", arguments->host, "a host")->required();
  command->callback([&chosen, arguments] { chosen = [arguments] { return start(*arguments); }; });
  add_switch(*lab, chosen);
}

}  // namespace forerun::cli
