// forerun explain prefetch: what each model said, what was fetched for it, and what came of it.
#include <boost/json.hpp>
#include <cmath>
#include <limits>

#include "cli/fields.h"
#include "cli/stats.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

double ratio_of(double part, double whole) {
  return whole > 0 ? part / whole : std::numeric_limits<double>::quiet_NaN();
}

std::string counted(const json::object& object, std::string_view key) {
  return show_count(count_of(object, key));
}

bool has_number(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number();
}

std::string ago(const json::object& object, std::string_view key) {
  return has_number(object, key) ? fmt::format("{} ago", show_seconds(number_of(object, key)))
                                 : "some time ago";
}

// Returns a sentence on what a model is worth.
std::string worth_of(const json::object& model) {
  if (text_of(model, "name") == "proposed") return "all that was likely enough to be proposed";
  if (count_of(model, "said_blocks") == 0) return "has said nothing that is decided yet";
  if (flag_of(model, "muted"))
    return fmt::format("muted {}: of what it would fetch {} came true; still watched",
                       ago(model, "muted_changed_seconds"),
                       show_ratio(number_of(model, "proposals_true_ratio")));
  if (count_of(model, "issued_chunks") == 0)
    return "said nothing likely enough, or others said it first";
  const double useful = number_of(model, "used_chunks") + number_of(model, "late_chunks");
  const double decided = useful + number_of(model, "wasted_chunks");
  if (decided == 0) return "what it fetched is not decided yet";
  return fmt::format("{} of what it fetched was used", show_ratio(useful / decided));
}

std::string verdict_on(const json::object& model) {
  std::string text = worth_of(model);
  if (!flag_of(model, "muted") && count_of(model, "times_muted") > 0)
    text += fmt::format("; was muted, heard again {}", ago(model, "muted_changed_seconds"));
  if (const uint64_t changes = count_of(model, "phase_changes"); changes > 0)
    text += fmt::format("; forgot {} (last {}): the guest had changed its ways",
                        changes == 1 ? "once" : fmt::format("{} times", show_count(changes)),
                        ago(model, "phase_changed_seconds"));
  return text;
}

std::string calibration_text(const json::object& model) {
  Table bins({{"SAID", true}, {"HAPPENED", true}, {"BLOCKS", true}});
  size_t used = 0;
  for (const json::value& item : list_of(model, "bins")) {
    if (!item.is_object() || count_of(item.as_object(), "count") == 0) continue;
    const json::object& bin = item.as_object();
    bins.add({show_ratio(number_of(bin, "said_ratio")),
              show_ratio(number_of(bin, "happened_ratio")), counted(bin, "count")});
    ++used;
  }
  if (used == 0) return "";
  return fmt::format("\n{}, {}: of what it said, how much happened (gap {})\n{}",
                     text_of(model, "name"), text_of(model, "phase"),
                     show_ratio(number_of(model, "calibration_gap_ratio")), bins.text());
}

std::string phase_text(const json::object& stats) {
  const std::string phase = text_of(stats, "phase");
  if (phase.empty()) return "";
  return fmt::format("phase      {} for {}\n", phase == "work" ? "at work" : "boots",
                     show_seconds(number_of(stats, "phase_seconds")));
}

std::string budget_text(const json::object& stats) {
  return fmt::format(
      "budget     {} may be fetched ahead now, of {} earned; {} of what was fetched lately was "
      "used\n"
      "fetched    {} chunks ahead ({}): {} in time, {} late, {} wasted ({}), {} not decided yet\n",
      show_bytes(number_of(stats, "prefetch_budget_bytes")),
      show_bytes(number_of(stats, "prefetch_earned_bytes")),
      show_ratio(number_of(stats, "prefetch_useful_ratio")), counted(stats, "issued_chunks"),
      show_bytes(number_of(stats, "prefetch_fetched_bytes")), counted(stats, "hit_chunks"),
      counted(stats, "late_chunks"), counted(stats, "wasted_chunks"),
      show_bytes(number_of(stats, "wasted_bytes")), counted(stats, "undecided_chunks"));
}

std::vector<std::string> row_of(const json::object& model) {
  return {
      text_of(model, "name"),
      text_of(model, "phase"),
      counted(model, "said_blocks"),
      show_ratio(ratio_of(number_of(model, "came_true_blocks"), number_of(model, "said_blocks"))),
      counted(model, "issued_chunks"),
      counted(model, "used_chunks"),
      counted(model, "late_chunks"),
      counted(model, "wasted_chunks"),
      show_bytes(number_of(model, "issued_bytes")),
      show_bytes(number_of(model, "wasted_bytes")),
      show_ratio(number_of(model, "calibration_gap_ratio")),
      verdict_on(model)};
}

}  // namespace

Result<std::string> models_text(std::string_view answer) {
  FR_TRY(const json::object stats, parse_answer(answer));
  if (list_of(stats, "models").empty()) return "No model watches this VM: prefetch is off.\n";
  Table table({{"MODEL"},
               {"PHASE"},
               {"SAID", true},
               {"TRUE", true},
               {"FETCHED", true},
               {"USED", true},
               {"LATE", true},
               {"WASTED", true},
               {"BYTES", true},
               {"IN VAIN", true},
               {"GAP", true},
               {"VERDICT"}});
  std::string calibration;
  for (const json::value& item : list_of(stats, "models")) {
    if (!item.is_object()) continue;
    table.add(row_of(item.as_object()));
    calibration += calibration_text(item.as_object());
  }
  return fmt::format(
      "What was foreseen for {} since its start (SAID and TRUE in blocks, then chunks, then "
      "bytes on the link)\n\n{}{}\n{}{}",
      text_of(stats, "name"), phase_text(stats), budget_text(stats), table.text(), calibration);
}

}  // namespace forerun::cli
