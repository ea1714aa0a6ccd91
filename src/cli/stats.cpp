#include "cli/stats.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <thread>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/plan_commands.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

double ratio_of(double part, double whole) {
  return whole > 0 ? part / whole : std::numeric_limits<double>::quiet_NaN();
}

std::string bytes_of(const json::object& object, std::string_view key) {
  return show_bytes(number_of(object, key));
}

std::string counted(const json::object& object, std::string_view key) {
  return show_count(count_of(object, key));
}

std::string timeline(const json::object& stats, bool ascii) {
  constexpr size_t kCellsMax = 60;
  std::vector<double> bins;
  for (const json::value& bin : list_of(stats, "stall_bin_ms")) {
    bins.push_back(bin.is_number() ? bin.to_number<double>() : 0);
  }
  const double bin_seconds = number_of(stats, "stall_bin_seconds");
  const std::string line = stall_line(bins, bin_seconds, kCellsMax, ascii);
  if (line.empty()) return "";
  const auto group = static_cast<double>((bins.size() + kCellsMax - 1) / kCellsMax);
  return fmt::format("timeline   |{}| from the start, {} a cell\n", line,
                     show_seconds(group * bin_seconds));
}

Result<int> print_answer(const Context& context, const std::string& path,
                         Result<std::string> (*as_text)(std::string_view)) {
  FR_TRY(const std::string body, context.get(path));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const std::string text, as_text(body));
  print(text);
  return kExitOk;
}

}  // namespace

Result<std::string> vm_stats_text(std::string_view answer, bool ascii) {
  FR_TRY(const json::object stats, parse_answer(answer));
  const double uptime = number_of(stats, "uptime_seconds");
  const double stalled = number_of(stats, "stall_seconds");
  std::string text = fmt::format("{}, up {}, as of {}\n", text_of(stats, "name"),
                                 show_seconds(uptime), text_of(stats, "as_of"));
  text += fmt::format("stalled    {} ({} of its time){}\n", show_seconds(stalled),
                      show_ratio(ratio_of(stalled, uptime)),
                      flag_of(stats, "stalled_now") ? ", and now" : "");
  text += timeline(stats, ascii);
  text += fmt::format("reads      {} ({}); {} waited for the link: half under {}, 99 % under {}\n",
                      counted(stats, "reads"), bytes_of(stats, "read_bytes"),
                      counted(stats, "demand_reads"),
                      show_seconds(number_of(stats, "demand_p50_seconds")),
                      show_seconds(number_of(stats, "demand_p99_seconds")));
  text += fmt::format("writes     {} ({})\n", counted(stats, "writes"),
                      bytes_of(stats, "written_bytes"));
  text += fmt::format(
      "foreseen   {} chunks fetched ahead: {} hit, {} late, {} wasted, {} not decided yet\n",
      counted(stats, "issued_chunks"), counted(stats, "hit_chunks"), counted(stats, "late_chunks"),
      counted(stats, "wasted_chunks"), counted(stats, "undecided_chunks"));
  text += fmt::format(
      "link       {} on demand, {} ahead, of which {} wasted; may fetch {} more ahead now\n",
      bytes_of(stats, "demand_fetched_bytes"), bytes_of(stats, "prefetch_fetched_bytes"),
      bytes_of(stats, "wasted_bytes"), bytes_of(stats, "prefetch_budget_bytes"));
  if (const uint64_t dropped = count_of(stats, "observations_dropped"); dropped > 0) {
    text += fmt::format("learning   {} reads went by unobserved: the learner was too slow\n",
                        show_count(dropped));
  }
  return text;
}

