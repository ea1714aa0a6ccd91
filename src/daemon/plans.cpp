#include "daemon/plans.h"

#include <algorithm>

#include "core/bytes.h"
#include "core/id.h"
#include "core/log.h"
#include "daemon/plan_fleet.h"
#include "os/clock.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

using place::MoveRecord;
using place::MoveState;

constexpr Nanos kFleetTimeout = std::chrono::seconds(10);
constexpr size_t kFileBytesMax = 16 << 20;
constexpr size_t kLinksPerTick = 4;  // that are measured
constexpr int64_t kHour_s = 3600;
constexpr uint32_t kMovesPerHour = 20;  // where the rules say nothing

// What another host must know to tell of itself.
place::FleetSnapshot asked_of(const place::FleetSnapshot& rules) {
  place::FleetSnapshot asked;
  asked.tick_s = rules.tick_s;
  asked.horizon_s = rules.horizon_s;
  asked.link_bytes_per_s = rules.link_bytes_per_s;
  return asked;
}

void lay_over(place::FleetSnapshot& fleet, const place::FleetSnapshot& rules) {
  fleet.rules = rules.rules;
  fleet.zones = rules.zones;
  fleet.zone_links = rules.zone_links;
  fleet.affinities = rules.affinities;
  fleet.vm_settings = rules.vm_settings;
  fleet.host_settings = rules.host_settings;
  fleet.events = rules.events;
  fleet.consolidates = rules.consolidates;
  fleet.season_ticks = rules.season_ticks;
  fleet.moves_max = rules.moves_max;
  fleet.horizon_s = rules.horizon_s;
  // A rule may be of hosts that do not answer now.
  std::erase_if(fleet.affinities, [&](const place::SnapshotAffinity& affinity) {
    return std::none_of(fleet.hosts.begin(), fleet.hosts.end(),
                        [&](const auto& host) { return host.name == affinity.host; });
  });
}

// Whoever asks: the planner decides ties by the order.
void sort_by_name(place::FleetSnapshot& fleet) {
  std::ranges::sort(fleet.hosts, {}, &place::SnapshotHost::name);
  std::ranges::sort(fleet.vms, {}, &place::SnapshotVm::name);
}

}  // namespace

Result<std::unique_ptr<Plans>> Plans::open(Parts parts) {
  std::unique_ptr<Plans> plans(new Plans(std::move(parts)));
  const std::string& folder = plans->parts_.state_dir;
  if (const std::string path = folder + "/plan_moves.json"; os::path_exists(path)) {
    FR_TRY(const Buffer bytes, os::read_file(path, kFileBytesMax));
    auto ledger = place::MoveLedger::parse(as_text(bytes));
    if (!ledger) return std::unexpected(std::move(ledger.error()).within(path));
    plans->ledger_ = std::move(*ledger);
  }
  const auto has_own = [&](const std::string& path) {
    if (!os::path_exists(path)) return false;
    if (plans->parts_.cluster) log::info("{} is not used: the cluster has a policy", path);
    return plans->parts_.cluster == nullptr;
  };
  if (const std::string path = folder + "/plan_policy"; has_own(path)) {
    FR_TRY(const Buffer bytes, os::read_file(path, 64));
    plans->is_auto_ = as_text(bytes) == "auto\n";
  }
  if (const std::string path = folder + "/plan_affinity.json"; os::path_exists(path)) {
    FR_TRY(const Buffer bytes, os::read_file(path, kFileBytesMax));
    // Learned again, if it is damaged.
    if (const Status read = plans->affinity_.decode(as_text(bytes)); !read)
      log::warn("{}: {}", path, read.error().message);
  }
  plans->rules_.moves_max = kMovesPerHour;
  if (const std::string path = folder + "/plan_rules.json"; has_own(path)) {
    FR_TRY(const Buffer bytes, os::read_file(path, kFileBytesMax));
    if (const Status taken = plans->take_rules(std::string(as_text(bytes))); !taken)
      return std::unexpected(taken.error().within(path));
  }
  return plans;
}

// REQUIRES: mutex_ is held, or nobody else knows this object.
Status Plans::take_rules(std::string text) {
  FR_TRY(auto read, place::parse_fleet(text));
  if (!read.hosts.empty() || !read.vms.empty())
    return fail(ErrorCode::kInvalid, "rules have no hosts and VMs: those of the fleet are planned");
  // They must hold for whatever hosts there are; zones that none is in are told when it is planned.
  if (read.moves_max == place::FleetSnapshot{}.moves_max) read.moves_max = kMovesPerHour;
  rules_ = std::move(read);
  rules_text_ = std::move(text);
  return {};
}

