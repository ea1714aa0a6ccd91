// Fleets as JSON. What is not known is refused: a misspelt limit must not be without effect.
#include <boost/json.hpp>
#include <cmath>
#include <set>

#include "core/id.h"
#include "place/fleet_snapshot.h"

namespace forerun::place {
namespace {

namespace json = boost::json;

constexpr double kNumberMax = 1e18;

// An object whose members are taken one by one; the first fault is kept.
class Members {
 public:
  Members(const json::value& value, std::string path, Status& fault)
      : path_(std::move(path)), fault_(fault), object_(value.if_object()) {
    if (object_ == nullptr) refuse("", "must be an object");
  }
  ~Members() {
    if (object_ == nullptr) return;
    for (const auto& [key, value] : *object_)
      if (!taken_.contains(key)) refuse(printable(key), "is no known member");
  }
  Members(const Members&) = delete;
  Members& operator=(const Members&) = delete;

  void text(std::string_view key, std::string& into, bool is_name) {
    const json::value* found = take(key);
    if (found == nullptr) return;
    if (!found->is_string() || found->get_string().size() > 200)
      return refuse(key, "must be a string of at most 200 bytes");
    into = std::string(found->get_string());
    if (is_name && !into.empty() && !is_valid_name(into)) refuse(key, "is no valid name");
  }
  void number(std::string_view key, double& into, double min = 0, double max = 1e9) {
    if (const json::value* found = take(key)) into = number_of(*found, member(key), min, max);
  }
  template <typename T>
  void whole(std::string_view key, T& into, double max) {
    double value = 0;
    if (const json::value* found = take(key)) {
      value = number_of(*found, member(key), 0, max);
      if (value != std::floor(value)) refuse(key, "must be a whole number");
      into = static_cast<T>(value);
    }
  }
  void flag(std::string_view key, bool& into) {
    const json::value* found = take(key);
    if (found == nullptr) return;
    if (!found->is_bool()) return refuse(key, "must be true or false");
    into = found->get_bool();
  }
  void maybe(std::string_view key, std::optional<double>& into, double max) {
    if (const json::value* found = take(key)) into = number_of(*found, member(key), 0, max);
  }
  void maybe(std::string_view key, std::optional<bool>& into) {
    const json::value* found = take(key);
    if (found == nullptr) return;
    if (!found->is_bool()) return refuse(key, "must be true or false");
    into = found->get_bool();
  }
  void labels(std::string_view key, std::map<std::string, std::string>& into) {
    const json::value* found = take(key);
    if (found == nullptr) return;
    if (!found->is_object() || found->get_object().size() > 64)
      return refuse(key, "must be an object of at most 64 strings");
    for (const auto& [name, value] : found->get_object()) {
      if (!value.is_string()) return refuse(key, "must be an object of strings");
      into[std::string(name)] = std::string(value.get_string());
    }
  }
  // Calls `use` with each item and its path.
  template <typename Use>
  void each(std::string_view key, size_t count_max, Use&& use) {
    const json::value* found = take(key);
    if (found == nullptr) return;
    if (!found->is_array() || found->get_array().size() > count_max)
      return refuse(key, fmt::format("must be a list of at most {}", count_max));
    size_t i = 0;
    for (const json::value& item : found->get_array())
      use(item, fmt::format("{}[{}]", member(key), i++));
  }
  // Returns a member as JSON; nothing if it is not there.
  std::string as_json(std::string_view key) {
    const json::value* found = take(key);
    return found == nullptr ? "" : json::serialize(*found);
  }
  void texts(std::string_view key, std::vector<std::string>& into, size_t count_max) {
    each(key, count_max, [&](const json::value& item, const std::string& path) {
      if (!item.is_string()) return refuse_at(path, "must be a string");
      into.emplace_back(item.get_string());
    });
  }
  double number_of(const json::value& value, const std::string& path, double min, double max) {
    double number = 0;
    if (value.is_number()) number = value.to_number<double>();
    if (!value.is_number() || !std::isfinite(number) || number < min || number > max)
      refuse_at(path, fmt::format("must be a number from {:g} to {:g}", min, max));
    return std::isfinite(number) ? std::clamp(number, min, max) : min;
  }
  void refuse(std::string_view key, std::string_view why) { refuse_at(member(key), why); }
  void refuse_at(const std::string& path, std::string_view why) {
    if (fault_) fault_ = fail(ErrorCode::kInvalid, fmt::format("{} {}", path, why));
  }

