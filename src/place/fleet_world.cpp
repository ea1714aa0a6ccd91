#include "place/fleet_world.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "place/cloudsim_world.h"

namespace forerun::place {
namespace {

constexpr double kLeaving = 0.9;         // of what it gets a VM keeps while it leaves
constexpr double kArriving = 0.1;        // of its demand it takes where it goes
constexpr double kLinkShare_min = 0.05;  // left for moves, however busy guests are
// A guest that dirties faster than can be sent is slowed until a tenth of what is sent is new.
constexpr double kGain_min = 0.1;
constexpr double kSent_mb = 1e-6;

// Some traces say more than all.
double share_of(uint16_t permille) { return std::min(1.0, permille / 1000.0); }

}  // namespace

int FleetWorld::hosts_for(const trace::VmTrace& trace, const Options& options) {
  constexpr double kMemoryFill = 0.8, kNominalFill = 0.8, kCpuFill = 0.6;
  const double mhz = options.cores * options.core_mhz;
  double memory_mb = 0, nominal_mhz = 0, peak_mhz = 0;
  std::vector<double> demand(trace.vms[0].cpu_permille.size());
  for (size_t v = 0; v < trace.vms.size(); ++v) {
    const VmShape shape = shape_of(trace, v);
    if (shape.memory_mb > options.memory_mb) continue;
    memory_mb += shape.memory_mb;
    nominal_mhz += std::min(shape.mips, mhz);
    for (size_t i = 0; i < demand.size(); ++i)
      demand[i] += share_of(trace.vms[v].cpu_permille[i]) * std::min(shape.mips, mhz);
  }
  for (const double value : demand) peak_mhz = std::max(peak_mhz, value);
  const double for_memory = memory_mb / (kMemoryFill * options.memory_mb);
  const double for_nominal = nominal_mhz / (kNominalFill * options.cpu_overcommit * mhz);
  const double for_cpu = peak_mhz / (kCpuFill * mhz);
  return std::max(2, static_cast<int>(std::ceil(std::max({for_memory, for_nominal, for_cpu}))));
}

FleetWorld::FleetWorld(const trace::VmTrace& trace, Options options)
    : trace_(trace),
      options_(std::move(options)),
      power_(hp_ml110_g5().scaled(options_.watts_max / hp_ml110_g5().max())) {
  if (options_.hosts == 0) options_.hosts = hosts_for(trace, options_);
  SimHost host;
  // All hosts are of one kind, so that what one vCPU can get is in its VM's nominal MIPS.
  host.total_mips = host.core_mips = options_.cores * options_.core_mhz;
  host.memory_mb = options_.memory_mb;
  host.power = &power_;
  hosts_.assign(static_cast<size_t>(options_.hosts), host);
  reserved_.resize(hosts_.size());
  memory_mb_.resize(hosts_.size());
  moves_of_.resize(hosts_.size());
  flows_.resize(hosts_.size());
  for (size_t v = 0; v < trace.vms.size(); ++v) {
    const VmShape shape = shape_of(trace, v);
    SimVm vm;
    vm.mips = std::min(shape.mips, host.total_mips);
    vm.ram_mb = shape.memory_mb;
    vm.cpu_permille = &trace.vms[v].cpu_permille;
    vm.is_gone = vm.ram_mb > options_.memory_mb;
    left_out_ += vm.is_gone;
    vms_.push_back(std::move(vm));
  }
  asked_.resize(vms_.size());
  touched_mb_.resize(vms_.size());
  network_mb_s_.resize(vms_.size());
}

bool FleetWorld::can_start(int host, const SimVm& vm) const {
  const auto h = static_cast<size_t>(host);
  return reserved_[h].ram_mb + vm.ram_mb <= options_.memory_mb &&
         reserved_[h].mips + vm.mips <= options_.cpu_overcommit * hosts_[h].total_mips;
}

Status FleetWorld::start(SimPolicy& policy) {
  for (size_t v = 0; v < vms_.size(); ++v) {
    if (vms_[v].is_gone) continue;
    int host = policy.first_host(*this, static_cast<int>(v));
    // Where a policy wants none, the first with room takes it: a VM that is started runs.
    for (int h = 0; h < std::ssize(hosts_) && (host < 0 || !can_start(host, vms_[v])); ++h)
      host = h;
    if (!can_start(host, vms_[v]))
      return fail(ErrorCode::kInvalid,
                  fmt::format("cannot simulate: none of {} hosts is left for VM {} of {}, which is "
                              "given {:.0f} MHz and {:.0f} MB",
                              hosts_.size(), v + 1, vms_.size(), vms_[v].mips, vms_[v].ram_mb));
    const auto h = static_cast<size_t>(host);
    reserved_[h].mips += vms_[v].mips;
    reserved_[h].ram_mb += vms_[v].ram_mb;
    memory_mb_[h] += vms_[v].ram_mb;
    memory_share_max_ = std::max(memory_share_max_, memory_mb_[h] / options_.memory_mb);
    hosts_[h].vms.push_back(static_cast<int>(v));
    vms_[v].host = host;
  }
  return {};
}

// What was asked in the interval that ended is what policies know.
void FleetWorld::measure() {
  for (size_t v = 0; v < vms_.size(); ++v) {
    if (vms_[v].is_gone) continue;
    vms_[v].demand = asked_[v];
    vms_[v].history.push_back(vms_[v].mips > 0 ? asked_[v] / vms_[v].mips : 0);
  }
}

void FleetWorld::load(size_t at) {
  for (size_t v = 0; v < vms_.size(); ++v) {
    if (vms_[v].is_gone) continue;
    const trace::VmSeries& series = trace_.vms[v];
    asked_[v] = share_of(series.cpu_permille[at]) * vms_[v].mips;
    const double used =
        series.memory_used_mb.empty() ? vms_[v].ram_mb : double{1} * series.memory_used_mb[at];
    touched_mb_[v] = std::max(touched_mb_[v], std::min(used, vms_[v].ram_mb));
    if (!series.network_kb_per_s.empty()) network_mb_s_[v] = series.network_kb_per_s[at] / 1024.0;
  }
}

void FleetWorld::refresh(size_t id) {
  settle(id);
  SimHost& host = hosts_[id];
  Flow flow{.since = now_};
  double arriving = 0;
  for (const int v : host.vms) {
    const bool is_here = vms_[static_cast<size_t>(v)].host == static_cast<int>(id);
    const double asked = asked_[static_cast<size_t>(v)];
    (is_here ? flow.asked : arriving) += is_here ? asked : kArriving * asked;
  }
  const double wanted = flow.asked + arriving;
  const double scale = wanted > host.total_mips ? host.total_mips / wanted : 1;
  for (const int v : host.vms) {
    const SimVm& vm = vms_[static_cast<size_t>(v)];
    const double asked = asked_[static_cast<size_t>(v)];
    if (vm.host != static_cast<int>(id) || asked <= 0) continue;
    const double overload = asked * (1 - scale);
    const double moving = vm.is_migrating ? asked * scale * (1 - kLeaving) : 0;
    flow.lost_overload += overload;
    flow.lost_moving += moving;
    flow.waited += (overload + moving) / asked;
    flow.short_vms += overload + moving > 0;
  }
  host.utilisation_before = host.utilisation;
  host.utilisation = wanted * scale / host.total_mips;
  flow.is_on = !host.vms.empty();
  flow.is_over = scale < 1;
  flow.is_marked = flow.is_over || arriving > 0;
  flow.watts = flow.is_on ? host.power->at(host.utilisation) : 0;
  shutdowns_ += flows_[id].is_on && !flow.is_on;
  flows_[id] = flow;
}

void FleetWorld::settle(size_t id) {
  Flow& flow = flows_[id];
  const double seconds = now_ - flow.since;
  flow.since = now_;
  energy_ws_ += flow.watts * seconds;
  asked_sum_ += flow.asked * seconds;
  lost_overload_ += flow.lost_overload * seconds;
  lost_moving_ += flow.lost_moving * seconds;
  waited_s_ += flow.waited * seconds;
  short_vm_s_ += flow.short_vms * seconds;
  on_s_ += flow.is_on ? seconds : 0;
  over_s_ += flow.is_over ? seconds : 0;
  marked_s_ += flow.is_marked ? seconds : 0;
}

// Of a VM that is named twice the last counts.
void FleetWorld::order(std::vector<SimMove> moves) {
  refused_ += waiting_.size();
  waiting_.clear();
  std::vector<int> to(vms_.size(), -1);
  for (const SimMove& move : moves) to[static_cast<size_t>(move.vm)] = move.host;
  for (const SimMove& move : moves) {
    int& host = to[static_cast<size_t>(move.vm)];
    if (host >= 0) waiting_.push_back({move.vm, host});
    host = -1;
  }
  begin_waiting();
}

void FleetWorld::begin_waiting() {
  std::erase_if(waiting_, [this](const SimMove& move) { return begin(move); });
}

// Returns false if it has to wait.
bool FleetWorld::begin(const SimMove& move) {
  const auto v = static_cast<size_t>(move.vm), to = static_cast<size_t>(move.host);
  SimVm& vm = vms_[v];
  if (vm.is_migrating || vm.host < 0 || vm.host == move.host) return true;
  const auto from = static_cast<size_t>(vm.host);
  if (memory_mb_[to] + vm.ram_mb > options_.memory_mb ||
      moves_of_[from] >= options_.moves_at_once || moves_of_[to] >= options_.moves_at_once)
    return false;
  const double dirty = options_.dirty_mb_per_core_s * asked_[v] / options_.core_mhz;
  moves_.push_back({.move = move, .from = vm.host, .left_mb = touched_mb_[v], .dirty_mb_s = dirty});
  ++moves_of_[from];
  ++moves_of_[to];
  memory_mb_[to] += vm.ram_mb;
  memory_share_max_ = std::max(memory_share_max_, memory_mb_[to] / options_.memory_mb);
  vm.is_migrating = true;
  vm.to = move.host;
  hosts_[to].vms.push_back(move.vm);
  refresh(from);
  refresh(to);
  ++migrations_;
  return true;
}

void FleetWorld::finish(const Move& done) {
  const auto v = static_cast<size_t>(done.move.vm);
  const auto from = static_cast<size_t>(done.from), to = static_cast<size_t>(done.move.host);
  SimVm& vm = vms_[v];
  std::erase(hosts_[from].vms, done.move.vm);
  vm.host = done.move.host;
  vm.to = -1;
  vm.is_migrating = false;
  memory_mb_[from] -= vm.ram_mb;
  --moves_of_[from];
  --moves_of_[to];
  lost_moving_ += asked_[v] * options_.downtime_s;
  if (asked_[v] > 0) waited_s_ += options_.downtime_s;
  refresh(from);
  refresh(to);
}

// Moves share what guests leave of both links.
void FleetWorld::set_rates() {
  const auto free_mb_s = [this](int host) {
    double guests = 0;
    for (const int v : hosts_[static_cast<size_t>(host)].vms)
      if (vms_[static_cast<size_t>(v)].host == host)
        guests += network_mb_s_[static_cast<size_t>(v)];
    const double link = options_.link_mb_per_s;
    return std::max(kLinkShare_min * link, link - guests) / moves_of_[static_cast<size_t>(host)];
  };
  for (Move& move : moves_) {
    move.rate_mb_s = std::min(free_mb_s(move.from), free_mb_s(move.move.host));
    move.gain_mb_s = std::max(move.rate_mb_s - move.dirty_mb_s, kGain_min * move.rate_mb_s);
  }
}

// Lets time pass; moves end and others begin.
void FleetWorld::pass(double until) {
  for (;;) {
    set_rates();
    double next = until;
    for (const Move& move : moves_) next = std::min(next, now_ + move.left_mb / move.gain_mb_s);
    const double seconds = next - now_;
    now_ = next;
    for (Move& move : moves_) {
      move.left_mb -= move.gain_mb_s * seconds;
      sent_mb_ += move.rate_mb_s * seconds;
      moving_s_ += seconds;
    }
    std::vector<Move> done;
    for (const Move& move : moves_)
      if (move.left_mb <= kSent_mb) done.push_back(move);
    std::erase_if(moves_, [](const Move& move) { return move.left_mb <= kSent_mb; });
    for (const Move& move : done) finish(move);
    if (next >= until) return;
    begin_waiting();
  }
}

SimSample FleetWorld::sample() const {
  SimSample sample{.migrations = migrations_};
  double asked = 0, lost = 0;
  for (const Flow& flow : flows_) {
    sample.hosts_on += flow.is_on;
    asked += flow.asked;
    lost += flow.lost_overload + flow.lost_moving;
  }
  sample.short_share = asked > 0 ? lost / asked : 0;
  return sample;
}

Result<SimResult> FleetWorld::run(SimPolicy& policy) {
  FR_CHECK(start(policy));
  const size_t count = trace_.vms[0].cpu_permille.size();
  const double interval = trace_.interval_s;
  for (size_t at = 0; at < count; ++at) {
    std::vector<SimMove> moves;
    if (at > 0) {
      measure();
      ++ticks_;
      moves = policy.round(*this);
    }
    load(at);
    for (size_t h = 0; h < hosts_.size(); ++h) refresh(h);
    order(std::move(moves));
    samples_.push_back(sample());
    pass(interval * static_cast<double>(at + 1));
    if (options_.progress)
      options_.progress(static_cast<double>(at + 1) / static_cast<double>(count));
  }
  for (size_t h = 0; h < hosts_.size(); ++h) settle(h);
  if (!policy.is_power_aware())
    energy_ws_ = static_cast<double>(hosts_.size()) * power_.max() * now_;
  return result();
}

SimResult FleetWorld::result() const {
  SimResult result;
  result.kwh = energy_ws_ / 3.6e6;
  result.migrations = migrations_;
  result.shutdowns = shutdowns_;
  result.active_host_hours = on_s_ / 3600;
  if (on_s_ > 0) {
    result.sla.slatah = marked_s_ / on_s_;
    result.sla.slatah_corrected = over_s_ / on_s_;
  }
  if (asked_sum_ > 0) {
    result.sla.pdm = lost_moving_ / asked_sum_;
    result.sla.unserved = (lost_overload_ + lost_moving_) / asked_sum_;
  }
  if (short_vm_s_ > 0) result.sla.average = waited_s_ / short_vm_s_;
  result.contention_s = over_s_;
  result.waited_vm_s = waited_s_;
  result.moved_gb = sent_mb_ / 1024;
  result.moving_s = moving_s_;
  result.memory_share_max = memory_share_max_;
  result.moves_refused = refused_;
  result.samples = samples_;
  return result;
}

}  // namespace forerun::place