void Plans::start() {
  thread_ = std::jthread([this] { run(); });
}

void Plans::look() {
  {
    const std::lock_guard lock(mutex_);
    must_look_ = true;
  }
  stop_changed_.notify_all();
}

void Plans::ask_to_stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stop_changed_.notify_all();
}

bool Plans::is_stopping() {
  const std::lock_guard lock(mutex_);
  return is_stopping_;
}

void Plans::stop() {
  ask_to_stop();
  if (thread_.joinable()) thread_.join();
}

Status Plans::save(const std::string& name, const std::string& text) const {
  return os::write_file_atomic(parts_.state_dir + "/" + name, as_bytes(text));
}

// REQUIRES: mutex_ is held.
void Plans::save_ledger() {
  must_share_ = true;
  if (const Status saved = save("plan_moves.json", ledger_.encode()); !saved)
    log::warn("moves are not kept: {}", saved.error().message);
}

void Plans::tell(std::string detail) {
  const std::lock_guard lock(mutex_);
  detail_ = std::move(detail);
}

// As the other hosts call it; they say so.
std::string Plans::own_name() {
  if (!parts_.host.empty()) return parts_.host;
  const std::lock_guard lock(mutex_);
  if (name_.empty()) {
    if (const auto text = os::read_file("/proc/sys/kernel/hostname", 256)) {
      std::string host(as_text(*text));
      while (!host.empty() && host.back() <= ' ') host.pop_back();
      return is_valid_name(host) ? host : "here";
    }
    return "here";
  }
  return name_;
}

void Plans::learn_name(const std::string& name) {
  if (!is_valid_name(name)) return;
  const std::lock_guard lock(mutex_);
  name_ = name;
}

place::FleetSnapshot Plans::rules() {
  const std::lock_guard lock(mutex_);
  return rules_;
}

Result<place::FleetSnapshot> Plans::own(const place::FleetSnapshot& rules,
                                        const std::string& name) {
  const int64_t now = parts_.unix_seconds();
  FR_TRY(place::FleetSnapshot fleet,
         own_fleet(rules, parts_.history, name, parts_.list_vms(), parts_.costs.known(now), now));
  fleet.hosts.front().zone = parts_.zone;
  fleet.hosts.front().labels = parts_.labels;
  return fleet;
}

Result<Plans::Fleet> Plans::fleet() {
  const int64_t now = parts_.unix_seconds();
  const place::FleetSnapshot rules = this->rules();
  struct Told {
    std::string host;
    Result<PeerMessage> message = fail(ErrorCode::kUnavailable, "not asked");
  };
  std::vector<Told> told;
  for (const std::string& host : parts_.peers()) told.push_back({host});
  {
    std::vector<std::jthread> asking;
    for (Told& each : told)
      asking.emplace_back([&each, &rules, this] {
        PeerMessage question;
        question.text = place::to_json(asked_of(rules));
        question.kind = PeerMessageKind::kFleet;
        each.message = parts_.ask(each.host, question, PeerMessageKind::kFleetTold, kFleetTimeout);
      });
  }
  for (const Told& each : told)
    if (each.message && !each.message->vm.empty()) learn_name(each.message->vm);
  const std::string name = own_name();
  Fleet fleet;
  FR_TRY(fleet.snapshot, own(rules, name));
  for (Told& each : told) {
    auto other = each.message ? place::parse_fleet(each.message->text)
                              : Result<place::FleetSnapshot>(std::unexpected(each.message.error()));
    if (!other) {
      fleet.notes.push_back(fmt::format("host {} is left out: {}{}", each.host,
                                        other.error().message, vms_last_seen_on(each.host)));
      continue;
    }
    if (each.message->is_decided) fleet.auto_hosts.push_back(each.host);
    for (const std::string& vm : add_host(fleet.snapshot, std::move(*other), each.host))
      fleet.notes.push_back(
          fmt::format("VM {} of host {} is left out: another host has one of that "
                      "name",
                      vm, each.host));
  }
  lay_over(fleet.snapshot, rules);
  place::apply_settings(fleet.snapshot, now);
  sort_by_name(fleet.snapshot);
  const bool keeps_account = this->keeps_account();
  const std::lock_guard lock(mutex_);
  if (is_auto_) fleet.auto_hosts.push_back(name);
  std::sort(fleet.auto_hosts.begin(), fleet.auto_hosts.end());
  if (keeps_account) settle(fleet.snapshot);
  if (affinity_.look(fleet.snapshot, now)) {
    has_learned_ = true;
    if (const Status saved = save("plan_affinity.json", affinity_.encode()); !saved)
      log::warn("workloads are not kept: {}", saved.error().message);
  }
  ledger_.tell(fleet.snapshot, now);
  const uint32_t made = ledger_.count_since(now - kHour_s);
  fleet.snapshot.moves_max -= std::min(made, fleet.snapshot.moves_max);
  if (keeps_account && ledger_.score_due(fleet.snapshot, now)) save_ledger();
  return fleet;
}

