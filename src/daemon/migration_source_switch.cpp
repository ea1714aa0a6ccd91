// A migration from its memory's first byte to the moment in which all waits for the decision.
#include "core/log.h"
#include "daemon/migration_source.h"
#include "os/unix_time.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(20);
constexpr Nanos kDrainPatience = std::chrono::seconds(2);
constexpr Nanos kReadyTimeout = std::chrono::minutes(1);  // of what takes milliseconds

}  // namespace

// What the guest wrote is made durable while it runs: then little is left to flush when it stands
// still. A disk that cannot be flushed is complained of then.
void MigrationSource::flush_disk() {
  if (const Status flushed = leaving_.disk->flush(); !flushed)
    log::warn("VM {}: {}", vm_, flushed.error().message);
}

Status MigrationSource::switch_if_due(const vmm::MigrationStatus& status) {
  if (status.state != "active") return {};
  // Any round of a pre-copy may be the last.
  if (!is_postcopy_ && std::exchange(flushed_rounds_, status.rounds) != status.rounds) flush_disk();
  if (!is_postcopy_) return {};
  const bool is_at_once = choice_.mode == migrate::MigrationMode::kPostcopy;
  // The first pass over the memory ends when its changes are looked for the second time.
  if (!is_at_once && !(sender_ ? sender_->first_pass_is_done() : status.rounds >= 2)) return {};
  if (is_at_once && status.transferred_bytes == 0) return {};
  // What is under way, the guest would stand still for: what it writes meanwhile is held back here.
  if (first_pass_ended_ == Time{}) first_pass_ended_ = parts_.clock.now();
  const bool is_drained =
      connection_->under_way_bytes(net::PeerChannel::kForward) <= 2 * net::PeerMux::kToldLate;
  if (sender_ && !is_at_once && !is_drained &&
      parts_.clock.now() < first_pass_ended_ + kDrainPatience)
    return {};
  // So has all that the target was told to have: the guest would stand still for its answers.
  if (sender_ && !sender_->settle()) return wait_known(first_pass_ended_);
  if (!std::exchange(is_flushed_, true)) flush_disk();
  return qemu_->start_postcopy();  // again and again does no harm
}

Status MigrationSource::serve_disk() {
  if (!frozen_) {
    // Named by the migration: the same for a daemon that is started again amid it.
    FR_TRY(frozen_, leaving_.disk->freeze(sha256(as_bytes(id_)).prefix() | 1));
  }
  disk_server_ = std::make_unique<PeerOverlayServer>(*connection_, frozen_);
  return {};
}

void MigrationSource::close_disk() {
  if (!std::exchange(is_disk_closed_, true)) parts_.vms.close_given_disk(vm_, id_);
}

Status MigrationSource::heed_events() {
  FR_TRY(const auto events, qemu_->take_events());
  for (const vmm::QmpEvent& event : events) {
    const Nanos ago =
        event.at > Nanos::zero() ? std::max(os::unix_time() - event.at, Nanos::zero()) : Nanos();
    const Time at = parts_.clock.now() - ago;
    if (event.name == "STOP" && !has_switched_) downtime_.begin(at);
    if (event.name != "MIGRATION") continue;
    last_.state = event.status;
    if (event.status == "pre-switchover" && !has_switched_) downtime_.end_step("stop", at);
  }
  return {};
}

// QEMU has stopped the guest and flushed its disk, and waits for a word.
Status MigrationSource::note_switch() {
  if (has_switched_ || last_.state != "pre-switchover") return {};
  has_switched_ = true;
  // An answer may tell it before its event does.
  if (!downtime_.has_begun()) downtime_.begin(parts_.clock.now());
  if (downtime_.steps().empty()) downtime_.end_step("stop", parts_.clock.now());
  stopped_ = downtime_.stopped();
  downtime_.end_step("notice", parts_.clock.now());
  FR_CHECK(settle_known());
  FR_CHECK(serve_disk());
  FR_CHECK(send(*connection_, message(PeerMessageKind::kFrozen)));
  told_frozen_ = parts_.clock.now();
  downtime_.end_step("freeze", told_frozen_);
  // QEMU 7.2 cancelled in post-copy shuts its socket before it notes that it is cancelled: a thread
  // of its that sees the one and not the other pauses for good.
  if (is_postcopy_) FR_CHECK(go_over());
  return qemu_->leave_pre_switchover();
}

Status MigrationSource::go_over() {
  if (!goes_over_ && !control_.may_go_over())
    return fail(ErrorCode::kUnavailable, "it was cancelled");
  goes_over_ = true;
  return {};
}

Status MigrationSource::hear_ready(Nanos timeout) {
  if (is_ready_there_) return {};
  const auto ready = receive(*connection_, {PeerMessageKind::kReady}, timeout);
  if (!ready && ready.error().code == ErrorCode::kTimedOut) return {};
  if (!ready) return std::unexpected(Error(ready.error()).within("host " + request_.to));
  if (!has_switched_)
    return fail(ErrorCode::kCorrupt,
                fmt::format("host {} is ready before the guest has stopped", request_.to));
  is_ready_there_ = true;
  downtime_.on_ready(told_frozen_, told_length(ready->loaded_us), told_length(ready->disk_known_us),
                     parts_.clock.now());
  return {};
}

// Until QEMU has heard that a pre-copy came whole, it may fail yet, and would let its guest run on.
bool MigrationSource::has_let_go() const {
  return last_.state == "completed" || last_.state.starts_with("postcopy-");
}

Status MigrationSource::look() {
  if (!goes_over_ && control_.should_cancel())
    return fail(ErrorCode::kUnavailable, "it was cancelled");
  if (goes_over_ && parts_.clock.now() > stopped_ + kReadyTimeout)
    return fail(ErrorCode::kTimedOut, fmt::format("host {} does not get ready", request_.to));
  // What comes next is told by QEMU, or, once the guest has stopped, by the other host.
  if (!has_switched_ || is_ready_there_) FR_CHECK(qemu_->wait(kLook));
  FR_CHECK(heed_events());
  FR_CHECK(note_switch());
  FR_CHECK(hear_ready(has_switched_ ? kLook : Nanos::zero()));
  if (is_ready_there_) {
    FR_CHECK(heed_events());
  } else {
    FR_TRY(last_, qemu_->status());
    FR_CHECK(heed_events());
  }
  // An event does not tell why.
  if (last_.has_failed() && last_.error.empty()) {
    FR_TRY(last_, qemu_->status());
  }
  if (last_.has_failed())
    return fail(ErrorCode::kIo,
                fmt::format("QEMU's migration {}: {}", last_.state,
                            last_.error.empty() ? "it does not say why" : last_.error));
  if (const auto failure = pipe_->failure()) return std::unexpected(*failure);
  FR_CHECK(switch_if_due(last_));
  FR_CHECK(note_switch());
  report(last_);
  return {};
}

Status MigrationSource::until_ready() {
  while (!is_ready_there_ || !has_let_go()) FR_CHECK(look());
  if (!is_postcopy_) downtime_.end_step("settle", parts_.clock.now());
  return {};
}

}  // namespace forerun::daemon
