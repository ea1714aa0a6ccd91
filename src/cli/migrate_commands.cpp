// forerun vm migrate, forerun explain migration: VMs between hosts.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

struct MigrateArguments {
  std::string name, to, mode = "auto", downtime = "300ms", rate, within;
  uint64_t degradation_percent = 50;
  bool is_stock = false, without_forwards = false, no_wait = false, cancels = false;
  bool is_dry_run = false;
};

// What seconds and bytes are expected, and between what.
std::string seconds_text(const json::object& mode, std::string_view figure) {
  const json::object& one = object_of(mode, figure);
  if (number_of(one, "high") == 0) return "0";
  return fmt::format("{} ({} to {})", show_seconds(number_of(one, "expected")),
                     show_seconds(number_of(one, "low")), show_seconds(number_of(one, "high")));
}
std::string bytes_text(const json::object& mode, std::string_view figure) {
  const json::object& one = object_of(mode, figure);
  return fmt::format("{} ({} to {})", show_bytes(number_of(one, "expected")),
                     show_bytes(number_of(one, "low")), show_bytes(number_of(one, "high")));
}

std::string guest_text(const json::object& told) {
  return fmt::format(
      "memory     {}, of it {} of zeroes; packed to {}\n"
      "written    {} again and again, at first {}; differences are {} of a page (dry run: {})\n"
      "link       {}, round trip {}\n",
      show_bytes(number_of(told, "memory_bytes")), show_bytes(number_of(told, "zero_bytes")),
      show_ratio(number_of(told, "packed_ratio")), show_bytes(number_of(told, "written_bytes")),
      show_rate(number_of(told, "written_bytes_per_s")),
      show_ratio(number_of(told, "difference_ratio")), show_seconds(number_of(told, "dry_run_s")),
      show_rate(number_of(told, "link_bytes_per_s")),
      show_seconds(number_of(told, "round_trip_s")));
}

Result<std::string> forecast_text(std::string_view answer) {
  FR_TRY(const json::object told, parse_answer(answer));
  Table table({{"MODE"}, {"TOTAL"}, {"DOWNTIME"}, {"WAITS FOR PAGES"}, {"BYTES"}, {"POLICY"}});
  for (const json::value& item : list_of(told, "modes")) {
    if (!item.is_object()) continue;
    const json::object& mode = item.as_object();
    table.add({text_of(mode, "mode"), seconds_text(mode, "total_s"),
               seconds_text(mode, "downtime_s"), seconds_text(mode, "blocked_s"),
               bytes_text(mode, "bytes"),
               flag_of(mode, "fits_policy") ? "kept" : text_of(mode, "why_not")});
  }
  return fmt::format("VM {} to {}; nothing was moved\n{}\n{}\nmode       {}: {}\n",
                     text_of(told, "vm"), text_of(told, "to"), guest_text(told), table.text(),
                     text_of(told, "mode"), text_of(told, "reason"));
}

Result<int> print_told(const Context& context, const std::string& body,
                       Result<std::string> (*text_of_answer)(std::string_view)) {
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const std::string text, text_of_answer(body));
  print(text);
  return kExitOk;
}

// Returns rows of what was told of the mode that was taken, and what came of it.
void add_figures(const json::object& migration, Table& table) {
  const json::object& told = object_of(migration, "forecast");
  const json::object& actual = object_of(migration, "actual");
  const json::array& modes = list_of(told, "modes");
  const auto taken = std::find_if(modes.begin(), modes.end(), [&](const json::value& mode) {
    return mode.is_object() && text_of(mode.as_object(), "mode") == text_of(told, "mode");
  });
  if (taken == modes.end()) return;
  const json::object& mode = taken->as_object();
  const auto add = [&](std::string_view name, std::string_view key, bool is_bytes) {
    const json::object& range = object_of(mode, key);
    const double came = number_of(actual, key);
    const bool is_known = actual.contains(key);
    const bool is_held = number_of(range, "low") <= came && came <= number_of(range, "high");
    const std::string shown = is_bytes ? show_bytes(came) : show_seconds(came);
    table.add({std::string(name), is_bytes ? bytes_text(mode, key) : seconds_text(mode, key),
               is_known ? shown : "–",
               !is_known ? "–"
               : is_held ? "yes"
                         : "no"});
  };
  add("total", "total_s", false);
  add("downtime", "downtime_s", false);
  add("waits", "blocked_s", false);
  add("bytes", "bytes", true);
}

std::string migration_text(const json::object& one) {
  const json::object& told = object_of(one, "forecast");
  Table table({{"FIGURE"}, {"TOLD"}, {"CAME", true}, {"IN RANGE"}});
  add_figures(one, table);
  return fmt::format("{}: {} to {}, {} ({}), {}\n{}{}{}", text_of(one, "began_at"),
                     text_of(told, "vm"), text_of(told, "to"), text_of(told, "mode"),
                     text_of(told, "reason"), text_of(one, "state"), guest_text(told),
                     text_of(one, "detail").empty()
                         ? std::string()
                         : fmt::format("end        {}\n", text_of(one, "detail")),
                     table.text());
}

