// In one file because it is one class: each fault, its repair and the check that follows belong
// together.
#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace forerun::sim {
namespace {

constexpr Nanos kHealingMax = 120s;  // that what was begun may take to end once nothing is wrong
constexpr uint64_t kForever = UINT64_MAX;

// One run of the daemon, and what lives and dies with it.
struct Daemon {
  std::unique_ptr<Host> host;
  std::vector<std::unique_ptr<VmDisk>> disks;  // by guest
};

class World final : public GuestHooks {
 public:
  explicit World(const WorldOptions& options);
  WorldResult run();

  VmDisk* disk(uint32_t guest) override;
  uint64_t daemon_run() const override { return daemon_run_; }
  bool is_failure_excused(uint32_t guest, const Error& error) override;
  bool is_power_off() const override { return overlays_.is_off() || tier_disk_.is_off(); }
  VmId start_session(uint32_t guest) override;
  void end_session(uint32_t guest) override;
  void on_flush_failed(uint32_t guest) override;
  void violate(const std::string& what) override;

 private:
  struct Vm {
    const SimImage* image = nullptr;
    std::unique_ptr<Guest> guest;
    VmId session{};
    bool has_session = false;
  };

  void make_hosts_world();
  LinkOptions random_link();
  void say(const std::string& what) const;
  void step_until(Time until);
  void after_event();

  void start_daemon();
  Status open_daemon(Daemon& daemon);
  void stop_daemon();
  void lose_power(const char* how);
  void kill_daemon();
  void restart_after(Nanos delay);
  void bury(Daemon daemon);

  void schedule_fault();
  void inject_fault();
  void part_a_link();
  void disturb_the_tier();
  void disturb_the_overlays();
  void calm_disks();
  void heal_everything();
  bool has_come_to_rest();
  void check_at_the_end();
  void collect();

  const WorldOptions options_;
  Rng rng_;
  EventLoop loop_;
  SimFolder overlays_, tier_disk_;
  std::array<repository::MemoryStore, 2> stores_;
  std::vector<std::unique_ptr<SimLink>> links_;
  std::vector<SimImage> images_;
  HostOptions host_options_;
  std::vector<Vm> vms_;
  std::map<uint32_t, Buffer> saved_history_;  // by component, as a file would keep it

