// forerun usage list|show|forecast|export|push, forerun top: how the host and its VMs were used
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"
#include "cli/usage_contention.h"
#include "cli/usage_forecast.h"
#include "os/clock.h"
#include "os/file.h"
#include "place/zone_forecast.h"
#include "telemetry/history.h"
#include "telemetry/metric_query.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr size_t kBarCells = 40;
constexpr size_t kQueriesBytesMax = 1 << 20;
constexpr size_t kFleetBytesMax = 1 << 30;
constexpr std::array<double, 6> kZoneHorizons_s{300, 900, 1800, 3600, 6 * 3600, 12 * 3600};
constexpr double kQuantile_sd = 1.4;         // as plans are made
constexpr int kForecastPast_s = 35 * 86400;  // all that is kept of 5 min

struct Arguments {
  std::string entity = "host", metric, last = "1h", past = "30d", file, resolution;
  unsigned points = 60;
  std::vector<std::string> values;
  std::string url, instance;
  bool is_watch = false, no_wait = false, is_of_zones = false;
  std::optional<double> limit;
};

// "host", or a VM's name, as a path: "host", "vm/NAME".
Result<std::string> entity_path(const std::string& entity) {
  if (entity == "host") return entity;
  const std::string name = entity.starts_with("vm/") ? entity.substr(3) : entity;
  FR_CHECK(Context::check_name(name));
  return "vm/" + name;
}

std::string show_value(std::string_view metric, double value) {
  if (metric.ends_with("_bytes_per_s")) return show_rate(value);
  if (metric.ends_with("_bytes")) return show_bytes(value);
  if (metric.ends_with("_ratio")) return show_ratio(value);
  return fmt::format("{:.3g}", value);
}

struct Series {
  std::string resolution;
  UsagePoints points;
};

Result<Series> fetch(const Context& context, const std::string& entity, const std::string& metric,
                     const std::string& query) {
  FR_TRY(const std::string body,
         context.get(fmt::format("/api/v1/usage/{}/{}?{}", entity, metric, query)));
  FR_TRY(const json::object answer, parse_answer(body));
  Series series{text_of(answer, "resolution"), {}};
  for (const json::value& item : list_of(answer, "points")) {
    if (!item.is_array() || item.as_array().size() != 3) continue;
    std::array<double, 3> point{};
    for (size_t i = 0; i < 3; ++i)
      if (item.as_array()[i].is_number()) point[i] = item.as_array()[i].to_number<double>();
    series.points.push_back(point);
  }
  return series;
}

Result<int> list_series(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/usage"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"OF"}, {"METRIC"}});
  for (const json::value& item : list_of(answer, "items"))
    if (item.is_object())
      table.add({text_of(item.as_object(), "entity"), text_of(item.as_object(), "metric")});
  print(table.text());
  return kExitOk;
}

Result<int> show_series(const Context& context, const Arguments& arguments) {
  FR_TRY(const std::string entity, entity_path(arguments.entity));
  FR_CHECK(telemetry::check({entity, arguments.metric}));
  FR_TRY(const double seconds, parse_seconds(arguments.last));
  const std::string query =
      fmt::format("last_seconds={:.0f}&points_max={}", std::max(1.0, seconds), arguments.points);
  if (context.output != Output::kTable) {
    FR_TRY(const std::string body,
           context.get(fmt::format("/api/v1/usage/{}/{}?{}", entity, arguments.metric, query)));
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const Series series, fetch(context, entity, arguments.metric, query));
  double most = 0;
  for (const auto& point : series.points) most = std::max(most, point[2]);
  std::string text =
      fmt::format("{} of {}, a line {}\n", arguments.metric, arguments.entity, series.resolution);
  for (const auto& [at, mean, max] : series.points) {
    const auto cells = most > 0 ? static_cast<size_t>(mean / most * kBarCells) : 0;
    text += fmt::format("{}  {:>10}  most {:>10}  {}\n", os::format_utc(static_cast<int64_t>(at)),
                        show_value(arguments.metric, mean), show_value(arguments.metric, max),
                        std::string(std::min(cells, kBarCells), '#'));
  }
  if (series.points.empty()) text += "nothing was kept in that time\n";
  print(text);
  return kExitOk;
}

