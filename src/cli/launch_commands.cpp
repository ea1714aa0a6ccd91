// forerun explain launch, forerun launch import: what is expected to be launched, what was fetched
// for it, what came of it.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/launches.h"
#include "cli/operation.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr size_t kWindowsShown = 12, kPiecesShown = 3, kComponentsShown = 12, kHoursShown = 12;

std::string bytes_of(const json::object& object, std::string_view key) {
  return show_bytes(number_of(object, key));
}

// "2026-11-21T02:40:00Z" → "02:40:00"; "–" for what is not known.
std::string clock_of(const json::object& object, std::string_view key) {
  const std::string text = text_of(object, key);
  return text.size() == 20 ? text.substr(11, 8) : "–";
}

// The pieces that moved the probability most: weight × log odds against even.
std::string pieces_of(const json::object& forecast) {
  std::vector<std::pair<double, std::string>> moves;
  for (const json::value& item : list_of(forecast, "pieces")) {
    if (!item.is_object()) continue;
    const json::object& piece = item.as_object();
    const double said = std::clamp(number_of(piece, "probability"), 1e-4, 1 - 1e-4);
    const double push = number_of(piece, "weight") * std::log(said / (1 - said));
    moves.emplace_back(-std::abs(push),
                       fmt::format("{} {}", text_of(piece, "name"), show_ratio(said)));
  }
  std::sort(moves.begin(), moves.end());
  std::vector<std::string> words;
  for (size_t i = 0; i < std::min(moves.size(), kPiecesShown); ++i)
    words.push_back(moves[i].second);
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string forecast_text(const json::object& report) {
  Table table({{"IMAGE"},
               {"PROBABILITY", true},
               {"LAUNCHES", true},
               {"ABOUT"},
               {"FORESEEN", true},
               {"HERE", true},
               {"FETCHED FOR"},
               {"WHO SAID SO"}});
  for (const json::value& item : list_of(report, "items")) {
    if (!item.is_object()) continue;
    const json::object& one = item.as_object();
    const double foreseen = number_of(one, "foreseen_bytes");
    table.add({text_of(one, "image"), show_ratio(number_of(one, "probability")),
               fmt::format("{:.2f}", number_of(one, "expected_launches")), clock_of(one, "due_at"),
               foreseen > 0 ? show_bytes(foreseen) : "–",
               foreseen > 0 ? show_ratio(number_of(one, "foreseen_here_bytes") / foreseen) : "–",
               flag_of(one, "window_open") ? "yes" : "no", pieces_of(one)});
  }
  return table.text();
}

std::string components_text(const json::object& report) {
  Table table({{"COMPONENT"}, {"PROBABILITY", true}, {"ABOUT"}, {"IN"}});
  size_t shown = 0;
  for (const json::value& item : list_of(report, "components")) {
    if (!item.is_object() || shown++ >= kComponentsShown) continue;
    const json::object& one = item.as_object();
    std::string images;
    for (const json::value& image : list_of(one, "images"))
      if (image.is_string())
        images += (images.empty() ? "" : ", ") + std::string(image.as_string().c_str());
    table.add({text_of(one, "component"), show_ratio(number_of(one, "probability")),
               clock_of(one, "due_at"), images});
  }
  return shown == 0 ? "" : table.text() + "\n";
}

std::string windows_text(const json::object& report) {
  Table table({{"FETCHED FOR"},
               {"SAID", true},
               {"AT"},
               {"OUTCOME"},
               {"LAUNCHED"},
               {"FORESEEN", true},
               {"FETCHED", true},
               {"USED", true},
               {"WASTED", true}});
  size_t shown = 0;
  for (const json::value& item : list_of(report, "windows")) {
    if (!item.is_object() || shown++ >= kWindowsShown) continue;
    const json::object& one = item.as_object();
    table.add({text_of(one, "image"), show_ratio(number_of(one, "probability")),
               clock_of(one, "opened_at"), text_of(one, "outcome"), clock_of(one, "launched_at"),
               bytes_of(one, "foreseen_bytes"), bytes_of(one, "fetched_bytes"),
               bytes_of(one, "used_bytes"), bytes_of(one, "wasted_bytes")});
  }
  return shown == 0 ? "Nothing was fetched for a launch yet.\n" : table.text();
}

std::string ready_share(const json::object& method, double launches) {
  return launches > 0 ? show_ratio(number_of(method, "launches_ready") / launches) : "–";
}

std::string scores_text(const json::object& report) {
  const json::object& total = object_of(report, "total");
  const double launches = number_of(total, "launches");
  Table table({{"METHOD"},
               {"READY", true},
               {"FETCHES", true},
               {"HIT", true},
               {"WASTED", true},
               {"BYTES", true}});
  for (const json::value& item : list_of(total, "methods")) {
    if (!item.is_object()) continue;
    const json::object& method = item.as_object();
    table.add({text_of(method, "name"), ready_share(method, launches),
               show_count(count_of(method, "windows")), show_count(count_of(method, "windows_hit")),
               show_count(count_of(method, "windows_wasted")), bytes_of(method, "bytes")});
  }
  std::string text = fmt::format(
      "{} launches since the daemon started; {} came before their fetch was done. READY: launches "
      "whose image had been fetched for within the horizon; simple rules with the same bytes\n{}",
      show_count(count_of(total, "launches")), show_count(count_of(total, "launches_late")),
      table.text());
  const json::array& hours = list_of(report, "hours");
  if (hours.size() < 2) return text;
  Table by_hour({{"HOUR"},
                 {"LAUNCHES", true},
                 {"FORERUN", true},
                 {"LAST VALUE", true},
                 {"MOST FREQUENT", true},
                 {"FETCHED", true},
                 {"WASTED", true}});
  for (size_t i = hours.size() - std::min(hours.size(), kHoursShown); i < hours.size(); ++i) {
    if (!hours[i].is_object()) continue;
    const json::object& hour = hours[i].as_object();
    std::vector<std::string> row = {clock_of(hour, "from"), show_count(count_of(hour, "launches"))};
    for (const json::value& item : list_of(hour, "methods"))
      if (item.is_object() && row.size() < 5)
        row.push_back(ready_share(item.as_object(), number_of(hour, "launches")));
    row.resize(5, "–");
    row.push_back(bytes_of(hour, "fetched_bytes"));
    row.push_back(bytes_of(hour, "wasted_bytes"));
    by_hour.add(std::move(row));
  }
  return fmt::format("{}\nReady by the hour (UTC)\n{}", text, by_hour.text());
}

std::string state_text(const json::object& report) {
  const json::object& history = object_of(report, "history");
  const json::object& budget = object_of(report, "budget");
  const std::string state = text_of(report, "state");
  std::string text = fmt::format(
      "state      {}{}\n", state,
      state == "muted" ? ": too little of what it said came true; it listens and fetches nothing"
      : state == "learning" ? ": the history is being learned"
                            : "");
  text += fmt::format("looks      every {}, {} ahead; fetches for what is at least {} likely\n",
                      show_seconds(number_of(report, "period_seconds")),
                      show_seconds(number_of(report, "horizon_seconds")),
                      show_ratio(number_of(report, "probability_min")));
  text +=
      fmt::format("history    {} lines, {} images, {}; {} periods learned\n",
                  show_count(count_of(history, "lines")), show_count(count_of(history, "images")),
                  bytes_of(history, "bytes"), show_count(count_of(history, "periods_learned")));
  if (const uint64_t refused = count_of(history, "refused_lines"); refused > 0)
    text += fmt::format("           {} lines were damaged and left out: {}\n", show_count(refused),
                        text_of(history, "first_refusal"));
  text += fmt::format(
      "budget     {} of {} free, {} fetched and not used yet; {} of what it said "
      "came true\n",
      bytes_of(budget, "available_bytes"), bytes_of(budget, "max_bytes"),
      bytes_of(budget, "undecided_bytes"), show_ratio(number_of(report, "came_true_ratio")));
  return text;
}

Result<int> explain_launch(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/launches"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const std::string text, launches_text(body));
  print(text);
  return kExitOk;
}

Result<int> import_launches(const Context& context, const std::string& file) {
  FR_TRY(const std::string path, absolute_path(file));
  FR_TRY(
      const std::string body,
      context.post("/api/v1/launches", fmt::format("{{\"source_path\":{}}}", json_string(path))));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object info, parse_answer(body));
  print(fmt::format("{} lines learned, {} known already\n",
                    show_count(count_of(info, "added_lines")),
                    show_count(count_of(info, "known_lines"))));
  return kExitOk;
}

}  // namespace

Result<std::string> launches_text(std::string_view answer) {
  FR_TRY(const json::object report, parse_answer(answer));
  if (text_of(report, "state") == "off") return "Launches are not foreseen here.\n";
  return fmt::format("{}\n{}\n{}{}\n{}", state_text(report), forecast_text(report),
                     components_text(report), windows_text(report), scores_text(report));
}

void add_explain_launch(CLI::App& explain, const Context& context, Command& chosen) {
  explain
      .add_subcommand("launch", "Which launches are expected, what was fetched, what came of it")
      ->callback([&] { chosen = [&context] { return explain_launch(context); }; });
}

void add_launch_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* launch =
      app.add_subcommand("launch", "Past launches, from which coming ones are foreseen");
  launch->require_subcommand(1);
  auto file = std::make_shared<std::string>();
  CLI::App* import = launch->add_subcommand("import", "Learn from a file of past launches");
  import->add_option("file", *file, "a trace of launches, on the daemon's host")->required();
  import->callback(
      [&, file] { chosen = [&context, file] { return import_launches(context, *file); }; });
}

}  // namespace forerun::cli
