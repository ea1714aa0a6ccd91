// Plans carried out: one move after the other, each on record before it begins.
#include "core/log.h"
#include "daemon/plans.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

using place::MoveRecord;
using place::MoveState;

constexpr Nanos kOrderTimeout = std::chrono::hours(2);
constexpr uint32_t kAttemptsMax = 2;
constexpr size_t kForeseenMax = 16;  // moves that are told of at once
constexpr Nanos kForeseeTimeout = std::chrono::seconds(10);

bool may_help_again(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kTimedOut || code == ErrorCode::kIo;
}

}  // namespace

Result<api::OperationInfo> Plans::apply_plan() {
  if (const auto led = lead(); led && !led->is_leader)
    return fail(ErrorCode::kDenied,
                fmt::format("host {} leads the cluster: plans are carried out there", led->leader));
  return parts_.start([this](Operations::Progress& progress) { return apply(progress); });
}

Result<std::string> Plans::apply(Operations::Progress& progress) {
  const std::unique_lock applying(apply_mutex_, std::try_to_lock);
  if (!applying.owns_lock()) return fail(ErrorCode::kExists, "a plan is being carried out");
  FR_CHECK(refresh());
  FR_TRY(const Fleet fleet, this->fleet());
  return carry_out(fleet, progress);
}

Result<std::string> Plans::carry_out(const Fleet& fleet, Operations::Progress& progress) {
  FR_TRY(const auto model, place::FleetModel::make(fleet.snapshot));
  const place::Plan plan = place::Planner(model->options(false)).plan(model->state());
  // Who leads no more is refused here already, before any host is asked.
  if (parts_.cluster && !plan.moves.empty())
    FR_CHECK(parts_.cluster->publish(
        lead()->token,
        place::plan_json(*model, plan, {}, os::format_utc(parts_.unix_seconds()), fleet.notes)));
  foresee(*model, plan, 1);
  size_t made = 0;
  for (const place::PlannedMove& move : plan.moves) {
    if (move.from < 0) continue;
    // What follows may lean on it: the rest is planned again.
    if (progress.should_stop() || !make(*model, move, progress)) break;
    ++made;
  }
  std::string text = plan.moves.empty()
                         ? "no move is worth making"
                         : fmt::format("{} of {} moves made", made, plan.moves.size());
  if (made < plan.moves.size()) text += "; forerun explain vm says why not the others";
  return text;
}

void Plans::foresee(const place::FleetModel& model, const place::Plan& plan, size_t first) {
  std::vector<std::jthread> telling;
  for (size_t i = first; i < plan.moves.size() && telling.size() < kForeseenMax; ++i) {
    if (plan.moves[i].from < 0) continue;
    const MoveRecord move = place::record_of(model, plan.moves[i]);
    if (move.from == own_name()) {
      if (parts_.foresee) parts_.foresee(move.vm, move.to);
      continue;
    }
    telling.emplace_back([this, move] {
      PeerMessage told;
      told.kind = PeerMessageKind::kForesee;
      told.vm = move.vm;
      told.text = move.to;
      // A hint: who does not hear it has no checkpoint there when the move comes.
      if (const auto heard = parts_.ask(move.from, told, PeerMessageKind::kPong, kForeseeTimeout);
          !heard)
        log::info("plan: host {} is not told that VM {} is to go to {}: {}", move.from, move.vm,
                  move.to, heard.error().message);
    });
  }
}

bool Plans::make(const place::FleetModel& model, const place::PlannedMove& move,
                 Operations::Progress& progress) {
  MoveRecord record = place::record_of(model, move);
  record.decided_at = parts_.unix_seconds();
  {
    const std::lock_guard lock(mutex_);
    record.number = making_ = ledger_.add(record);
    save_ledger();
  }
  // Whoever leads next must know of it before it begins.
  if (const Status kept = share({{record.vm, PlanPlacement{record.from, record.to}}}); kept) {
    try_to_move(record, progress);
  } else {
    record.state = MoveState::kAbandoned;
    record.outcome = kept.error().message;
  }
  record.ended_at = parts_.unix_seconds();
  if (record.state == MoveState::kAbandoned)
    log::warn("plan: VM {} stays on {}: {}", record.vm, record.from, record.outcome);
  {
    const std::lock_guard lock(mutex_);
    making_ = 0;
    // It may be another's by now, taken over from whoever leads.
    if (MoveRecord* kept = ledger_.find(record.number);
        kept && kept->vm == record.vm && kept->decided_at == record.decided_at)
      *kept = record;
    save_ledger();
  }
  const bool is_done = record.state == MoveState::kDone;
  if (const Status kept =
          share({{record.vm, PlanPlacement{is_done ? record.to : record.from, ""}}});
      !kept)
    log::warn("plan: what came of VM {}'s move is not told the cluster: {}", record.vm,
              kept.error().message);
  return is_done;
}

void Plans::try_to_move(MoveRecord& record, Operations::Progress& progress) {
  log::info("plan: VM {} goes from {} to {}: {}", record.vm, record.from, record.to, record.why);
  for (;;) {
    ++record.attempts;
    const auto moved = order(record, progress);
    record.state = moved ? MoveState::kDone : MoveState::kAbandoned;
    record.outcome = moved ? *moved : moved.error().message;
    if (moved || record.attempts == kAttemptsMax || !may_help_again(moved.error().code) ||
        progress.should_stop())
      return;
    log::warn("plan: VM {} is tried again: {}", record.vm, record.outcome);
  }
}

Result<std::string> Plans::order(const MoveRecord& record, Operations::Progress& progress) {
  uint64_t token = 0;
  if (const auto led = lead()) {
    if (!led->is_leader)
      return fail(ErrorCode::kDenied, fmt::format("host {} leads the cluster now", led->leader));
    token = led->token;
  }
  if (record.from == own_name()) {
    if (parts_.cluster) FR_CHECK(parts_.cluster->admit("", token, "move VM " + record.vm));
    api::MigrateRequest request;
    request.to = record.to;
    return parts_.migrate(record.vm, request, progress);
  }
  progress.update(0, 0,
                  fmt::format("host {} moves VM {} to {}", record.from, record.vm, record.to));
  PeerMessage order;
  order.kind = PeerMessageKind::kOrder;
  order.vm = record.vm;
  order.text = record.to;
  order.ownership = token;
  FR_TRY(const PeerMessage done,
         parts_.ask(record.from, order, PeerMessageKind::kOrdered, kOrderTimeout));
  return done.text;
}

}  // namespace forerun::daemon