// As fetch, of all that is kept of 5 min; without points if there is no such series.
Result<UsagePoints> fetch_if_any(const Context& context, const std::string& entity,
                                 const std::string& metric) {
  auto series =
      fetch(context, entity, metric,
            fmt::format("last_seconds={}&points_max=20000&resolution=5m", kForecastPast_s));
  if (!series && series.error().code == ErrorCode::kNotFound) return UsagePoints();
  if (!series) return std::unexpected(std::move(series.error()));
  return std::move(series->points);
}

Result<int> forecast_of_contention(const Context& context, const std::string& entity) {
  ContentionPast past;
  FR_TRY(past.demand, fetch_if_any(context, "host", "cpu_demand_cores"));
  // Imported histories say only what ran.
  if (past.demand.size() < 2) {
    FR_TRY(past.demand, fetch_if_any(context, "host", "cpu_cores"));
  }
  FR_TRY(past.capacity, fetch_if_any(context, "host", "cpu_total_cores"));
  FR_TRY(past.vcpu_wait, fetch_if_any(context, entity, "vcpu_wait_ratio"));
  if (entity == "host") {
    FR_TRY(past.cpu_stall, fetch_if_any(context, entity, "cpu_stall_ratio"));
  }
  FR_TRY(const ContentionReport report, forecast_contention(past));
  if (context.output == Output::kTable)
    print(contention_table(report, entity));
  else
    print_json(context, contention_json(report));
  return kExitOk;
}

// What the policy knows of a VM's demand.
Result<std::vector<forecast::KnownEvent>> events_of_policy(const Context& context,
                                                           const std::string& vm) {
  FR_TRY(const std::string body, context.get("/api/v1/plan/policy"));
  FR_TRY(const json::object policy, parse_answer(body));
  FR_TRY(const auto rules, place::parse_fleet(json::serialize(object_of(policy, "rules"))));
  return place::events_of_vm(rules.events, vm);
}

Result<int> forecast_of_zones(const Context& context, const Arguments& arguments) {
  std::string text;
  if (arguments.file.empty()) {
    FR_TRY(text, context.get("/api/v1/plan/fleet"));
  } else {
    FR_TRY(const Buffer bytes, os::read_file(arguments.file, kFleetBytesMax));
    text = as_text(bytes);
  }
  auto fleet = place::parse_fleet(text);
  if (!fleet && arguments.file.empty()) return std::unexpected(std::move(fleet.error()));
  if (!fleet) return std::unexpected(std::move(fleet.error()).within(arguments.file));
  if (!arguments.file.empty()) place::apply_settings(*fleet, os::unix_seconds());
  FR_TRY(const auto forecasts, place::forecast_zones(*fleet, kZoneHorizons_s, kQuantile_sd));
  if (context.output == Output::kTable)
    print(zones_table(forecasts));
  else
    print_json(context, place::zones_json(forecasts));
  return kExitOk;
}

Result<int> forecast_series(const Context& context, const Arguments& arguments) {
  if (arguments.is_of_zones) return forecast_of_zones(context, arguments);
  if (arguments.metric.empty())
    return fail(ErrorCode::kInvalid, "say of whom and which metric, or --zones");
  FR_TRY(const std::string entity, entity_path(arguments.entity));
  if (arguments.metric == "contention") return forecast_of_contention(context, entity);
  FR_CHECK(telemetry::check({entity, arguments.metric}));
  FR_TRY(const Series series,
         fetch(context, entity, arguments.metric,
               fmt::format("last_seconds={}&points_max=20000&resolution=5m", kForecastPast_s)));
  std::vector<forecast::KnownEvent> events;
  if (entity != "host" && arguments.metric == "cpu_cores") {
    FR_TRY(events, events_of_policy(context, entity.substr(3)));
  }
  FR_TRY(const UsageForecast forecast, forecast_usage(series.points, arguments.limit, events));
  if (context.output == Output::kTable)
    print(usage_forecast_table(forecast, arguments.metric));
  else
    print_json(context, usage_forecast_json(forecast));
  return kExitOk;
}