 private:
  static std::string printable(std::string_view key) {
    std::string text(key.substr(0, 40));
    for (char& c : text)
      if (c < 0x20 || c > 0x7e) c = '?';
    return text;
  }
  std::string member(std::string_view key) const {
    if (key.empty()) return path_.empty() ? "the fleet" : path_;
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  const json::value* take(std::string_view key) {
    if (object_ == nullptr) return nullptr;
    taken_.insert(key);
    return object_->if_contains(key);
  }

  const std::string path_;
  Status& fault_;
  const json::object* object_;
  std::set<std::string_view> taken_;
};

SnapshotHost read_host(const json::value& value, const std::string& path, Status& fault) {
  SnapshotHost host;
  Members members(value, path, fault);
  members.text("name", host.name, true);
  members.text("zone", host.zone, true);
  members.labels("labels", host.labels);
  members.number("cores", host.cores, 0, 1e6);
  members.whole("memory_bytes", host.memory_bytes, kNumberMax);
  members.number("used_cores", host.used_cores);
  members.whole("used_memory_bytes", host.used_memory_bytes, kNumberMax);
  members.flag("drained", host.is_drained);
  members.each("watts", 11, [&](const json::value& item, const std::string& at) {
    host.watts.push_back(members.number_of(item, at, 0, 1e6));
  });
  if (host.name.empty()) members.refuse("name", "is missing");
  if (!(host.cores > 0)) members.refuse("cores", "must be above 0");
  if (!host.watts.empty() && host.watts.size() != 11)
    members.refuse("watts", "must have 11 values: at 0, 10 … 100 %");
  return host;
}

SnapshotVm read_vm(const json::value& value, const std::string& path, Status& fault) {
  SnapshotVm vm;
  Members members(value, path, fault);
  members.text("name", vm.name, true);
  members.text("host", vm.host, true);
  members.text("going_to", vm.going_to, true);
  members.text("like", vm.like, true);
  members.labels("labels", vm.labels);
  members.number("cpus", vm.cpus, 0, 1e6);
  members.whole("memory_bytes", vm.memory_bytes, kNumberMax);
  members.each("demand", kDemandMax, [&](const json::value& item, const std::string& at) {
    vm.demand.push_back(static_cast<float>(members.number_of(item, at, 0, 1e9)));
  });
  members.each("moved_before_ticks", 1000, [&](const json::value& item, const std::string& at) {
    vm.moved_before.push_back(static_cast<uint32_t>(members.number_of(item, at, 0, 1e9)));
  });
  members.flag("pinned", vm.is_pinned);
  members.number("priority", vm.priority, 0, 1000);
  members.number("interruption", vm.interruption, 0, 1e6);
  members.number("move_bytes", vm.move.bytes, 0, kNumberMax);
  members.number("move_seconds", vm.move.seconds, 0, 1e9);
  members.number("move_downtime_seconds", vm.move.downtime_s, 0, 1e9);
  members.text("category", vm.category, false);
  members.number("memory_ratio", vm.memory_ratio, 0, 1e3);
  members.number("io_bytes_per_s", vm.io_bytes_per_s, 0, 1e15);
  members.number("waited_cores", vm.waited_cores);
  if (vm.name.empty()) members.refuse("name", "is missing");
  return vm;
}

SnapshotRule read_rule(const json::value& value, const std::string& path, Status& fault) {
  using Kind = PlacementRule::Kind;
  SnapshotRule rule;
  Members members(value, path, fault);
  std::string kind;
  members.text("kind", kind, false);
  constexpr std::array kKinds{Kind::kTogether, Kind::kApart, Kind::kOnly, Kind::kNever,
                              Kind::kHostsMax};
  const auto* found = std::find_if(kKinds.begin(), kKinds.end(),
                                   [&](Kind each) { return rule_kind_name(each) == kind; });
  if (found == kKinds.end())
    members.refuse("kind", "must be one of together, apart, only, never, hosts_max");
  else
    rule.kind = *found;
  members.text("name", rule.name, false);
  members.texts("vms", rule.vms, kFleetVmsMax);
  members.texts("hosts", rule.hosts, kFleetHostsMax);
  members.labels("host_labels", rule.host_labels);
  members.texts("zones", rule.zones, 1000);
  members.whole("at_most", rule.at_most, kFleetVmsMax);
  members.flag("by_zone", rule.is_by_zone);
  const bool names_hosts = rule.kind == Kind::kOnly || rule.kind == Kind::kNever;
  if (rule.vms.empty()) members.refuse("vms", "must name a VM");
  if (names_hosts && rule.hosts.empty() && rule.host_labels.empty() && rule.zones.empty())
    members.refuse("", "must say which hosts: hosts, host_labels or zones");
  if (rule.at_most == 0) members.refuse("at_most", "must be above 0");
  if (rule.is_by_zone && rule.kind != Kind::kTogether && rule.kind != Kind::kApart)
    members.refuse("by_zone", "is for together and apart");
  if (rule.name.empty()) rule.name = path;
  return rule;
}

// Names that are taken twice, or mean nothing.
Status check_names(const FleetSnapshot& fleet) {
  std::set<std::string_view> hosts, vms;
  for (const SnapshotHost& host : fleet.hosts)
    if (!hosts.insert(host.name).second)
      return fail(ErrorCode::kInvalid, fmt::format("two hosts are called {}", host.name));
  for (const SnapshotVm& vm : fleet.vms) {
    if (!vms.insert(vm.name).second)
      return fail(ErrorCode::kInvalid, fmt::format("two VMs are called {}", vm.name));
    if (!vm.host.empty() && !hosts.contains(vm.host))
      return fail(
          ErrorCode::kInvalid,
          fmt::format("VM {} is on host {}, which is not among the hosts", vm.name, vm.host));
  }
  for (const SnapshotAffinity& affinity : fleet.affinities)
    if (!hosts.contains(affinity.host))
      return fail(
          ErrorCode::kInvalid,
          fmt::format("an affinity is of host {}, which is not among the hosts", affinity.host));
  return {};
}

template <typename T>
json::array list_json(const std::vector<T>& items) {
  json::array list;
  for (const T& item : items) list.emplace_back(item);
  return list;
}

json::object labels_json(const std::map<std::string, std::string>& labels) {
  json::object object;
  for (const auto& [key, value] : labels) object[key] = value;
  return object;
}

json::object json_of(const SnapshotHost& host) {
  json::object object{{"name", host.name},
                      {"zone", host.zone},
                      {"cores", host.cores},
                      {"memory_bytes", host.memory_bytes},
                      {"used_cores", host.used_cores},
                      {"used_memory_bytes", host.used_memory_bytes},
                      {"drained", host.is_drained}};
  if (!host.labels.empty()) object["labels"] = labels_json(host.labels);
  if (!host.watts.empty()) object["watts"] = list_json(host.watts);
  return object;
}

json::object json_of(const SnapshotVm& vm) {
  json::array demand;
  demand.reserve(vm.demand.size());
  for (const float value : vm.demand)
    demand.emplace_back(std::round(static_cast<double>(value) * 1e4) / 1e4);
  json::object object{{"name", vm.name},
                      {"host", vm.host},
                      {"cpus", vm.cpus},
                      {"memory_bytes", vm.memory_bytes},
                      {"demand", std::move(demand)},
                      {"pinned", vm.is_pinned},
                      {"priority", vm.priority},
                      {"interruption", vm.interruption},
                      {"move_bytes", vm.move.bytes},
                      {"move_seconds", vm.move.seconds},
                      {"move_downtime_seconds", vm.move.downtime_s}};
  if (!vm.going_to.empty()) object["going_to"] = vm.going_to;
  if (!vm.like.empty()) object["like"] = vm.like;
  if (!vm.labels.empty()) object["labels"] = labels_json(vm.labels);
  if (!vm.moved_before.empty()) object["moved_before_ticks"] = list_json(vm.moved_before);
  if (!vm.category.empty()) object["category"] = vm.category;
  if (vm.memory_ratio > 0) object["memory_ratio"] = vm.memory_ratio;
  if (vm.io_bytes_per_s > 0) object["io_bytes_per_s"] = vm.io_bytes_per_s;
  if (vm.waited_cores > 0) object["waited_cores"] = vm.waited_cores;
  return object;
}

json::object json_of(const SnapshotRule& rule) {
  json::object object{{"kind", rule_kind_name(rule.kind)},
                      {"name", rule.name},
                      {"vms", list_json(rule.vms)},
                      {"at_most", rule.at_most}};
  if (!rule.hosts.empty()) object["hosts"] = list_json(rule.hosts);
  if (!rule.host_labels.empty()) object["host_labels"] = labels_json(rule.host_labels);
  if (!rule.zones.empty()) object["zones"] = list_json(rule.zones);
  if (rule.is_by_zone) object["by_zone"] = true;
  return object;
}

void read_zones(Members& members, FleetSnapshot& fleet, Status& fault) {
  members.each("zones", 1000, [&](const json::value& item, const std::string& path) {
    Members zone(item, path, fault);
    SnapshotZone& read = fleet.zones.emplace_back();
    zone.text("name", read.name, true);
    zone.number("price", read.price, 0, 1000);
  });
  members.each("zone_links", 100'000, [&](const json::value& item, const std::string& path) {
    Members link(item, path, fault);
    SnapshotZoneLink& read = fleet.zone_links.emplace_back();
    link.text("from", read.from, true);
    link.text("to", read.to, true);
    link.number("latency_ms", read.latency_ms);
    link.number("cost_per_gib", read.cost_per_gib);
  });
  members.each("affinities", 1'000'000, [&](const json::value& item, const std::string& path) {
    Members affinity(item, path, fault);
    SnapshotAffinity& read = fleet.affinities.emplace_back();
    affinity.text("host", read.host, true);
    affinity.text("category", read.category, false);
    affinity.number("score", read.score, 0, 1);
  });
}

void read_settings(Members& members, FleetSnapshot& fleet, Status& fault) {
  members.each("vm_settings", 10'000, [&](const json::value& item, const std::string& path) {
    Members setting(item, path, fault);
    SnapshotVmSetting& read = fleet.vm_settings.emplace_back();
    setting.texts("vms", read.vms, kFleetVmsMax);
    setting.maybe("priority", read.priority, 1000);
    setting.maybe("interruption", read.interruption, 1e6);
    setting.maybe("pinned", read.is_pinned);
  });
  members.each("host_settings", 10'000, [&](const json::value& item, const std::string& path) {
    Members setting(item, path, fault);
    SnapshotHostSetting& read = fleet.host_settings.emplace_back();
    setting.texts("hosts", read.hosts, kFleetHostsMax);
    setting.text("zone", read.zone, true);
    setting.labels("labels", read.labels);
    setting.maybe("cores", read.cores, 1e6);
    setting.maybe("memory_bytes", read.memory_bytes, kNumberMax);
    setting.maybe("drained", read.is_drained);
    setting.number("maintenance_from", read.maintenance_from, 0, 1e12);
    setting.number("maintenance_until", read.maintenance_until, 0, 1e12);
    if (read.cores && !(*read.cores > 0)) setting.refuse("cores", "must be above 0");
  });
}