// Moves that an earlier run of the daemon did not see the end of: where the VM is says what came
// of them. REQUIRES: mutex_ is held.
void Plans::settle(const place::FleetSnapshot& snapshot) {
  const int64_t now = parts_.unix_seconds();
  std::vector<uint64_t> open;
  for (const MoveRecord& record : ledger_.records()) {
    const bool is_unknown =
        record.state == MoveState::kRunning ||
        (record.state == MoveState::kAbandoned && now - record.ended_at < kHour_s);
    if (is_unknown && record.number != making_) open.push_back(record.number);
  }
  for (const uint64_t number : open) {
    MoveRecord* record = ledger_.find(number);
    for (const place::SnapshotVm& vm : snapshot.vms) {
      if (vm.name != record->vm || vm.is_pinned) continue;
      const auto state = vm.host == record->to ? MoveState::kDone : MoveState::kAbandoned;
      if (state == record->state) continue;
      record->state = state;
      record->outcome = "nobody saw the end; the VM was found on " + vm.host;
      record->ended_at = now;
      save_ledger();
    }
  }
}

std::string Plans::planner_of(const Fleet& fleet) {
  // A cluster may know this host by another name than its peers do.
  if (const auto led = lead()) return led->is_leader ? own_name() : led->leader;
  return fleet.auto_hosts.empty() ? "" : fleet.auto_hosts.front();
}

Result<std::string> Plans::plan(const api::PlanRequest& request) {
  const Status known = refresh();
  FR_TRY(Fleet fleet, this->fleet());
  if (!known)
    fleet.notes.push_back("planned by the policy that was known last: " + known.error().message);
  for (const std::string& question : request.supposed)
    FR_CHECK(place::suppose(fleet.snapshot, question));
  FR_TRY(const auto model, place::FleetModel::make(std::move(fleet.snapshot)));
  const place::Plan plan = place::Planner(model->options(true)).plan(model->state());
  // Who looks at a plan of the fleet as it is may well have it carried out.
  if (request.supposed.empty()) foresee(*model, plan, 0);
  return place::plan_json(*model, plan, request.supposed, os::format_utc(parts_.unix_seconds()),
                          fleet.notes);
}

Result<std::string> Plans::plan_fleet() {
  if (const Status known = refresh(); !known) log::warn("plan: {}", known.error().message);
  FR_TRY(const Fleet fleet, this->fleet());
  return place::to_json(fleet.snapshot);
}

PeerMessage Plans::answer(const std::string& host, const PeerMessage& question) {
  PeerMessage answer;
  if (question.kind == PeerMessageKind::kFleet) {
    const auto asked = place::parse_fleet(question.text.empty() ? "{}" : question.text);
    if (!asked) return failure_message(asked.error());
    const auto own = this->own(*asked, own_name());
    if (!own) return failure_message(own.error());
    answer.kind = PeerMessageKind::kFleetTold;
    answer.vm = host;  // what it is called here
    answer.text = place::to_json(*own);
    const std::lock_guard lock(mutex_);
    answer.is_decided = is_auto_;
    return answer;
  }
  if (question.kind == PeerMessageKind::kForesee) {
    if (!is_valid_name(question.vm) || !is_valid_name(question.text))
      return failure_message({ErrorCode::kInvalid, "a move without a VM and a host"});
    if (parts_.foresee) parts_.foresee(question.vm, question.text);
    answer.kind = PeerMessageKind::kPong;
    return answer;
  }
  const auto ordered = [&]() -> Result<std::string> {
    if (!is_valid_name(question.vm) || !is_valid_name(question.text))
      return fail(ErrorCode::kInvalid, "an order without a VM and a host");
    if (parts_.cluster)
      FR_CHECK(parts_.cluster->admit(host, question.ownership, "move VM " + question.vm));
    log::info("host {} orders VM {} to {}", host, question.vm, question.text);
    api::MigrateRequest request;
    request.to = question.text;
    Operations::Progress progress;
    return parts_.migrate(question.vm, request, progress);
  }();
  if (!ordered) return failure_message(ordered.error());
  answer.kind = PeerMessageKind::kOrdered;
  answer.text = *ordered;
  return answer;
}