Result<std::string> host_stats_text(std::string_view answer) {
  FR_TRY(const json::object host, parse_answer(answer));
  const json::object& tier = object_of(host, "tier");
  const json::object& link = object_of(host, "link");
  const double hits = number_of(tier, "memory_hits") + number_of(tier, "file_hits");
  std::string text =
      fmt::format("forerund {}, up {}, {} VMs run, accelerator {}\n", text_of(host, "version"),
                  show_seconds(number_of(host, "uptime_seconds")), counted(host, "vms_running"),
                  text_of(host, "accelerator"));
  text += fmt::format("tier       {} of {} in memory, {} of {} on disk; {} not used yet\n",
                      bytes_of(tier, "memory_bytes"), bytes_of(tier, "memory_bytes_max"),
                      bytes_of(tier, "file_bytes"), bytes_of(tier, "file_bytes_max"),
                      bytes_of(tier, "probation_bytes"));
  text += fmt::format("           memory: {} reserved, {} fetched ahead, {} used; limit {} now\n",
                      bytes_of(tier, "reserved_bytes"), bytes_of(tier, "prefetched_bytes"),
                      bytes_of(tier, "used_bytes"), bytes_of(tier, "memory_bytes_limit"));
  text += fmt::format("           {} shared by disks, which with a copy each would hold {}\n",
                      bytes_of(tier, "shared_bytes"), bytes_of(tier, "copies_bytes"));
  text += fmt::format(
      "           {} of lookups found; {} evicted, {} of them never used; {} damaged\n",
      show_ratio(ratio_of(hits, hits + number_of(tier, "misses"))), counted(tier, "evicted"),
      counted(tier, "evicted_unused"), counted(tier, "corrupt"));
  const double rate = number_of(link, "rate_bytes_per_second");
  text += fmt::format("link       {}: {}\n\n", text_of(link, "repository"),
                      rate > 0 ? fmt::format("{}, round trip {}", show_rate(rate),
                                             show_seconds(number_of(link, "round_trip_seconds")))
                               : "not measured yet");
  Table table({{"CLASS"},
               {"QUEUED", true},
               {"IN FLIGHT", true},
               {"DONE", true},
               {"BYTES", true},
               {"CANCELLED", true},
               {"PROMOTED", true},
               {"MEAN WAIT", true}});
  for (const json::value& item : list_of(link, "classes")) {
    if (!item.is_object()) continue;
    const json::object& one = item.as_object();
    const double wait = ratio_of(number_of(one, "waited_seconds"), number_of(one, "done"));
    table.add({text_of(one, "name"), counted(one, "queued"), counted(one, "in_flight"),
               counted(one, "done"), bytes_of(one, "done_bytes"), counted(one, "cancelled"),
               counted(one, "promoted"), std::isfinite(wait) ? show_seconds(wait) : "–"});
  }
  return text + table.text();
}

Result<int> vm_stats(const Context& context, const std::string& name, bool watch) {
  FR_CHECK(Context::check_name(name));
  const std::string path = fmt::format("/api/v1/vms/{}/stats", name);
  while (true) {
    FR_TRY(const std::string body, context.get(path));
    if (context.output != Output::kTable) {
      print_json(context, body);
    } else {
      FR_TRY(const std::string text, vm_stats_text(body, context.ascii));
      // Home, the new text, then erase what is left below: no flicker.
      print(watch && context.is_terminal ? fmt::format("\x1b[H\x1b[2J{}", text) : text);
    }
    if (!watch) return kExitOk;
    std::this_thread::sleep_for(1s);
  }
}

void add_stats_commands(CLI::App& app, const Context& context, Command& chosen) {
  app.add_subcommand("stats", "Tier, link and scheduler of this host")->callback([&] {
    chosen = [&context] { return print_answer(context, "/api/v1/host", &host_stats_text); };
  });
  CLI::App* explain = app.add_subcommand("explain", "Why Forerun did what it did");
  explain->require_subcommand(1);
  add_explain_launch(*explain, context, chosen);
  add_explain_vm(*explain, context, chosen);
  add_explain_migration(*explain, context, chosen);
  auto name = std::make_shared<std::string>();
  CLI::App* prefetch =
      explain->add_subcommand("prefetch", "What each model said for a VM, and what came of it");
  prefetch->add_option("vm", *name)->required();
  prefetch->callback([&, name] {
    chosen = [&context, name]() -> Result<int> {
      FR_CHECK(Context::check_name(*name));
      return print_answer(context, fmt::format("/api/v1/vms/{}/stats", *name), &models_text);
    };
  });
}

}  // namespace forerun::cli