// Writes "unix_seconds,entity,metric,mean,max", one point a line, series after series.
Result<int> export_series(const Context& context, const Arguments& arguments) {
  FR_TRY(const double seconds, parse_seconds(arguments.last));
  FR_TRY(const std::string body, context.get("/api/v1/usage"));
  FR_TRY(const json::object answer, parse_answer(body));
  std::string text = "unix_seconds,entity,metric,mean,max\n";
  size_t count = 0;
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const std::string entity = text_of(item.as_object(), "entity");
    const std::string metric = text_of(item.as_object(), "metric");
    FR_CHECK(telemetry::check({entity, metric}));
    FR_TRY(const Series series,
           fetch(context, entity, metric,
                 fmt::format("last_seconds={:.0f}&points_max=20000&resolution={}",
                             std::max(1.0, seconds), arguments.resolution)));
    for (const auto& [at, mean, max] : series.points)
      text += fmt::format("{:.0f},{},{},{:.6g},{:.6g}\n", at, entity, metric, mean, max);
    count += series.points.size();
  }
  FR_CHECK(os::write_file_atomic(arguments.file, as_bytes(text)));
  print(fmt::format("{} points in {}\n", show_count(count), arguments.file));
  return kExitOk;
}

// The queries are read here: their faults are told with the file's name.
Result<int> import_series(const Context& context, const Arguments& arguments) {
  FR_TRY(const double seconds, parse_seconds(arguments.past));
  json::object asked{{"last_seconds", std::max(1.0, seconds)}};
  if (!arguments.url.empty()) asked["url"] = arguments.url;
  if (!arguments.instance.empty()) asked["instance"] = arguments.instance;
  if (!arguments.file.empty()) {
    FR_TRY(const Buffer bytes, os::read_file(arguments.file, kQueriesBytesMax));
    if (auto queries = telemetry::parse_metric_queries(as_text(bytes)); !queries)
      return std::unexpected(std::move(queries.error()).within(arguments.file));
    json::error_code error;
    const json::value value = json::parse(as_text(bytes), error);
    asked["queries"] = value.as_object().at("queries");
  }
  return run_operation(context, "/api/v1/usage/import", json::serialize(asked), arguments.no_wait,
                       {"history", "import the history"});
}

Result<int> push_values(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.entity));
  json::object values;
  for (const std::string& text : arguments.values) {
    const size_t at = text.find('=');
    double value = 0;
    if (at == text.npos || !CLI::detail::lexical_cast(text.substr(at + 1), value))
      return fail(ErrorCode::kInvalid, fmt::format("'{}' is not METRIC=NUMBER", printable(text)));
    values[text.substr(0, at)] = value;
  }
  FR_CHECK(context.post(fmt::format("/api/v1/vms/{}/metrics", arguments.entity),
                        json::serialize(json::value{{"values", std::move(values)}})));
  return kExitOk;
}

// One table of what was used in the last round.
Result<std::string> top_text(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/usage"));
  FR_TRY(const json::object answer, parse_answer(body));
  std::map<std::string, std::map<std::string, double>> newest;
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const std::string entity = text_of(item.as_object(), "entity");
    const std::string metric = text_of(item.as_object(), "metric");
    if (!telemetry::check({entity, metric})) continue;
    FR_TRY(const Series series,
           fetch(context, entity, metric, "last_seconds=30&points_max=1&resolution=10s"));
    if (!series.points.empty()) newest[entity][metric] = series.points.back()[1];
  }
  Table table({{"NAME"},
               {"CPU", true},
               {"WAITS", true},
               {"MEMORY", true},
               {"READS", true},
               {"WRITES", true},
               {"DISK WAITS", true}});
  const auto cell = [](const std::map<std::string, double>& of, const char* metric) {
    const auto found = of.find(metric);
    return found == of.end() ? std::string("–") : show_value(metric, found->second);
  };
  for (const auto& [entity, of] : newest)
    table.add({entity, cell(of, "cpu_cores"),
               cell(of, entity == "host" ? "cpu_stall_ratio" : "cpu_wait_cores"),
               cell(of, "memory_bytes"), cell(of, "disk_read_bytes_per_s"),
               cell(of, "disk_write_bytes_per_s"),
               cell(of, entity == "host" ? "io_stall_ratio" : "disk_stall_ratio")});
  return table.text();
}