bool is_any_meant(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return is_meant(pattern, name); });
}

}  // namespace

void apply_settings(FleetSnapshot& fleet, int64_t now) {
  for (const SnapshotVmSetting& setting : fleet.vm_settings)
    for (SnapshotVm& vm : fleet.vms) {
      if (!is_any_meant(setting.vms, vm.name)) continue;
      vm.priority = setting.priority.value_or(vm.priority);
      vm.interruption = setting.interruption.value_or(vm.interruption);
      vm.is_pinned = setting.is_pinned.value_or(vm.is_pinned);
    }
  for (const SnapshotHostSetting& setting : fleet.host_settings)
    for (SnapshotHost& host : fleet.hosts) {
      if (!is_any_meant(setting.hosts, host.name)) continue;
      if (!setting.zone.empty()) host.zone = setting.zone;
      for (const auto& [key, value] : setting.labels) host.labels[key] = value;
      if (setting.cores) {
        host.cores = *setting.cores;
        host.used_cores = 0;
      }
      if (setting.memory_bytes) {
        host.memory_bytes = static_cast<uint64_t>(*setting.memory_bytes);
        host.used_memory_bytes = 0;
      }
      host.is_drained = setting.is_drained.value_or(host.is_drained);
      const auto at = static_cast<double>(now);
      if (at >= setting.maintenance_from - fleet.horizon_s && at < setting.maintenance_until)
        host.is_drained = true;
    }
  fleet.vm_settings.clear();
  fleet.host_settings.clear();
  apply_events(fleet, static_cast<double>(now));
}