std::string Plans::plan_moves(const std::string& vm) {
  if (const Status known = refresh(); !known) log::debug("plan: {}", known.error().message);
  const std::lock_guard lock(mutex_);
  return place::to_json(ledger_, vm);
}

api::PlanPolicyInfo Plans::plan_policy() {
  const Status known = refresh();
  const auto led = lead();
  const std::string name = own_name();
  const std::lock_guard lock(mutex_);
  api::PlanPolicyInfo info{is_auto_, is_auto_ && planner_ == name, planner_, detail_, rules_text_};
  if (led) {
    info.planner = led->leader;
    info.acts_here = is_auto_ && led->is_leader;
  }
  if (!known) info.detail = "as known last: " + known.error().message;
  return info;
}

Status Plans::set_plan_policy(const api::PlanPolicyRequest& request) {
  if (!parts_.cluster) {
    FR_CHECK(keep_policy(request));
    look();
    return {};
  }
  FR_CHECK(refresh());
  if (request.rules) {
    const std::lock_guard lock(mutex_);
    place::FleetSnapshot before = rules_;
    std::string text = rules_text_;
    FR_CHECK(take_rules(*request.rules));
    rules_ = std::move(before);
    rules_text_ = std::move(text);
  }
  FR_TRY(const auto policy, parts_.cluster->change_policy(request));
  return take_policy(policy);
}

// Where there is no cluster.
Status Plans::keep_policy(const api::PlanPolicyRequest& request) {
  const std::lock_guard lock(mutex_);
  if (request.rules) {
    place::FleetSnapshot before = rules_;
    std::string text = rules_text_;
    FR_CHECK(take_rules(*request.rules));
    if (Status saved = save("plan_rules.json", rules_text_); !saved) {
      rules_ = std::move(before);
      rules_text_ = std::move(text);
      return saved;
    }
  }
  if (!request.is_auto) return {};
  FR_CHECK(save("plan_policy", *request.is_auto ? "auto\n" : "off\n"));
  is_auto_ = *request.is_auto;
  return {};
}

void Plans::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      stop_changed_.wait_for(lock, std::chrono::seconds(static_cast<int64_t>(rules_.tick_s)),
                             [&] { return is_stopping_ || must_look_; });
      if (is_stopping_) return;
      must_look_ = false;
      const bool awaits = std::any_of(
          ledger_.records().begin(), ledger_.records().end(), [](const MoveRecord& record) {
            return record.state == MoveState::kDone && !record.is_scored;
          });
      if (!is_auto_ && !awaits && !parts_.cluster) continue;
    }
    round();
    measure_links();
  }
}

// Whoever planned waits for it not: the figures are the next plan's.
void Plans::measure_links() {
  size_t left = kLinksPerTick;
  for (const std::string& host : parts_.costs.due(parts_.peers(), parts_.unix_seconds())) {
    if (left-- == 0 || is_stopping()) return;
    const auto link = parts_.measure(host);
    if (!link) log::debug("plan: the link to {}: {}", host, link.error().message);
    parts_.costs.note(host, link ? std::optional(*link) : std::nullopt, parts_.unix_seconds());
  }
}

void Plans::round() {
  const std::unique_lock applying(apply_mutex_, std::try_to_lock);
  if (!applying.owns_lock()) return;
  if (const Status known = refresh(); !known) return tell("no plan: " + known.error().message);
  if (const auto led = lead(); led && !led->is_leader)
    return tell(led->leader.empty() ? "nobody leads" : fmt::format("host {} plans", led->leader));
  const auto seen = fleet();
  if (!seen) return tell("no plan: " + seen.error().message);
  if (const Status kept = share_placements(seen->snapshot); !kept)
    return tell("no plan: " + kept.error().message);
  if (const Status kept = share_affinity(); !kept)
    log::warn("plan: affinities are not kept for the next leader: {}", kept.error().message);
  const std::string planner = planner_of(*seen);
  {
    const std::lock_guard lock(mutex_);
    planner_ = planner;
    if (!is_auto_) return;
  }
  if (planner != own_name()) return tell(fmt::format("host {} plans", planner));
  Operations::Progress progress;
  const auto done = carry_out(*seen, progress);
  tell(done ? *done : "no plan: " + done.error().message);
}

}  // namespace forerun::daemon