Result<int> top(const Context& context, bool is_watch) {
  for (;;) {
    FR_TRY(const std::string text, top_text(context));
    print(is_watch ? "\x1b[H\x1b[2J" + text : text);
    if (!is_watch) return kExitOk;
    std::this_thread::sleep_for(std::chrono::seconds(5));
  }
}

}  // namespace

void add_usage_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* usage = app.add_subcommand("usage", "How the host and its VMs were used");
  usage->require_subcommand(1);
  auto arguments = std::make_shared<Arguments>();
  const auto choose = [&](CLI::App* command, auto action) {
    command->callback([&context, &chosen, arguments, action] {
      chosen = [&context, arguments, action] { return action(context, *arguments); };
    });
  };
  choose(usage->add_subcommand("list", "What is kept of whom"),
         [](const Context& asked, const Arguments&) { return list_series(asked); });
  CLI::App* show = usage->add_subcommand("show", "One series over time");
  show->add_option("of", arguments->entity, "host, or a VM's name")->required();
  show->add_option("metric", arguments->metric, "such as cpu_cores; see usage list")->required();
  show->add_option("--last", arguments->last, "this much of the past")
      ->type_name("TIME")
      ->capture_default_str();
  show->add_option("--points", arguments->points, "in at most so many lines")
      ->check(CLI::Range(1, 20'000))
      ->capture_default_str();
  choose(show, show_series);
  CLI::App* ahead = usage->add_subcommand("forecast", "What a series will do in the next 12 h");
  ahead->add_option("of", arguments->entity, "host, or a VM's name");
  ahead->add_option("metric", arguments->metric, "such as cpu_cores, or contention");
  ahead->add_flag("--zones", arguments->is_of_zones, "instead: zones, and when another fails");
  ahead->add_option("--fleet", arguments->file, "with --zones: of a fleet in a file")
      ->type_name("FILE");
  ahead->add_option("--limit", arguments->limit, "also the probability of more than this")
      ->type_name("NUMBER");
  choose(ahead, forecast_series);
  CLI::App* write = usage->add_subcommand("export", "All series into a CSV file");
  write->add_option("file", arguments->file)->required()->type_name("FILE");
  write->add_option("--last", arguments->last, "this much of the past")
      ->type_name("TIME")
      ->capture_default_str();
  write->add_option("--resolution", arguments->resolution, "of a point")
      ->check(CLI::IsMember({"10s", "1m", "5m", "1h"}))
      ->default_val("5m");
  choose(write, export_series);
  CLI::App* import = usage->add_subcommand("import", "Fill the history from a Prometheus");
  import->add_option("--prometheus", arguments->url, "its address; else history.prometheus_url")
      ->type_name("URL");
  import->add_option("--instance", arguments->instance, "this host, as its labels name it");
  import->add_option("--queries", arguments->file, "what is asked for; docs/usage.md")
      ->type_name("FILE");
  import->add_option("--last", arguments->past, "this much of the past")
      ->type_name("TIME")
      ->capture_default_str();
  import->add_flag("--no-wait", arguments->no_wait, "print the operation's id and leave");
  choose(import, import_series);
  CLI::App* push = usage->add_subcommand("push", "Add values of a VM's own metrics");
  push->add_option("vm", arguments->entity)->required();
  push->add_option("values", arguments->values, "METRIC=NUMBER, any number of them")
      ->required()
      ->type_name("VALUES");
  choose(push, push_values);

  CLI::App* now = app.add_subcommand("top", "What the host and its VMs used in the last 10 s");
  now->add_flag("--watch", arguments->is_watch, "again every 5 s");
  choose(now,
         [](const Context& asked, const Arguments& with) { return top(asked, with.is_watch); });
}

}  // namespace forerun::cli
