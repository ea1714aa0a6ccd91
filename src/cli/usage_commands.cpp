// forerun usage list|show|forecast|export|push, forerun top: how the host and its VMs were used
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/text.h"
#include "cli/usage_forecast.h"
#include "os/clock.h"
#include "os/file.h"
#include "telemetry/history.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr size_t kBarCells = 40;
constexpr int kForecastPast_s = 35 * 86400;  // all that is kept of 5 min

struct Arguments {
  std::string entity = "host", metric, last = "1h", file, resolution;
  unsigned points = 60;
  std::vector<std::string> values;
  bool is_watch = false;
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
  std::vector<std::array<double, 3>> points;  // time, mean, max
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

Result<int> forecast_series(const Context& context, const Arguments& arguments) {
  FR_TRY(const std::string entity, entity_path(arguments.entity));
  FR_CHECK(telemetry::check({entity, arguments.metric}));
  FR_TRY(const Series series,
         fetch(context, entity, arguments.metric,
               fmt::format("last_seconds={}&points_max=20000&resolution=5m", kForecastPast_s)));
  FR_TRY(const UsageForecast forecast, forecast_usage(series.points, arguments.limit));
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
  ahead->add_option("of", arguments->entity, "host, or a VM's name")->required();
  ahead->add_option("metric", arguments->metric, "such as cpu_cores; see usage list")->required();
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
