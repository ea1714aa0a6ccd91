#include "cluster/member.h"

#include <algorithm>

namespace forerun::cluster {
namespace {

// Of the lease: how often it is renewed, and how long before its end a leader stops. In between,
// two renewals can fail.
constexpr int kRenewalsPerLease = 5;
constexpr int kMarginsPerLease = 5;
constexpr Nanos kRetryMin = std::chrono::milliseconds(200);
constexpr Nanos kRetryMax = std::chrono::seconds(2);

}  // namespace

Member::Member(ClusterState& state, const Clock& clock, MemberOptions options)
    : state_(state),
      clock_(clock),
      options_(std::move(options)),
      record_(encode(options_.self)),
      retry_(kRetryMin),
      ttl_(options_.lease) {}

Nanos Member::step() {
  const Status done = [this]() -> Status {
    if (lease_ == 0 || now() >= renew_at_) FR_CHECK(renew());
    if (must_look_ || now() >= look_at_) FR_CHECK(look());
    return {};
  }();
  const std::lock_guard lock(mutex_);
  error_ = done ? std::nullopt : std::optional(done.error());
  if (!done) return retry_ = std::min(retry_ * 2, kRetryMax);
  retry_ = kRetryMin;
  return std::max<Nanos>(std::min(renew_at_, look_at_) - now(), std::chrono::milliseconds(10));
}

Status Member::renew() {
  // The store's count begins later than ours.
  const Time asked_at = now();
  Nanos ttl = ttl_;
  if (lease_ != 0) {
    const auto kept = state_.store().keep_alive(lease_);
    if (!kept && kept.error().code != ErrorCode::kNotFound) return std::unexpected(kept.error());
    if (kept) {
      ttl = *kept;
    } else {
      lose_lease();
    }
  }
  if (lease_ == 0) {
    FR_TRY(const Lease lease, state_.store().grant(options_.lease));
    lease_ = lease.id;
    ttl = lease.ttl;
    must_look_ = true;
  }
  renew_at_ = asked_at + ttl / kRenewalsPerLease;
  const std::lock_guard lock(mutex_);
  ttl_ = ttl;
  lease_until_ = asked_at + ttl;
  return {};
}

void Member::lose_lease() {
  lease_ = 0;
  const std::lock_guard lock(mutex_);
  is_registered_ = false;
  token_ = 0;
  lease_until_ = kTimeZero;
}

Status Member::look() {
  must_look_ = false;
  const Status done = [this]() -> Status {
    FR_CHECK(enroll());
    return elect();
  }();
  if (!done) must_look_ = true;
  look_at_ = now() + ttl_;
  // A lease that ended between two steps is noticed here first.
  if (!done && done.error().code == ErrorCode::kNotFound) renew_at_ = now();
  return done;
}

Status Member::enroll() {
  const std::string& name = options_.self.name;
  FR_TRY(const auto member, state_.store().get(state_.member_key(name)));
  if (member && member->lease == lease_ && member->value == record_) {
    const std::lock_guard lock(mutex_);
    is_registered_ = true;
    return {};
  }
  if (member && member->lease != lease_) {
    // Our own lease of before a restart may be put aside, another host's may not.
    const auto other = parse_host(member->value);
    if (!other || other->id != options_.self.id)
      return fail(ErrorCode::kExists,
                  fmt::format("another host is registered as {}{}", name,
                              other ? ", at " + other->address : std::string()));
  }
  FR_TRY(const auto known, state_.store().get(state_.host_key(name)));
  Transaction registration;
  registration.conditions = {
      {state_.member_key(name), Condition::On::kModified, member ? member->modified : 0}};
  registration.changes = {{state_.member_key(name), record_, lease_}};
  if (!known || known->value != record_)
    registration.changes.push_back({state_.host_key(name), record_});
  FR_TRY(const Committed done, state_.store().commit(registration));
  if (!done.is_applied) return fail(ErrorCode::kUnavailable, "the registration changed meanwhile");
  const std::lock_guard lock(mutex_);
  is_registered_ = true;
  return {};
}

Status Member::stand(const std::optional<KeyValue>& holder) {
  const std::string key = state_.leader_key();
  if (holder) {
    // What this host won before its restart is put aside, for a token of its own.
    const auto record = parse_leader(holder->value);
    if (holder->lease == lease_ || !record || record->id != options_.self.id) return {};
    FR_CHECK(state_.store().commit(
        {{{key, Condition::On::kModified, holder->modified}}, {{key, std::nullopt}}}));
  }
  Transaction candidacy;
  candidacy.conditions = {{key, Condition::On::kCreated, 0}};
  candidacy.changes = {{key, encode(LeaderRecord{options_.self.name, options_.self.id}), lease_}};
  FR_CHECK(state_.store().commit(candidacy));
  return {};
}

Status Member::elect() {
  const std::string key = state_.leader_key();
  FR_TRY(auto holder, state_.store().get(key));
  const bool is_ours_before = holder && holder->lease == lease_;
  if (options_.may_lead && !is_ours_before) {
    FR_CHECK(stand(holder));
    FR_TRY(holder, state_.store().get(key));
  }
  const bool is_ours = holder && holder->lease == lease_;
  ClusterState::Leader leader;
  if (holder) {
    FR_TRY(LeaderRecord record, parse_leader(holder->value));
    leader = {std::move(record.host), static_cast<uint64_t>(holder->created)};
  }
  const std::lock_guard lock(mutex_);
  token_ = is_ours ? static_cast<uint64_t>(holder->created) : 0;
  leader_ = std::move(leader);
  return {};
}

void Member::leave() {
  const LeaseId lease = lease_;
  lose_lease();
  if (lease == 0) return;
  // If the store does not answer, the lease ends by itself.
  [[maybe_unused]] const Status revoked = state_.store().revoke(lease);
}

Leadership Member::leadership() const { return status().leadership; }

MemberStatus Member::status() const {
  const Time at = now();
  const std::lock_guard lock(mutex_);
  MemberStatus status;
  status.lease_left = lease_until_ - at;
  status.is_registered = is_registered_ && status.lease_left > Nanos::zero();
  status.leadership.token = token_;
  status.leadership.is_leader = token_ != 0 && status.lease_left > ttl_ / kMarginsPerLease;
  status.leader = leader_;
  status.error = error_;
  return status;
}

}  // namespace forerun::cluster
