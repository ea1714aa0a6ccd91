#include "place/fleet_model.h"

#include <algorithm>

#include "forecast/series_forecast.h"

namespace forerun::place {
namespace {

constexpr double kMib = 1024.0 * 1024;
constexpr double kDay_s = 86'400;
constexpr uint32_t kHorizonTicksMax = 2000;
constexpr size_t kForecastMin = 6;      // values, below which nothing is foreseen
constexpr double kInterval_sd = 1.645;  // half of a normal's 90 %

const std::string kNone;

}  // namespace

Result<std::unique_ptr<FleetModel>> FleetModel::make(FleetSnapshot snapshot) {
  std::unique_ptr<FleetModel> model(new FleetModel(std::move(snapshot)));
  FR_CHECK(model->add_zones());
  model->add_hosts();
  model->add_vms();
  FR_CHECK(model->add_rules());
  model->add_affinities();
  return model;
}

const std::string& FleetModel::host_name(int host) const {
  return host < 0 ? kNone : snapshot_.hosts[static_cast<size_t>(host)].name;
}

const std::string& FleetModel::vm_name(int vm) const {
  return vm < 0 ? kNone : snapshot_.vms[static_cast<size_t>(vm)].name;
}

PlannerOptions FleetModel::options(bool explains) const {
  PlannerOptions options;
  options.frees_hosts = snapshot_.consolidates;
  options.explains = explains;
  options.value.horizon_s = snapshot_.horizon_s;
  options.value.payback_s_max = snapshot_.horizon_s / 2;
  return options;
}

uint32_t FleetModel::zone_of(const std::string& name) const {
  return static_cast<uint32_t>(std::find(zones_.begin(), zones_.end(), name) - zones_.begin());
}

Status FleetModel::add_zones() {
  for (const SnapshotHost& host : snapshot_.hosts)
    if (zone_of(host.zone) == zones_.size()) zones_.push_back(host.zone);
  for (const SnapshotZone& zone : snapshot_.zones)
    if (zone_of(zone.name) == zones_.size()) zones_.push_back(zone.name);
  if (zones_.size() > 1000) return fail(ErrorCode::kInvalid, "over 1000 zones");
  state_.zones = std::max<uint32_t>(1, static_cast<uint32_t>(zones_.size()));
  if (!snapshot_.zones.empty()) {
    state_.zone_prices.assign(state_.zones, 1);
    for (const SnapshotZone& zone : snapshot_.zones)
      state_.zone_prices[zone_of(zone.name)] = zone.price;
  }
  if (snapshot_.zone_links.empty()) return {};
  state_.zone_links.resize(size_t{state_.zones} * state_.zones);
  for (const SnapshotZoneLink& link : snapshot_.zone_links) {
    const uint32_t a = zone_of(link.from), b = zone_of(link.to);
    if (a == zones_.size() || b == zones_.size())
      return fail(ErrorCode::kInvalid, fmt::format("no host is in zone {}, which a link names",
                                                   a == zones_.size() ? link.from : link.to));
    state_.zone_links[a * state_.zones + b] =
        state_.zone_links[b * state_.zones + a] = {link.cost_per_gib, link.latency_ms};
  }
  return {};
}

// The least of now and of the horizon's end.
double FleetModel::capacity_share(const std::vector<forecast::KnownEvent>& events) const {
  return std::min(
      forecast::capacity_with_events(1, events, snapshot_.unix_s),
      forecast::capacity_with_events(1, events, snapshot_.unix_s + snapshot_.horizon_s));
}

// What is used by others than VMs is not there for them.
void FleetModel::add_hosts() {
  for (const SnapshotHost& host : snapshot_.hosts) {
    FleetHost added;
    // A host that is maintained is drained: what it has does not matter.
    const auto events = events_of_host(snapshot_.events, host.name, host.zone, false);
    const double left = snapshot_.unix_s > 0 ? capacity_share(events) : 1;
    added.capacity = std::max(host.cores * 0.01, host.cores * left - host.used_cores);
    const auto memory = static_cast<double>(host.memory_bytes);
    if (memory > 0)
      added.memory_mb =
          std::max(1.0, (memory - static_cast<double>(host.used_memory_bytes)) / kMib);
    added.takes_vms = !host.is_drained;
    added.zone = zone_of(host.zone);
    if (host.watts.size() == 11) {
      std::array<double, 11> watts{};
      std::copy(host.watts.begin(), host.watts.end(), watts.begin());
      added.power = curves_.emplace_back(std::make_unique<PowerCurve>(watts)).get();
    }
    state_.hosts.push_back(added);
  }
}

// The largest of what is forecast for the next tick, for half of the horizon and for its end: a
// peak in between counts as well as a rise.
void FleetModel::foresee(const SnapshotVm& from, FleetVm& vm, std::string& method) const {
  if (from.demand.size() < kForecastMin) return;
  const auto end = static_cast<uint32_t>(
      std::clamp(snapshot_.horizon_s / snapshot_.tick_s, 1.0, double{kHorizonTicksMax}));
  forecast::SeriesForecaster::Options options;
  options.horizons = {1, std::max(1U, end / 2), end};
  const auto day = static_cast<uint32_t>(kDay_s / snapshot_.tick_s);
  options.season = snapshot_.season_ticks;
  if (options.season == 0 && from.demand.size() >= 2 * size_t{day}) options.season = day;
  forecast::SeriesForecaster forecaster(options);
  const double now = snapshot_.unix_s;
  const auto events = now > 0 ? events_of_vm(snapshot_.events, from.name, from.like)
                              : std::vector<forecast::KnownEvent>();
  double at = now - (static_cast<double>(from.demand.size()) - 0.5) * snapshot_.tick_s;
  for (const float value : from.demand) {
    const auto usual = forecast::without_events(static_cast<double>(value), events, at);
    forecaster.observe(usual.demand, usual.is_usual);
    at += snapshot_.tick_s;
  }
  for (size_t i = 0; i < options.horizons.size(); ++i) {
    const auto said = forecaster.forecast(i);
    if (!said) continue;
    const auto foreseen =
        forecast::with_events({said->value, (said->high - said->low) / (2 * kInterval_sd)}, events,
                              now + options.horizons[i] * snapshot_.tick_s);
    if (vm.expected.is_known && foreseen.mean <= vm.expected.mean) continue;
    vm.expected = {true, foreseen.mean, foreseen.sd};
    method = said->method;
  }
  vm.expected.mean = std::max(0.0, vm.expected.mean);
  if (from.cpus > 0) vm.expected.mean = std::min(vm.expected.mean, from.cpus);
}

void FleetModel::add_vms() {
  std::map<std::string_view, int> hosts;
  for (size_t h = 0; h < snapshot_.hosts.size(); ++h)
    hosts[snapshot_.hosts[h].name] = static_cast<int>(h);
  methods_.resize(snapshot_.vms.size());
  const auto day = static_cast<uint32_t>(kDay_s / snapshot_.tick_s);
  for (size_t v = 0; v < snapshot_.vms.size(); ++v) {
    const SnapshotVm& vm = snapshot_.vms[v];
    FleetVm added;
    added.host = vm.host.empty() ? -1 : hosts[vm.host];
    added.starts = vm.host.empty();
    added.memory_mb = static_cast<double>(vm.memory_bytes) / kMib;
    added.may_move = !vm.is_pinned;
    // It counts where it goes; until it is there, its memory is held where it was as well.
    if (const auto going = hosts.find(vm.going_to); going != hosts.end() && !vm.host.empty()) {
      double& left_mb = state_.hosts[static_cast<size_t>(added.host)].memory_mb;
      if (left_mb > 0) left_mb = std::max(1.0, left_mb - added.memory_mb);
      added.host = going->second;
      added.may_move = false;
    }
    added.past = vm.demand;
    if (!vm.demand.empty()) added.demand = static_cast<double>(vm.demand.back());
    for (const uint32_t before : vm.moved_before) {
      added.ticks_since_move = std::min(added.ticks_since_move, before);
      added.moves_lately += before < day ? 1 : 0;
    }
    added.cost = vm.move;
    added.priority = vm.priority;
    added.interruption = vm.interruption;
    foresee(vm, added, methods_[v]);
    state_.vms.push_back(added);
  }
  state_.moves_left = snapshot_.moves_max;
}

Status FleetModel::add_rules() {
  for (const SnapshotRule& rule : snapshot_.rules) {
    PlacementRule added;
    added.kind = rule.kind;
    added.is_by_zone = rule.is_by_zone;
    added.name = rule.name;
    added.at_most = rule.at_most;
    const auto matches = [](const std::vector<std::string>& patterns, const std::string& name) {
      return !name.empty() &&
             std::any_of(patterns.begin(), patterns.end(),
                         [&](const std::string& pattern) { return is_meant(pattern, name); });
    };
    for (size_t v = 0; v < snapshot_.vms.size(); ++v)
      if (matches(rule.vms, snapshot_.vms[v].name) || matches(rule.vms, snapshot_.vms[v].like))
        added.vms.push_back(static_cast<int>(v));
    for (const std::string& zone : rule.zones)
      if (zone_of(zone) == zones_.size())
        return fail(ErrorCode::kInvalid,
                    fmt::format("rule {}: no host is in zone {}", rule.name, zone));
    for (size_t h = 0; h < snapshot_.hosts.size(); ++h) {
      const SnapshotHost& host = snapshot_.hosts[h];
      const bool has_labels =
          !rule.host_labels.empty() &&
          std::all_of(rule.host_labels.begin(), rule.host_labels.end(), [&](const auto& label) {
            const auto found = host.labels.find(label.first);
            return found != host.labels.end() && found->second == label.second;
          });
      if (has_labels || matches(rule.hosts, host.name) ||
          std::find(rule.zones.begin(), rule.zones.end(), host.zone) != rule.zones.end())
        added.hosts.push_back(static_cast<int>(h));
    }
    state_.rules.push_back(std::move(added));
  }
  return {};
}

void FleetModel::add_affinities() {
  if (snapshot_.affinities.empty()) return;
  const auto category_of = [&](const std::string& name) {
    return std::find(categories_.begin(), categories_.end(), name) - categories_.begin();
  };
  for (const SnapshotAffinity& affinity : snapshot_.affinities)
    if (static_cast<size_t>(category_of(affinity.category)) == categories_.size())
      categories_.push_back(affinity.category);
  state_.categories = static_cast<uint32_t>(categories_.size());
  // Nothing known is neither well nor ill suited.
  state_.affinities.assign(state_.hosts.size() * categories_.size(), 0.5F);
  for (const SnapshotAffinity& affinity : snapshot_.affinities)
    for (size_t h = 0; h < snapshot_.hosts.size(); ++h)
      if (snapshot_.hosts[h].name == affinity.host)
        state_.affinities[h * categories_.size() +
                          static_cast<size_t>(category_of(affinity.category))] =
            static_cast<float>(affinity.score);
  for (size_t v = 0; v < snapshot_.vms.size(); ++v) {
    const auto category = static_cast<size_t>(category_of(snapshot_.vms[v].category));
    if (category < categories_.size()) state_.vms[v].category = static_cast<int>(category);
  }
}

}  // namespace forerun::place