std::string scores_text(const json::object& report) {
  Table table({{"MODE"}, {"FIGURE"}, {"MIGRATIONS", true}, {"IN RANGE", true}, {"CORRECTED BY"}});
  for (const json::value& item : list_of(report, "scores")) {
    if (!item.is_object()) continue;
    const json::object& score = item.as_object();
    const double count = number_of(score, "count");
    table.add({text_of(score, "mode"), text_of(score, "figure"),
               show_count(count_of(score, "count")),
               show_ratio(count > 0 ? number_of(score, "held") / count : 0),
               fmt::format("× {:.2f}, off by a factor of {:.2f}", number_of(score, "factor"),
                           std::exp(number_of(score, "spread")))});
  }
  return table.text();
}

Result<int> explain_migration(const Context& context, const std::string& name) {
  if (!name.empty()) FR_CHECK(Context::check_name(name));
  FR_TRY(const std::string body, context.get("/api/v1/migrations"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object report, parse_answer(body));
  std::string text;
  for (const json::value& item : list_of(report, "items")) {
    if (!item.is_object()) continue;
    if (!name.empty() && text_of(object_of(item.as_object(), "forecast"), "vm") != name) continue;
    text += migration_text(item.as_object()) + "\n";
  }
  if (text.empty()) text = "No migration from here was foreseen.\n\n";
  if (!list_of(report, "scores").empty())
    text += "How well migrations from here were foreseen:\n" + scores_text(report);
  print(text);
  return kExitOk;
}

Result<int> migrate(const Context& context, const MigrateArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  const std::string path = fmt::format("/api/v1/vms/{}/migrate", arguments.name);
  if (arguments.cancels) {
    FR_CHECK(context.post(path + "/cancel", ""));
    return kExitOk;
  }
  if (arguments.to.empty()) return fail(ErrorCode::kInvalid, "say where to: --to HOST");
  FR_CHECK(Context::check_name(arguments.to));
  FR_TRY(const double downtime, parse_seconds(arguments.downtime));
  uint64_t rate = 0;
  if (!arguments.rate.empty()) {
    FR_TRY(rate, parse_size(arguments.rate));
  }
  double within = 0;
  if (!arguments.within.empty()) {
    FR_TRY(within, parse_seconds(arguments.within));
  }
  const std::string request =
      json::serialize(json::value{{"to", arguments.to},
                                  {"mode", arguments.mode},
                                  {"downtime_ms_max", static_cast<uint64_t>(downtime * 1000)},
                                  {"rate_bytes_per_s_max", rate},
                                  {"degradation_percent_max", arguments.degradation_percent},
                                  {"switch_within_ms", static_cast<uint64_t>(within * 1000)},
                                  {"stock", arguments.is_stock},
                                  {"without_forwards", arguments.without_forwards}});
  if (arguments.is_dry_run) {
    FR_TRY(const std::string body, context.post(path + "/forecast", request));
    return print_told(context, body, &forecast_text);
  }
  return run_operation(
      context, path, request, arguments.no_wait,
      {"VM " + arguments.name, fmt::format("migrate VM {} to {}", arguments.name, arguments.to)});
}

}  // namespace

void add_migrate_command(CLI::App& vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<MigrateArguments>();
  CLI::App* command = vm.add_subcommand("migrate", "Move a running VM to another host");
  command->add_option("name", arguments->name)->required();
  command->add_option("--to", arguments->to, "a host of the daemon's configuration")
      ->type_name("HOST");
  command
      ->add_option("--mode", arguments->mode,
                   "precopy: all memory first; postcopy: the VM first; hybrid: one pass, then the "
                   "VM, then the rest; auto: what is expected to keep the policy")
      ->type_name("WORD")
      ->check(CLI::IsMember({"auto", "precopy", "postcopy", "hybrid"}))
      ->capture_default_str();
  command
      ->add_option("--max-downtime", arguments->downtime,
                   "that auto keeps to, and precopy, which goes on until it does")
      ->type_name("TIME")
      ->capture_default_str();
  command
      ->add_option("--max-degradation", arguments->degradation_percent,
                   "percent of the migration that the guest may wait for pages, for auto")
      ->type_name("PERCENT")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  command
      ->add_option("--within", arguments->within, "the VM is to run there after so long, for auto")
      ->type_name("TIME");
  command->add_flag("--dry-run", arguments->is_dry_run,
                    "say what each mode would take, and which would be chosen; move nothing");
  command->add_option("--rate", arguments->rate, "of memory before the VM goes, per second")
      ->type_name("SIZE");
  command->add_flag("--stock", arguments->is_stock,
                    "QEMU's streams as they are: nothing foreseen, nothing compressed");
  command->add_flag("--no-forwards", arguments->without_forwards,
                    "the other host does not listen on the VM's forwarded ports");
  command->add_flag("--no-wait", arguments->no_wait, "print the operation's id and return");
  command->add_flag("--cancel", arguments->cancels, "end a migration with the VM where it was");
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return migrate(context, *arguments); };
  });
}

void add_explain_migration(CLI::App& explain, const Context& context, Command& chosen) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = explain.add_subcommand(
      "migration", "What migrations from here were expected to take, and what they took");
  command->add_option("vm", *name, "of this VM alone");
  command->callback([&context, &chosen, name] {
    chosen = [&context, name] { return explain_migration(context, *name); };
  });
}

}  // namespace forerun::cli
