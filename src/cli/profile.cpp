#include "cli/profile.h"

#include <boost/json.hpp>
#include <cmath>

#include "cli/fields.h"
#include "cli/text.h"
#include "telemetry/control.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

std::string row(std::string_view heading, const std::string& text) {
  return fmt::format("{:<10}{}\n", heading, text);
}

std::string profiles_row(const json::object& answer) {
  std::string text = fmt::format("{} taken, {} lost", show_count(count_of(answer, "taken")),
                                 show_count(count_of(answer, "lost")));
  for (const json::value& entry : list_of(answer, "refused")) {
    if (const json::object* refusal = entry.if_object())
      text += fmt::format(", {} refused ({})", show_count(count_of(*refusal, "lines")),
                          text_of(*refusal, "reason"));
  }
  const json::value* age = answer.if_contains("age_seconds");
  if (age != nullptr && age->is_number())
    text += fmt::format("; the newest {} ago", show_seconds(number_of(answer, "age_seconds")));
  return row("profiles", text);
}

// What the host asks for; nothing if the agent does as it likes.
std::string asked_row(const json::object& answer) {
  const json::object& asked = object_of(answer, "asked");
  std::string text;
  if (asked.contains("period_ms")) text = fmt::format("every {} ms", count_of(asked, "period_ms"));
  if (asked.contains("metrics")) {
    std::string names;
    for (const json::value& name : list_of(asked, "metrics"))
      if (name.is_string())
        names += fmt::format("{}{}", names.empty() ? "" : ", ", std::string_view(name.as_string()));
    text += fmt::format("{}{}", text.empty() ? "" : "; ", names.empty() ? "no metrics" : names);
  }
  return text.empty() ? text : row("asked", text);
}

std::string cpu_row(const json::object& cpu) {
  std::string text = fmt::format("{} cores, {} busy, {} stolen", count_of(cpu, "cores"),
                                 show_ratio(number_of(cpu, "busy_ratio")),
                                 show_ratio(number_of(cpu, "steal_ratio")));
  size_t shown = 0;
  for (const json::value& entry : list_of(cpu, "top")) {
    const json::object* process = entry.if_object();
    if (process == nullptr || ++shown > 3) break;
    text += fmt::format("{}{} {:.2f}", shown == 1 ? "; " : ", ", text_of(*process, "name"),
                        number_of(*process, "cores"));
  }
  text = row("cpu", text);
  std::string threads;
  shown = 0;
  for (const json::value& entry : list_of(cpu, "threads")) {
    const json::object* thread = entry.if_object();
    if (thread == nullptr || ++shown > 3) break;
    threads += fmt::format("{}{} {:.2f}", shown == 1 ? "" : ", ", text_of(*thread, "name"),
                           number_of(*thread, "cores"));
  }
  return threads.empty() ? text : text + row("threads", threads);
}

std::string memory_row(const json::object& memory) {
  return row(
      "memory",
      fmt::format("{} of {} available; {:.0f} faults/s, {:.0f} major, {:.0f} refaults",
                  show_bytes(number_of(memory, "available_bytes")),
                  show_bytes(number_of(memory, "total_bytes")),
                  number_of(memory, "minor_faults_per_s"), number_of(memory, "major_faults_per_s"),
                  number_of(memory, "refaults_per_s")));
}

std::string pattern_row(const json::object& pattern) {
  const json::object& shares = object_of(pattern, "shares");
  std::string text;
  for (const char* name : {"scan", "loop", "stride", "chase", "random"}) {
    const double share = number_of(shares, name);
    if (share > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, show_ratio(share));
  }
  return row("pattern", fmt::format("{}; {} samples", text.empty() ? "not told" : text,
                                    show_count(count_of(pattern, "samples"))));
}

std::string io_rows(const json::object& profile) {
  std::string text;
  for (const json::value& entry : list_of(profile, "disks")) {
    if (const json::object* disk = entry.if_object())
      text += row(text_of(*disk, "name"),
                  fmt::format("reads {} in {}, writes {} in {}",
                              show_rate(number_of(*disk, "read_bytes_per_s")),
                              show_seconds(number_of(*disk, "read_latency_us") / 1e6),
                              show_rate(number_of(*disk, "write_bytes_per_s")),
                              show_seconds(number_of(*disk, "write_latency_us") / 1e6)));
  }
  for (const json::value& entry : list_of(profile, "networks")) {
    if (const json::object* network = entry.if_object())
      text += row(text_of(*network, "name"),
                  fmt::format("in {}, out {}", show_rate(number_of(*network, "rx_bytes_per_s")),
                              show_rate(number_of(*network, "tx_bytes_per_s"))));
  }
  return text;
}

