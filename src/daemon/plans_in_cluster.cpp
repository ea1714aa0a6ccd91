// Plans where hosts agree on them: policy, moves and placements are the cluster's.
#include <algorithm>

#include "core/log.h"
#include "daemon/plans.h"

namespace forerun::daemon {
namespace {

// Of the moves, the newest; a store takes a MiB in a value.
constexpr size_t kSharedBytesMax = 256 << 10;
constexpr size_t kNamedMax = 20;
constexpr int64_t kAffinityShared_s = 600;  // it changes every tick, and slowly

}  // namespace

Status Plans::refresh() {
  if (!parts_.cluster) return {};
  FR_TRY(const auto policy, parts_.cluster->policy());
  FR_CHECK(take_policy(policy));
  const PlanLead led = parts_.cluster->lead();
  return take_moves(led.is_leader, led.token);
}

Status Plans::take_policy(const PlanCluster::Policy& policy) {
  const std::lock_guard lock(mutex_);
  if (policy.revision == policy_revision_ && policy.revision != 0) return {};
  if (auto taken = take_rules(policy.rules); !taken)
    return std::unexpected(std::move(taken.error()).within("the cluster's policy"));
  is_auto_ = policy.is_auto;
  policy_revision_ = policy.revision;
  return {};
}

// A leader's own account is ahead of what it keeps; everybody else's is behind.
Status Plans::take_moves(bool leads, uint64_t token) {
  {
    const std::lock_guard lock(mutex_);
    if (leads && token == taken_token_) return {};
    if (!leads) taken_token_ = 0;
  }
  FR_TRY(const auto kept, parts_.cluster->moves());
  FR_TRY(const auto affinity, parts_.cluster->affinity());
  std::map<std::string, PlanPlacement> placements;
  if (leads) {
    FR_TRY(placements, parts_.cluster->placements());
  }
  const std::lock_guard lock(mutex_);
  if (taken_token_ != 0 && (!leads || taken_token_ == token))
    return {};  // another thread was faster
  if (kept) {
    auto ledger = place::MoveLedger::parse(*kept);
    if (!ledger) return std::unexpected(std::move(ledger.error()).within("the cluster's moves"));
    ledger_ = std::move(*ledger);
  }
  // Learned again, if it is damaged.
  if (affinity)
    if (const Status read = affinity_.decode(*affinity); !read)
      log::warn("the cluster's affinities: {}", read.error().message);
  if (!leads) return {};
  taken_token_ = token;
  placements_ = std::move(placements);
  must_share_ = !kept && !ledger_.records().empty();
  return {};
}

Status Plans::share(const PlanCluster::Changes& changes) {
  if (!parts_.cluster) return {};
  std::optional<std::string> moves;
  uint64_t token = 0;
  {
    const std::lock_guard lock(mutex_);
    token = taken_token_;
    if (must_share_) moves = ledger_.encode(kSharedBytesMax);
    if (!moves && changes.empty()) return {};
    must_share_ = false;
  }
  const bool has_moves = moves.has_value();
  const Status kept = parts_.cluster->keep(token, std::move(moves), changes);
  const std::lock_guard lock(mutex_);
  if (!kept) {
    must_share_ = must_share_ || has_moves;
    taken_token_ = 0;  // what came of it is read before anything else is done
    return kept;
  }
  for (const auto& [vm, placement] : changes) {
    if (placement)
      placements_[vm] = *placement;
    else
      placements_.erase(vm);
  }
  return {};
}

Status Plans::share_placements(const place::FleetSnapshot& seen) {
  if (!parts_.cluster) return {};
  PlanCluster::Changes changes;
  {
    const std::lock_guard lock(mutex_);
    std::map<std::string, PlanPlacement> gone = placements_;
    for (const place::SnapshotVm& vm : seen.vms) {
      const PlanPlacement placement{vm.host, vm.going_to};
      const auto known = placements_.find(vm.name);
      if (known == placements_.end() || known->second != placement) changes[vm.name] = placement;
      gone.erase(vm.name);
    }
    const auto answers = [&](const std::string& host) {
      return host.empty() ||
             std::ranges::find(seen.hosts, host, &place::SnapshotHost::name) != seen.hosts.end();
    };
    // One of a host that does not answer may be there still.
    for (const auto& [vm, placement] : gone)
      if (answers(placement.host) && answers(placement.to)) changes[vm] = std::nullopt;
  }
  return share(changes);
}

Status Plans::share_affinity() {
  if (!parts_.cluster) return {};
  const int64_t now = parts_.unix_seconds();
  std::string text;
  uint64_t token = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!has_learned_ || now - affinity_shared_at_ < kAffinityShared_s) return {};
    has_learned_ = false;
    affinity_shared_at_ = now;
    text = affinity_.encode();
    token = taken_token_;
  }
  if (text.size() > kSharedBytesMax) return {};  // each learns its own
  return parts_.cluster->keep_affinity(token, std::move(text));
}

std::string Plans::vms_last_seen_on(const std::string& host) {
  const std::lock_guard lock(mutex_);
  std::string names;
  size_t count = 0;
  for (const auto& [vm, placement] : placements_) {
    if (placement.host != host && placement.to != host) continue;
    if (++count <= kNamedMax) names += (names.empty() ? "" : ", ") + vm;
  }
  if (count == 0) return "";
  if (count > kNamedMax) names += fmt::format(" and {} more", count - kNamedMax);
  return fmt::format("; VMs that were there: {}", names);
}

}  // namespace forerun::daemon
