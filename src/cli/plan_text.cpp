#include "cli/plan_text.h"

#include <boost/json.hpp>

#include "cli/fields.h"
#include "cli/text.h"
#include "os/clock.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

std::string load_cell(const json::object& load, std::string_view key) {
  const json::value* value = load.if_contains(key);
  return value != nullptr && value->is_number() ? show_ratio(number_of(load, key))
                                                : std::string("–");
}

std::string hosts_text(const json::object& plan) {
  Table table({{"HOST"},
               {"ZONE"},
               {"VMS", true},
               {"CPU NOW", true},
               {"EXPECTED", true},
               {"OVER WITH", true},
               {"MEMORY", true},
               {""}});
  for (const json::value& item : list_of(plan, "hosts")) {
    if (!item.is_object()) continue;
    const json::object& host = item.as_object();
    const json::object& load = object_of(host, "load");
    const std::string zone = text_of(host, "zone");
    const double memory = number_of(host, "memory_bytes");
    table.add({text_of(host, "name"), zone.empty() ? "–" : zone, show_count(count_of(host, "vms")),
               load_cell(load, "now"), load_cell(load, load.contains("ahead") ? "ahead" : "mean"),
               load_cell(load, "over_probability"),
               memory > 0 ? fmt::format("{} of {}", show_bytes(number_of(host, "vm_memory_bytes")),
                                        show_bytes(memory))
                          : show_bytes(number_of(host, "vm_memory_bytes")),
               flag_of(host, "drained") ? "drained" : ""});
  }
  return table.text();
}

std::string rejected_text(const json::object& of) {
  std::string text;
  for (const json::value& item : list_of(of, "rejected"))
    if (item.is_object()) text += fmt::format("     not: {}\n", text_of(item.as_object(), "why"));
  return text;
}

std::string move_text(const json::object& move, size_t number, bool is_brief) {
  const std::string from = text_of(move, "from");
  std::string text =
      fmt::format("{:>3}. {}: {} -> {} ({}), confidence {}\n     {}\n", number, text_of(move, "vm"),
                  from.empty() ? "starts" : from, text_of(move, "to"), text_of(move, "reason"),
                  show_ratio(number_of(move, "confidence")), text_of(move, "why"));
  if (number_of(move, "seconds") > 0)
    text += fmt::format(
        "     sends {} in {}, down for {}; avoids {:.3g} core seconds of waiting, costs {:.3g}{}\n",
        show_bytes(number_of(move, "bytes")), show_seconds(number_of(move, "seconds")),
        show_seconds(number_of(move, "downtime_seconds")), number_of(move, "avoided_core_seconds"),
        number_of(move, "cost_core_seconds"),
        move.contains("payback_seconds")
            ? fmt::format(", pays after {}", show_seconds(number_of(move, "payback_seconds")))
            : "");
  return is_brief ? text : text + rejected_text(move);
}

}  // namespace

Result<std::string> plan_text(std::string_view answer, bool is_brief) {
  FR_TRY(const json::object plan, parse_answer(answer));
  std::string text;
  for (const json::value& item : list_of(plan, "supposed"))
    if (item.is_string())
      text += fmt::format("if {}\n", printable(std::string_view(item.get_string())));
  text += hosts_text(plan);
  text += fmt::format("\n{}, for the next {}, as of {}\n", text_of(plan, "verdict"),
                      show_seconds(number_of(plan, "horizon_seconds")), text_of(plan, "as_of"));
  size_t number = 0;
  for (const json::value& item : list_of(plan, "moves"))
    if (item.is_object()) text += move_text(item.as_object(), ++number, is_brief);
  for (const json::value& item : list_of(plan, "unrelieved")) {
    if (!item.is_object()) continue;
    text += fmt::format("  !  {}\n", text_of(item.as_object(), "why"));
    if (!is_brief) text += rejected_text(item.as_object());
  }
  for (const json::value& item : list_of(plan, "notes"))
    if (item.is_string())
      text += fmt::format("note: {}\n", printable(std::string_view(item.get_string())));
  return text;
}

Result<std::string> moves_text(std::string_view answer, const std::string& vm) {
  FR_TRY(const json::object moves, parse_answer(answer));
  std::string text;
  for (const json::value& item : list_of(moves, "items")) {
    if (!item.is_object()) continue;
    const json::object& move = item.as_object();
    const std::string verdict = text_of(move, "verdict");
    text += fmt::format(
        "{}  {} -> {} ({}): {}\n  why       {}\n  expected  to avoid {:.3g} core seconds of "
        "waiting "
        "in {}, for {:.3g}; confidence {}\n",
        os::format_utc(static_cast<int64_t>(number_of(move, "decided_at"))), text_of(move, "from"),
        text_of(move, "to"), text_of(move, "reason"), text_of(move, "state"), text_of(move, "why"),
        number_of(move, "avoided_core_seconds"), show_seconds(number_of(move, "horizon_seconds")),
        number_of(move, "cost_core_seconds"), show_ratio(number_of(move, "confidence")));
    if (const std::string outcome = text_of(move, "outcome"); !outcome.empty())
      text += fmt::format("  outcome   {}{}\n", outcome,
                          count_of(move, "attempts") > 1
                              ? fmt::format(" (tried {} times)", count_of(move, "attempts"))
                              : "");
    if (!verdict.empty())
      text += fmt::format(
          "  came true {}: {:.3g} core seconds were not met, {:.3g} would not have been\n", verdict,
          number_of(move, "unmet_with_core_seconds"),
          number_of(move, "unmet_without_core_seconds"));
  }
  if (text.empty())
    text = fmt::format("no plan has moved {}; forerun plan show says why not\n", vm);
  return text;
}

}  // namespace forerun::cli