  Daemon daemon_;
  std::vector<Daemon> dying_;
  std::shared_ptr<predict::ReplayHistory> history_;
  uint64_t daemon_run_ = 0;
  uint64_t boot_token_ = 1;
  bool is_up_ = false;
  bool is_starting_ = false;
  uint64_t errors_at_open_ = 0;
  bool was_disk_full_ = false;
  uint32_t next_vm_ = 1;
  bool are_faults_over_ = false;
  bool is_over_ = false;
  WorldResult result_;
};

World::World(const WorldOptions& options)
    : options_(options),
      rng_(options.seed),
      loop_(rng_.next()),
      overlays_(rng_.next()),
      tier_disk_(rng_.next(), {.torn_sector = 0.1}) {
  make_hosts_world();
  if (options.plant_lying_flush) overlays_.faults().lie_one_flush_in = 20;
  host_options_.serve_unverified = options.plant_unverified_chunk;
  const size_t guests = rng_.between(2, 3);
  for (uint32_t number = 0; number < guests; ++number) {
    Vm vm;
    vm.image = &images_[number == 0 ? 0 : rng_.below(images_.size())];
    vm.guest = std::make_unique<Guest>(
        rng_.next(),
        Guest::Options{.number = number,
                       .think = Nanos(rng_.between(5'000'000, 60'000'000)),
                       .workers = static_cast<uint32_t>(rng_.between(1, 4))},
        loop_, *this, *vm.image);
    vms_.push_back(std::move(vm));
  }
}

LinkOptions World::random_link() {
  LinkOptions link;
  link.rate_bytes_per_s = rng_.chance(0.5) ? 2.5e6 : 12.5e6;
  link.round_trip = Nanos(rng_.between(1'000'000, 40'000'000));
  link.jitter = Nanos(rng_.below(10'000'000));
  link.timeout = 2s;
  link.broken = rng_.chance(0.5) ? 0.02 : 0;
  link.silent = rng_.chance(0.3) ? 0.01 : 0;
  return link;
}

void World::make_hosts_world() {
  images_.push_back(make_image(rng_, 1, rng_.between(16, 40)));
  images_.push_back(make_image(rng_, 2, rng_.between(16, 40)));
  for (auto& store : stores_) {
    fill_store(store);
    links_.push_back(std::make_unique<SimLink>(rng_.next(), loop_, store, random_link()));
  }
  // The first repository may be bad; the second always has what it should.
  LinkOptions& bad = links_[0]->options();
  if (rng_.chance(0.7)) bad.flipped = bad.truncated = bad.swapped = bad.missing = 0.02;
  host_options_.tier.memory_bytes_max = rng_.between(6, 24) * 64 * kKiB;
  host_options_.tier.file_bytes_max = rng_.chance(0.8) ? rng_.between(8, 48) * 64 * kKiB : 0;
  host_options_.queue.unavailable_max = 24h;
  if (rng_.chance(0.3)) {  // budgets small enough to run out
    host_options_.prefetcher.budget.initial_bytes = 512 * kKiB;
    host_options_.prefetcher.budget.max_bytes = kMiB;
  }
  host_options_.prefetcher.patience = 2s;
}

void World::say(const std::string& what) const {
  if (options_.is_verbose) {
    fmt::print("{:10.6f} s  {}\n", to_seconds(loop_.now() - kTimeZero), what);
  }
}

void World::violate(const std::string& what) {
  if (!result_.violation.empty()) return;
  result_.violation = what;
  result_.violated_at = loop_.now();
  say("VIOLATION: " + what);
}

// ---- the daemon's life

VmDisk* World::disk(uint32_t guest) {
  return is_up_ && guest < daemon_.disks.size() ? daemon_.disks[guest].get() : nullptr;
}

Status World::open_daemon(Daemon& daemon) {
  history_ = std::make_shared<predict::ReplayHistory>();
  Host::World around{loop_, tier_disk_, {}, {}, history_};
  for (const auto& link : links_) around.links.push_back(link.get());
  for (const SimImage& image : images_) {
    around.components.push_back(image.component);
    const auto saved = saved_history_.find(image.component->id.value);
    if (saved == saved_history_.end()) continue;
    FR_CHECK(history_->load(image.component->id, saved->second));
  }
  FR_TRY(daemon.host, Host::start(host_options_, std::move(around)));
  for (size_t i = 0; i < vms_.size(); ++i) {
    FR_TRY(auto disk, VmDisk::open(*daemon.host, overlays_, vms_[i].image->component,
                                   {.name = fmt::format("vm{}", i),
                                    .owner_token = daemon_run_,
                                    .boot_token = boot_token_}));
    daemon.disks.push_back(std::move(disk));
  }
  return {};
}

void World::start_daemon() {
  if (is_over_) return;
  ++daemon_run_;
  const uint64_t errors_before = overlays_.stats().errors_injected;
  Daemon daemon;
  const Status opened = open_daemon(daemon);
  if (!opened) {
    if (daemon.host) daemon.host->stop();
    const bool is_excused =
        is_power_off() || was_disk_full_ || overlays_.stats().errors_injected > errors_before;
    if (!is_excused) violate("the daemon cannot start: " + opened.error().message);
    calm_disks();
    bury(std::move(daemon));
    if (!is_power_off()) restart_after(50ms);
    return;
  }
  daemon_ = std::move(daemon);
  is_up_ = true;
  errors_at_open_ = overlays_.stats().errors_injected;
  was_disk_full_ = false;
  say(fmt::format("daemon run {} is up", daemon_run_));
  for (size_t i = 0; i < vms_.size(); ++i) {
    Vm& vm = vms_[i];
    if (vm.guest->is_on() && vm.has_session) {  // found running
      vm.session = VmId{next_vm_++};
      daemon_.host->start_vm(vm.session, vm.image->component->id, false);
      daemon_.disks[i]->set_vm(vm.session);
    } else if (!vm.guest->is_on() && vm.guest->is_quiet() && !are_faults_over_) {
      vm.guest->power_on();
    }
  }
}

void World::stop_daemon() {
  if (!is_up_) return;
  is_up_ = false;
  daemon_.host->stop();
  if (!daemon_.host->violation().empty()) violate(daemon_.host->violation());
  daemon_.host->close_books(result_.host);
  bury(std::move(daemon_));
  daemon_ = {};
}

// Its fibers have yet to return out of it.
void World::bury(Daemon daemon) {
  dying_.push_back(std::move(daemon));
  loop_.after(1ms, EventKind::kControl, 10, [this] {
    std::erase_if(dying_, [](const Daemon& each) {
      return each.host == nullptr || each.host->waiting() == 0;
    });
  });
}

void World::restart_after(Nanos delay) {
  if (std::exchange(is_starting_, true)) return;
  loop_.after(delay, EventKind::kControl, 11, [this] {
    is_starting_ = false;
    if (!is_up_) start_daemon();
  });
}

void World::lose_power(const char* how) {
  say(fmt::format("power cut ({})", how));
  ++result_.faults.power_cuts;
  stop_daemon();
  for (Vm& vm : vms_) {
    vm.guest->power_off();
    vm.has_session = false;
  }
  overlays_.power_cut();
  tier_disk_.power_cut();
  calm_disks();
  ++boot_token_;
  restart_after(Nanos(rng_.between(20'000'000, 500'000'000)));
  // Now and then the power goes again while the daemon starts.
  if (!are_faults_over_ && rng_.chance(0.1)) overlays_.cut_after(rng_.below(20));
}

void World::kill_daemon() {
  if (!is_up_) return;
  say("daemon killed");
  ++result_.faults.daemon_kills;
  stop_daemon();
  restart_after(Nanos(rng_.between(20'000'000, 500'000'000)));
}

// ---- what guests ask

bool World::is_failure_excused(uint32_t, const Error& error) {
  if (error.code == ErrorCode::kNoSpace) return was_disk_full_;
  return error.code == ErrorCode::kIo && overlays_.stats().errors_injected > errors_at_open_;
}

VmId World::start_session(uint32_t guest) {
  Vm& vm = vms_[guest];
  vm.session = VmId{next_vm_++};
  vm.has_session = true;
  daemon_.host->start_vm(vm.session, vm.image->component->id, true);
  daemon_.disks[guest]->set_vm(vm.session);
  return vm.session;
}

void World::end_session(uint32_t guest) {
  Vm& vm = vms_[guest];
  vm.has_session = false;
  daemon_.host->end_vm(vm.session);
  Buffer saved = history_->save(vm.image->component->id);
  if (!saved.empty()) saved_history_[vm.image->component->id.value] = std::move(saved);
}

// The overlay acknowledges no flush until it is opened again: the operator does that.
void World::on_flush_failed(uint32_t) {
  if (overlays_.faults().capacity_bytes != kForever) return;
  loop_.after(20ms, EventKind::kFault, 12, [this] {
    calm_disks();
    if (rng_.chance(0.5)) {
      kill_daemon();
    } else if (is_up_) {
      lose_power("after a failed flush");
    }
  });
}

// ---- what goes wrong

void World::schedule_fault() {
  loop_.after(Nanos(rng_.between(50'000'000, 1'500'000'000)), EventKind::kFault, 13, [this] {
    if (are_faults_over_) return;
    inject_fault();
    schedule_fault();
  });
}

void World::inject_fault() {
  if (!is_up_) return;
  const uint64_t choice = rng_.below(100);
  if (choice < 15) {
    lose_power("between operations");
  } else if (choice < 40) {
    ++result_.faults.cuts_inside_operations;
    (rng_.chance(0.8) ? overlays_ : tier_disk_).cut_after(rng_.below(30));
  } else if (choice < 52) {
    kill_daemon();
  } else if (choice < 67) {
    part_a_link();
  } else if (choice < 75) {
    ++result_.faults.damaged_objects;
    damage_store(rng_, stores_[0], images_[rng_.below(images_.size())]);
  } else if (choice < 90) {
    disturb_the_tier();
  } else {
    disturb_the_overlays();
  }
}

void World::part_a_link() {
  ++result_.faults.partitions;
  const size_t which = rng_.below(links_.size());
  say(fmt::format("link {} is cut", which));
  links_[which]->part();
  loop_.after(Nanos(rng_.between(10'000'000, 3'000'000'000)), EventKind::kFault, 14, [this, which] {
    say(fmt::format("link {} is whole again", which));
    links_[which]->heal();
  });
}

void World::disturb_the_tier() {
  ++result_.faults.tier_faults;
  const uint64_t choice = rng_.below(3);
  if (choice == 0) {
    say("bits rot in the tier");
    for (uint64_t i = rng_.below(50); i > 0; --i) (void)tier_disk_.rot_one_bit("tier.data");
    if (rng_.chance(0.3)) (void)tier_disk_.rot_one_bit("tier.index");
    return;
  }
  say("the tier's disk errs");
  DiskFaults& faults = tier_disk_.faults();
  if (choice == 1) {
    faults.misdirected_write = 0.2;
    faults.bit_rot = 0.05;
  } else {
    faults.read_error = faults.write_error = faults.flush_error = 0.2;
  }
  loop_.after(Nanos(rng_.between(50'000'000, 500'000'000)), EventKind::kFault, 15,
              [this] { calm_disks(); });
}

void World::disturb_the_overlays() {
  DiskFaults& faults = overlays_.faults();
  if (rng_.chance(0.5)) {
    say("the overlays' disk errs");
    ++result_.faults.disk_errors;
    faults.read_error = faults.write_error = 0.1;
    faults.flush_error = 0.1;
  } else {
    say("the overlays' disk is full");
    ++result_.faults.disk_full;
    was_disk_full_ = true;
    faults.capacity_bytes = 0;
  }
  loop_.after(Nanos(rng_.between(50'000'000, 300'000'000)), EventKind::kFault, 16,
              [this] { calm_disks(); });
}

void World::calm_disks() {
  const uint32_t planted = overlays_.faults().lie_one_flush_in;
  overlays_.faults() = {.lie_one_flush_in = planted};
  tier_disk_.faults() = {.torn_sector = 0.1};
}

// ---- the run

void World::after_event() {
  if (is_power_off()) lose_power("inside an operation");
  if (is_up_ && !daemon_.host->violation().empty()) violate(daemon_.host->violation());
}

void World::step_until(Time until) {
  while (result_.violation.empty() && loop_.run_one(until)) after_event();
}

void World::heal_everything() {
  say("everything heals");
  are_faults_over_ = true;
  calm_disks();
  overlays_.cut_after(kForever);
  tier_disk_.cut_after(kForever);
  for (const auto& link : links_) {
    link->heal();
    LinkOptions& options = link->options();
    options = {.rate_bytes_per_s = options.rate_bytes_per_s, .round_trip = options.round_trip};
  }
  for (Vm& vm : vms_) vm.guest->wind_down();
  if (!is_up_) restart_after(0ns);
}

bool World::has_come_to_rest() {
  return is_up_ && std::ranges::all_of(vms_, [](Vm& vm) { return vm.guest->is_quiet(); });
}

void World::check_at_the_end() {
  const Time deadline = loop_.now() + kHealingMax;
  while (!has_come_to_rest() && result_.violation.empty() && loop_.now() < deadline) {
    step_until(loop_.now() + 100ms);
  }
  if (result_.violation.empty() && !has_come_to_rest()) {
    violate("nothing is wrong any more, and still a guest's request does not end");
  }
  if (!result_.violation.empty()) return;
  for (uint32_t i = 0; i < vms_.size(); ++i) {
    if (vms_[i].has_session) end_session(i);
  }
  step_until(loop_.now() + 5s);
  if (!result_.violation.empty()) return;
  if (const uint64_t left = daemon_.host->undecided_of_ended(); left > 0) {
    violate(fmt::format("{} prefetches of VMs that ended were never accounted", left));
  }
  // A clean restart; then every byte of every disk.
  (void)daemon_.host->sync();  // it may have given up its file: it is never needed
  kill_daemon();
  step_until(loop_.now() + 2s);
  for (Vm& vm : vms_) vm.guest->verify_everything();
  const Time end = loop_.now() + kHealingMax;
  while (!has_come_to_rest() && result_.violation.empty() && loop_.now() < end) {
    step_until(loop_.now() + 100ms);
  }
  if (result_.violation.empty() && !has_come_to_rest()) violate("the last check does not end");
}

void World::collect() {
  for (Vm& vm : vms_) {
    const GuestStats& stats = vm.guest->stats();
    result_.guests.reads += stats.reads;
    result_.guests.writes += stats.writes;
    result_.guests.flushes += stats.flushes;
    result_.guests.trims += stats.trims;
    result_.guests.errors += stats.errors;
    result_.guests.resent += stats.resent;
    result_.guests.sessions += stats.sessions;
    result_.guests.boots_finished += stats.boots_finished;
    result_.guests.read_bytes += stats.read_bytes;
    result_.sectors_rolled_back += vm.guest->oracle().sectors_rolled_back();
  }
  result_.sectors_lost = overlays_.stats().sectors_lost;
  result_.flush_lies = overlays_.stats().flush_lies;
  for (const auto& link : links_) result_.links_corrupted += link->stats().corrupted;
  result_.hash = loop_.hash();
  result_.events = loop_.events_run();
  result_.simulated = loop_.now() - kTimeZero;
}

WorldResult World::run() {
  start_daemon();
  schedule_fault();
  step_until(kTimeZero + options_.span);
  if (result_.violation.empty()) {
    heal_everything();
    check_at_the_end();
  }
  collect();
  // Everyone goes home, so that no fiber is left on a stack that goes away.
  is_over_ = are_faults_over_ = true;
  stop_daemon();
  for (Vm& vm : vms_) vm.guest->power_off();
  const Time end = loop_.now() + 60s;
  while (loop_.run_one(end) && !(dying_.empty() && std::ranges::all_of(vms_, [](Vm& vm) {
                                   return vm.guest->is_quiet();
                                 }))) {
  }
  return std::move(result_);
}

}  // namespace

WorldResult run_world(const WorldOptions& options) {
  World world(options);
  return world.run();
}

}  // namespace forerun::sim
