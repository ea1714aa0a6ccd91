#include "place/known_events.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <cmath>

#include "place/fleet_snapshot.h"

namespace forerun::place {
namespace {

namespace json = boost::json;

constexpr double kTimeMax_s = 1e11;
constexpr double kDay_s = 86'400;

std::unexpected<Error> wrong(std::string_view key, std::string_view why) {
  return fail(ErrorCode::kInvalid, fmt::format("{} {}", key, why));
}

Result<double> number_of(std::string_view key, const json::value& value, double min, double max) {
  const double number = value.is_number() ? value.to_number<double>() : NAN;
  if (!(number >= min && number <= max))
    return wrong(key, fmt::format("must be a number from {:g} to {:g}", min, max));
  return number;
}

Result<double> time_of(std::string_view key, const json::value& value) {
  if (!value.is_string()) return number_of(key, value, 0, kTimeMax_s);
  auto time = parse_utc(value.get_string());
  if (!time) return std::unexpected(std::move(time.error()).within(key));
  return time;
}

Status read_names(std::string_view key, const json::value& value, std::vector<std::string>& names) {
  if (!value.is_array() || value.get_array().size() > kFleetVmsMax)
    return wrong(key, "must be a list of names");
  for (const json::value& item : value.get_array()) {
    if (!item.is_string() || item.get_string().empty() || item.get_string().size() > 200)
      return wrong(key, "must be a list of names");
    names.emplace_back(item.get_string());
  }
  return {};
}

Result<double> every_of(const json::value& value) {
  if (!value.is_string()) return number_of("every", value, 60, 400 * kDay_s);
  if (value.get_string() == "day") return kDay_s;
  if (value.get_string() == "week") return 7 * kDay_s;
  return wrong("every", "must be day, week, or seconds");
}

Status read_member(std::string_view key, const json::value& value, SnapshotEvent& event) {
  if (key == "vms") return read_names(key, value, event.vms);
  if (key == "hosts") return read_names(key, value, event.hosts);
  if (key == "zones") return read_names(key, value, event.zones);
  if (key == "name") {
    if (!value.is_string() || value.get_string().size() > 200)
      return wrong(key, "must be a string of at most 200 bytes");
    event.name = std::string(value.get_string());
  } else if (key == "maintenance") {
    if (!value.is_bool()) return wrong(key, "must be true or false");
    event.is_maintenance = value.get_bool();
  } else if (key == "from") {
    FR_TRY(event.from_s, time_of(key, value));
  } else if (key == "until") {
    FR_TRY(event.until_s, time_of(key, value));
  } else if (key == "every") {
    FR_TRY(event.every_s, every_of(value));
  } else if (key == "percent") {
    FR_TRY(event.percent, number_of(key, value, -99, 10'000));
  } else if (key == "added_cores") {
    FR_TRY(event.added_cores, number_of(key, value, -1e6, 1e6));
  } else if (key == "growth_percent_per_day") {
    FR_TRY(event.growth_percent_per_day, number_of(key, value, -50, 100));
  } else if (key == "capacity_percent") {
    FR_TRY(event.capacity_percent, number_of(key, value, 0, 100));
  } else {
    return fail(ErrorCode::kInvalid, "it has a member that is not known");
  }
  return {};
}

Status check(const SnapshotEvent& event, bool has_end) {
  const bool is_of_hosts = !event.hosts.empty() || !event.zones.empty();
  if (event.vms.empty() == !is_of_hosts) return wrong("it", "must name vms, or hosts or zones");
  const bool changes_demand =
      event.percent != 0 || event.added_cores != 0 || event.growth_percent_per_day != 0;
  const bool changes_capacity = event.capacity_percent != 100 || event.is_maintenance;
  if (is_of_hosts ? changes_demand : changes_capacity)
    return wrong("it", is_of_hosts ? "is of hosts: they have maintenance or capacity_percent"
                                   : "is of VMs: they have percent, added_cores, growth_…");
  if (!changes_demand && !changes_capacity) return wrong("it", "changes nothing");
  if (!(event.until_s > event.from_s)) return wrong("until", "must come after from");
  if (event.every_s > 0 && (!has_end || event.until_s - event.from_s > event.every_s))
    return wrong("every", "must be longer than the event lasts");
  return {};
}

Result<SnapshotEvent> read_event(const json::value& value) {
  if (!value.is_object()) return wrong("it", "must be an object");
  const json::object& object = value.get_object();
  SnapshotEvent event;
  event.until_s = kTimeMax_s;  // growth may go on
  for (const auto& [key, member] : object) FR_CHECK(read_member(key, member, event));
  if (!object.contains("from")) return wrong("from", "is missing");
  if (event.growth_percent_per_day == 0 && !object.contains("until"))
    return wrong("until", "is missing");
  FR_CHECK(check(event, object.contains("until")));
  return event;
}

bool is_any_meant(const std::vector<std::string>& patterns, std::string_view name) {
  return !name.empty() &&
         std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return is_meant(pattern, name); });
}

bool is_of_host(const SnapshotEvent& event, std::string_view name, std::string_view zone) {
  return is_any_meant(event.hosts, name) || is_any_meant(event.zones, zone);
}

forecast::KnownEvent known(const SnapshotEvent& event) {
  return {.from_s = event.from_s,
          .to_s = event.until_s,
          .period_s = event.every_s,
          .factor = 1 + event.percent / 100,
          .added = event.added_cores,
          .growth_per_day = event.growth_percent_per_day / 100,
          .capacity_factor = event.is_maintenance ? 0 : event.capacity_percent / 100};
}

}  // namespace

Result<double> parse_utc(std::string_view text) {
  const auto refused = [&] {
    return fail(ErrorCode::kInvalid,
                fmt::format("must be unix seconds, or a time such as 2026-12-24T08:00:00Z"));
  };
  constexpr std::string_view kShape = "0000-00-00T00:00:00Z";
  if (text.size() != kShape.size() && text.size() != 10) return refused();
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == '0' ? !is_digit : text[i] != kShape[i]) return refused();
  }
  const auto part = [&](size_t at, size_t size) {
    int number = 0;
    if (at < text.size()) std::from_chars(text.data() + at, text.data() + at + size, number);
    return number;
  };
  const std::chrono::year_month_day day{std::chrono::year(part(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(part(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(part(8, 2)))};
  const int hour = part(11, 2), minute = part(14, 2), second = part(17, 2);
  if (!day.ok() || hour > 23 || minute > 59 || second > 60) return refused();
  const auto days = std::chrono::sys_days(day).time_since_epoch().count();
  return static_cast<double>(days) * kDay_s + hour * 3600 + minute * 60 + second;
}

Result<std::vector<SnapshotEvent>> parse_known_events(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_array() || value.get_array().size() > kFleetEventsMax)
    return fail(ErrorCode::kInvalid,
                fmt::format("events must be a list of at most {}", kFleetEventsMax));
  std::vector<SnapshotEvent> events;
  for (const json::value& item : value.get_array()) {
    const std::string path = fmt::format("events[{}]", events.size());
    auto event = read_event(item);
    if (!event) return std::unexpected(std::move(event.error()).within(path));
    if (event->name.empty()) event->name = path;
    events.push_back(std::move(*event));
  }
  return events;
}

std::string to_json(const std::vector<SnapshotEvent>& events) {
  json::array list;
  for (const SnapshotEvent& event : events) {
    json::object object{{"name", event.name}, {"from", event.from_s}};
    if (event.until_s < kTimeMax_s) object["until"] = event.until_s;
    if (event.every_s > 0) object["every"] = event.every_s;
    const auto names = [&](const char* key, const std::vector<std::string>& of) {
      if (!of.empty()) object[key] = json::array(of.begin(), of.end());
    };
    names("vms", event.vms);
    names("hosts", event.hosts);
    names("zones", event.zones);
    if (event.percent != 0) object["percent"] = event.percent;
    if (event.added_cores != 0) object["added_cores"] = event.added_cores;
    if (event.growth_percent_per_day != 0)
      object["growth_percent_per_day"] = event.growth_percent_per_day;
    if (event.capacity_percent != 100) object["capacity_percent"] = event.capacity_percent;
    if (event.is_maintenance) object["maintenance"] = true;
    list.push_back(std::move(object));
  }
  return json::serialize(list);
}

std::vector<forecast::KnownEvent> events_of_vm(const std::vector<SnapshotEvent>& events,
                                               std::string_view name, std::string_view like) {
  std::vector<forecast::KnownEvent> found;
  for (const SnapshotEvent& event : events)
    if (is_any_meant(event.vms, name) || is_any_meant(event.vms, like))
      found.push_back(known(event));
  return found;
}

std::vector<forecast::KnownEvent> events_of_host(const std::vector<SnapshotEvent>& events,
                                                 std::string_view name, std::string_view zone,
                                                 bool with_maintenance) {
  std::vector<forecast::KnownEvent> found;
  for (const SnapshotEvent& event : events)
    if (is_of_host(event, name, zone) && (with_maintenance || !event.is_maintenance))
      found.push_back(known(event));
  return found;
}

void apply_events(FleetSnapshot& fleet, double now) {
  fleet.unix_s = now;
  for (const SnapshotEvent& event : fleet.events) {
    if (!event.is_maintenance) continue;
    // It is at some moment of the horizon if it is now, at its end, or begins in between.
    double begin = event.from_s;
    if (event.every_s > 0 && now > begin)
      begin += std::ceil((now - begin) / event.every_s) * event.every_s;
    const bool is_soon =
        forecast::counts_at(known(event), now) || (begin >= now && begin <= now + fleet.horizon_s);
    if (!is_soon) continue;
    for (SnapshotHost& host : fleet.hosts)
      host.is_drained = host.is_drained || is_of_host(event, host.name, host.zone);
  }
}

}  // namespace forerun::place