bool SnapshotVm::operator==(const SnapshotVm& other) const {
  return name == other.name && host == other.host && going_to == other.going_to &&
         like == other.like && labels == other.labels && cpus == other.cpus &&
         memory_bytes == other.memory_bytes && demand == other.demand &&
         moved_before == other.moved_before && is_pinned == other.is_pinned &&
         priority == other.priority && interruption == other.interruption &&
         move.bytes == other.move.bytes && move.seconds == other.move.seconds &&
         move.downtime_s == other.move.downtime_s && category == other.category;
}

Result<FleetSnapshot> parse_fleet(std::string_view text) {
  json::error_code error;
  json::parse_options options;
  options.max_depth = 8;
  const json::value value = json::parse(text, error, {}, options);
  if (error) return fail(ErrorCode::kInvalid, "it is no JSON: " + error.message());
  FleetSnapshot fleet;
  Status fault;
  std::string events;
  {
    Members members(value, "", fault);
    members.number("tick_seconds", fleet.tick_s, 1, 86'400);
    members.number("horizon_seconds", fleet.horizon_s, 1, 7 * 86'400);
    members.whole("season_ticks", fleet.season_ticks, 100'000);
    members.whole("moves_max", fleet.moves_max, 1 << 20);
    members.flag("consolidate", fleet.consolidates);
    members.number("link_bytes_per_s", fleet.link_bytes_per_s, 1, 1e12);
    members.each("hosts", kFleetHostsMax, [&](const json::value& item, const std::string& path) {
      fleet.hosts.push_back(read_host(item, path, fault));
    });
    members.each("vms", kFleetVmsMax, [&](const json::value& item, const std::string& path) {
      fleet.vms.push_back(read_vm(item, path, fault));
    });
    members.each("rules", kFleetRulesMax, [&](const json::value& item, const std::string& path) {
      fleet.rules.push_back(read_rule(item, path, fault));
    });
    read_zones(members, fleet, fault);
    read_settings(members, fleet, fault);
    members.number("unix_seconds", fleet.unix_s, 0, 1e11);
    events = members.as_json("events");
  }
  FR_CHECK(fault);
  if (!events.empty()) {
    FR_TRY(fleet.events, parse_known_events(events));
  }
  FR_CHECK(check_names(fleet));
  return fleet;
}

std::string to_json(const FleetSnapshot& fleet) {
  json::array hosts, vms, rules, zones, links, affinities;
  for (const SnapshotHost& host : fleet.hosts) hosts.push_back(json_of(host));
  for (const SnapshotVm& vm : fleet.vms) vms.push_back(json_of(vm));
  for (const SnapshotRule& rule : fleet.rules) rules.push_back(json_of(rule));
  for (const SnapshotZone& zone : fleet.zones)
    zones.push_back({{"name", zone.name}, {"price", zone.price}});
  for (const SnapshotZoneLink& link : fleet.zone_links)
    links.push_back({{"from", link.from},
                     {"to", link.to},
                     {"latency_ms", link.latency_ms},
                     {"cost_per_gib", link.cost_per_gib}});
  for (const SnapshotAffinity& affinity : fleet.affinities)
    affinities.push_back(
        {{"host", affinity.host}, {"category", affinity.category}, {"score", affinity.score}});
  json::object all{
      {"tick_seconds", fleet.tick_s},       {"horizon_seconds", fleet.horizon_s},
      {"season_ticks", fleet.season_ticks}, {"moves_max", fleet.moves_max},
      {"consolidate", fleet.consolidates},  {"link_bytes_per_s", fleet.link_bytes_per_s},
      {"hosts", std::move(hosts)},          {"vms", std::move(vms)},
      {"rules", std::move(rules)},          {"zones", std::move(zones)},
      {"zone_links", std::move(links)},     {"affinities", std::move(affinities)}};
  // Hosts that know no events refuse them.
  if (!fleet.events.empty()) all["events"] = json::parse(to_json(fleet.events));
  if (fleet.unix_s > 0) all["unix_seconds"] = fleet.unix_s;
  return json::serialize(all);
}

}  // namespace forerun::place