std::string window_table(const json::object& answer) {
  Table table({{"VALUE"}, {"LAST", true}, {"MEAN", true}, {"MIN", true}, {"MAX", true}});
  for (const json::value& entry : list_of(answer, "window")) {
    const json::object* value = entry.if_object();
    if (value == nullptr) continue;
    table.add({text_of(*value, "name"), fmt::format("{:.3f}", number_of(*value, "last")),
               fmt::format("{:.3f}", number_of(*value, "mean")),
               fmt::format("{:.3f}", number_of(*value, "min")),
               fmt::format("{:.3f}", number_of(*value, "max"))});
  }
  return fmt::format("\nover the last {} profiles, {}:\n{}",
                     show_count(count_of(answer, "window_profiles")),
                     show_seconds(number_of(answer, "window_seconds")), table.text());
}

}  // namespace

Result<std::string> vm_profile_text(std::string_view answer) {
  FR_TRY(const json::object object, parse_answer(answer));
  std::string text = profiles_row(object) + asked_row(object);
  const json::object& profile = object_of(object, "profile");
  if (profile.empty())
    return text + row("agent", "none has spoken: is forerun-agent running in the guest?");
  const json::object& agent = object_of(profile, "agent");
  text +=
      row("agent", fmt::format("every {} ms; {:.2f} % of a core, {}",
                               count_of(profile, "period_ms"), 100 * number_of(agent, "cpu_ratio"),
                               show_bytes(number_of(agent, "rss_bytes"))));
  if (profile.contains("cpu")) text += cpu_row(object_of(profile, "cpu"));
  if (profile.contains("memory")) text += memory_row(object_of(profile, "memory"));
  if (profile.contains("working_set")) {
    const json::object& set = object_of(profile, "working_set");
    text +=
        row("touched", fmt::format("{} by {} in {}", show_bytes(number_of(set, "referenced_bytes")),
                                   text_of(set, "name"), show_seconds(number_of(set, "window_s"))));
  }
  if (profile.contains("pattern")) text += pattern_row(object_of(profile, "pattern"));
  text += io_rows(profile);
  if (profile.contains("pressure")) {
    const json::object& pressure = object_of(profile, "pressure");
    text += row("pressure",
                fmt::format("cpu {}, memory {}, io {}", show_ratio(number_of(pressure, "cpu_some")),
                            show_ratio(number_of(pressure, "memory_some")),
                            show_ratio(number_of(pressure, "io_some"))));
  }
  for (const json::value& entry : list_of(profile, "missing")) {
    if (const json::object* missing = entry.if_object())
      text += row("missing",
                  fmt::format("{}: {}", text_of(*missing, "metric"), text_of(*missing, "reason")));
  }
  return text + window_table(object);
}

Result<std::string> profile_request(const ProfileArguments& arguments) {
  telemetry::Control asked;
  if (!arguments.period.empty()) {
    FR_TRY(const double seconds, parse_seconds(arguments.period));
    const double ms = std::round(seconds * 1000);
    if (!(ms >= telemetry::kPeriodMsMin && ms <= telemetry::kPeriodMsMax))
      return fail(ErrorCode::kInvalid,
                  fmt::format("--period {}: it may be from {} ms to {} s", arguments.period,
                              telemetry::kPeriodMsMin, telemetry::kPeriodMsMax / 1000));
    asked.period_ms = static_cast<uint64_t>(ms);
  }
  for (const std::string& given : arguments.metrics) {
    std::string_view name = given;
    if (name == "io") name = "disks";
    if (name == "net") name = "networks";
    if (!asked.metrics) asked.metrics = telemetry::Metrics{0};
    if (name == "all") asked.metrics = telemetry::Metrics{};
    bool is_known = name == "all";
    std::string all;
    for (size_t i = 0; i < telemetry::kMetricCount; ++i) {
      const std::string_view metric = telemetry::metric_name(static_cast<telemetry::Metric>(i));
      all += fmt::format(", {}", metric);
      if (metric != name) continue;
      asked.metrics->bits |= 1u << i;
      is_known = true;
    }
    if (!is_known)
      return fail(ErrorCode::kInvalid, fmt::format("--metrics {}: there are all{}", given, all));
  }
  return telemetry::write_control(asked);
}

Result<int> vm_profile(const Context& context, const ProfileArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  const std::string path = "/api/v1/vms/" + arguments.name + "/profile";
  const bool is_asking = !arguments.period.empty() || !arguments.metrics.empty();
  FR_TRY(const std::string request, profile_request(arguments));
  FR_TRY(const std::string answer, is_asking ? context.patch(path, request) : context.get(path));
  if (context.output != Output::kTable) {
    print_json(context, answer);
    return kExitOk;
  }
  FR_TRY(const std::string text, vm_profile_text(answer));
  print(text);
  return kExitOk;
}

}  // namespace forerun::cli
