// forerun host, forerun cluster: the hosts that there are, and who leads them.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

std::string or_dash(const std::string& text) { return text.empty() ? "–" : text; }

std::string labels_of(const json::object& host) {
  std::string labels;
  for (const json::value& label : list_of(host, "labels"))
    if (label.is_string()) labels += (labels.empty() ? "" : " ") + std::string(label.as_string());
  return labels;
}

Result<int> list_hosts(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/hosts"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"NAME"},
               {"ADDRESS"},
               {"REACHABLE"},
               {"LEASE"},
               {"LEADS"},
               {"ZONE"},
               {"CPUS", true},
               {"MEMORY", true},
               {"LABELS"},
               {"WHY NOT"}});
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& host = item.as_object();
    const double memory_bytes = number_of(host, "memory_bytes");
    const uint64_t cpus = count_of(host, "cpus");
    table.add({text_of(host, "name") + (flag_of(host, "self") ? " (this host)" : ""),
               or_dash(text_of(host, "address")), flag_of(host, "reachable") ? "yes" : "no",
               or_dash(text_of(host, "lease")), flag_of(host, "leader") ? "yes" : "no",
               or_dash(text_of(host, "zone")), cpus == 0 ? "–" : show_count(cpus),
               memory_bytes == 0 ? "–" : show_bytes(memory_bytes), labels_of(host),
               text_of(host, "detail")});
  }
  print(table.text());
  return kExitOk;
}

Result<int> forget_host(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_CHECK(context.remove("/api/v1/hosts/" + name));
  return kExitOk;
}

Result<int> show_cluster(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/cluster"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  const std::string leader = text_of(answer, "leader");
  const std::string error = text_of(answer, "error");
  std::string text =
      fmt::format("cluster {}, kept in {}\n", text_of(answer, "name"), text_of(answer, "store"));
  text += fmt::format("host    {}, zone {}: {}, {} of its lease of {} left\n",
                      text_of(answer, "host"), text_of(answer, "zone"),
                      flag_of(answer, "registered") ? "registered" : "not registered",
                      show_seconds(number_of(answer, "lease_left_seconds")),
                      show_seconds(number_of(answer, "lease_seconds")));
  text += leader.empty() ? "leader  nobody\n"
                         : fmt::format("leader  {}{}, token {}\n", leader,
                                       flag_of(answer, "is_leader") ? " (this host)" : "",
                                       count_of(answer, "leader_token"));
  text += fmt::format("fence   acts with a token below {} are refused\n",
                      count_of(answer, "fence_token"));
  text += fmt::format("hosts   {} known, {} with a lease\n", count_of(answer, "hosts"),
                      count_of(answer, "hosts_alive"));
  if (!error.empty()) text += fmt::format("store   does not answer: {}\n", error);
  print(text);
  return kExitOk;
}

}  // namespace

void add_host_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* host = app.add_subcommand("host", "The hosts of the cluster, and those that VMs go to");
  host->require_subcommand(1);
  host->add_subcommand("list", "List them, whether they answer, and their leases")
      ->callback([&context, &chosen] { chosen = [&context] { return list_hosts(context); }; });
  CLI::App* forget = host->add_subcommand("forget", "Forget a host that is gone for good");
  auto name = std::make_shared<std::string>();
  forget->add_option("NAME", *name, "a host whose lease has ended")->required();
  forget->callback([&context, &chosen, name] {
    chosen = [&context, name] { return forget_host(context, *name); };
  });
  CLI::App* cluster = app.add_subcommand("cluster", "What all hosts agree on");
  cluster->require_subcommand(1);
  cluster->add_subcommand("status", "This host's lease, who leads, and whether the store answers")
      ->callback([&context, &chosen] { chosen = [&context] { return show_cluster(context); }; });
}

}  // namespace forerun::cli
