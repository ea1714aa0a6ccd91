// What follows the commit point: the source serves what the target still lacks, over new
// connections if need be, until it lacks nothing.
#include "core/log.h"
#include "daemon/migration_source.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(20);
constexpr Nanos kAnswerTimeout = std::chrono::seconds(30);
constexpr Nanos kPauseTimeout = std::chrono::seconds(30);
constexpr Nanos kPauseOfEnded = std::chrono::seconds(3);  // whose socket ended with the daemon
constexpr Nanos kRetryMin = std::chrono::milliseconds(200), kRetryMax = std::chrono::seconds(5);

}  // namespace

Result<std::string> MigrationSource::to_end() {
  Nanos pause = kRetryMin;
  bool has_connection = connection_ != nullptr;
  for (;;) {
    const Status gone = has_connection ? go_on() : resume();
    close_disk();
    if (gone) break;
    if (is_returned_) return come_back(gone.error());
    log::warn("VM {}, which is host {}'s: {}", vm_, request_.to, gone.error().message);
    control_.report(0, 0,
                    fmt::format("the way to host {} is cut; it is tried again: {}", request_.to,
                                gone.error().message));
    parts_.vms.set_migration_detail(
        vm_, id_,
        fmt::format("host {} still needs what is here: {}", request_.to, gone.error().message));
    let_go();
    has_connection = false;
    was_cut_ = true;
    FR_TRY(const auto now, parts_.vms.migrating(vm_, id_));
    leaving_.record = now.record;
    leaving_.is_alive = now.is_alive;
    if (is_lost_) return note_loss(gone.error().message);
    if (leaving_.record.migration.is_postcopy && !leaving_.is_alive)
      return note_loss("QEMU ended here before all of its memory was there");
    if (!control_.wait(pause))
      return fail(ErrorCode::kUnavailable,
                  fmt::format("the daemon is stopping; VM {} is host {}'s", vm_, request_.to));
    pause = std::min(pause * 2, kRetryMax);
  }
  qemu_.reset();
  let_go();
  FR_CHECK(parts_.vms.end_leaving(vm_, id_));
  score();
  log::info("VM {}: {}", vm_, outcome());
  return outcome();
}

std::unexpected<Error> MigrationSource::note_loss(const std::string& why) {
  if (const Status noted = parts_.vms.note_memory(vm_, id_); !noted)
    log::error("VM {}: {}", vm_, noted.error().message);
  return fail(ErrorCode::kCorrupt,
              fmt::format("VM {}, which is host {}'s, is lost: {}; its disk follows once it is "
                          "started there",
                          vm_, request_.to, why));
}

void MigrationSource::note_running() {
  if (runs_there_) return;
  ran_ = downtime_.has_begun() ? downtime_.last() : parts_.clock.now();
  runs_there_ = true;
  const auto& forwards = leaving_.record.qemu.forwards;
  if (qemu_ && !forwards.empty())
    if (const Status removed = qemu_->remove_forwards(forwards); !removed)
      log::warn("VM {}: its ports are not free here: {}", vm_, removed.error().message);
  control_.on_running();
}

Status MigrationSource::note_answer(const PeerMessage& told) {
  is_returned_ = told.kind == PeerMessageKind::kReturned;
  if (!is_returned_) return {};
  return fail(
      ErrorCode::kUnavailable,
      fmt::format("host {} cannot run VM {}, which goes on here: {}", request_.to, vm_, told.text));
}

Result<std::string> MigrationSource::come_back(const Error& why) {
  disk_server_.reset();
  frozen_.reset();
  leaving_.disk.reset();
  FR_TRY(leaving_, parts_.vms.take_back(vm_, id_));
  goes_over_ = true;
  std::string text = why.message;
  if (const std::string stands = roll_back(); !stands.empty()) text += "; " + stands;
  return fail(ErrorCode::kUnavailable, std::move(text));
}

// What follows the decision, over the connection that there is.
Status MigrationSource::go_on() {
  if (!runs_there_) {
    const Time sent = parts_.clock.now();
    FR_CHECK(send(*connection_, message(PeerMessageKind::kCommit)));
    FR_TRY(const PeerMessage told,
           receive(*connection_, {PeerMessageKind::kRunning, PeerMessageKind::kReturned},
                   kAnswerTimeout));
    FR_CHECK(note_answer(told));
    downtime_.on_running(sent, told_length(told.took_us), parts_.clock.now());
    note_running();
    close_disk();
  }
  for (;;) {
    const auto complete =
        receive(*connection_, {PeerMessageKind::kComplete, PeerMessageKind::kProgress}, kLook);
    if (complete && memory_ended_ == Time{} &&
        (complete->has_memory || complete->kind == PeerMessageKind::kComplete))
      memory_ended_ = parts_.clock.now();
    if (complete && complete->kind == PeerMessageKind::kComplete) {
      blocktime_ms_ = complete->blocktime_ms;
      return {};
    }
    if (complete) {
      disk_left_bytes_ = complete->disk_bytes;
      if (complete->has_memory) FR_CHECK(parts_.vms.note_memory(vm_, id_));
    }
    if (!complete && complete.error().code != ErrorCode::kTimedOut)
      return std::unexpected(complete.error());
    if (pipe_)
      if (const auto failure = pipe_->failure()) return std::unexpected(*failure);
    if (!control_.wait(Nanos::zero()))
      return fail(ErrorCode::kUnavailable, "the daemon is stopping");
    if (!qemu_) continue;
    FR_TRY(last_, qemu_->status());
    if (last_.state == "postcopy-paused")
      return fail(ErrorCode::kUnavailable, "the stream of its memory was cut");
    if (last_.state == "completed" && memory_ended_ == Time{}) memory_ended_ = parts_.clock.now();
    report(last_);
  }
}

Status MigrationSource::wait_paused(Nanos patience) {
  const Time deadline = parts_.clock.now() + patience;
  while (parts_.clock.now() < deadline) {
    FR_TRY(last_, qemu_->status());
    if (last_.state == "postcopy-paused" || last_.state == "completed") return {};
    if (!control_.wait(kLook)) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
  }
  // QEMU 7.2 that waits for the target's last word after its own is not paused by the end of its
  // socket, and cannot be told to send anything again.
  is_lost_ = last_.state == "postcopy-active";
  return fail(ErrorCode::kTimedOut,
              fmt::format("QEMU does not pause its migration: {}", last_.state));
}

Status MigrationSource::resume() {
  if (is_postcopy_ && !qemu_) {
    FR_TRY(qemu_, vmm::MigrationControl::connect(leaving_.record.qemu.qmp_socket));
  }
  FR_TRY(connection_, parts_.peers.connect(request_.to));
  PeerMessage asked = message(PeerMessageKind::kResume);
  asked.ownership = leaving_.record.ownership;  // raised by the decision
  FR_CHECK(serve_disk());
  FR_CHECK(send(*connection_, asked));
  const auto resumed = receive(
      *connection_, {PeerMessageKind::kResumed, PeerMessageKind::kReturned}, kAnswerTimeout);
  if (!resumed) {
    is_lost_ = is_postcopy_ && resumed.error().code == ErrorCode::kCorrupt;
    return std::unexpected(resumed.error());
  }
  FR_CHECK(note_answer(*resumed));
  if (!runs_there_) downtime_.end_step("run", parts_.clock.now());
  note_running();
  if (resumed->is_complete) return {};
  if (!is_postcopy_ || resumed->has_memory) return go_on();
  FR_CHECK(wait_paused(kPauseTimeout));
  if (last_.state == "postcopy-paused") {
    filter_ = std::make_unique<PlainFilter>();
    pipe_ = std::make_unique<MigrationPipe>(MigrationPipe::Side::kSource, *connection_, *filter_);
    FR_CHECK(pipe_->open(socket_path()));
    FR_CHECK(qemu_->start(socket_path(), true));
    log::info("VM {}: its memory goes on to host {}", vm_, request_.to);
  }
  return go_on();
}

Result<std::string> MigrationSource::take_up(const vmm::VmRecord& record) {
  began_ = stopped_ = parts_.clock.now();
  is_disk_closed_ = true;  // it is open for the other host alone
  FR_TRY(leaving_, parts_.vms.migrating(vm_, id_));
  is_postcopy_ = leaving_.record.migration.is_postcopy;
  if (record.migration.is_decided) {
    FR_TRY(leaving_, parts_.vms.open_given_disk(vm_, id_));
    return to_end();
  }
  if (leaving_.is_alive) {
    FR_TRY(qemu_, vmm::MigrationControl::connect(record.qemu.qmp_socket));
    FR_TRY(last_, qemu_->status());
    is_postcopy_ = goes_over_ = last_.state.starts_with("postcopy-");
    const Status paused = is_postcopy_ ? wait_paused(kPauseOfEnded) : Status();
    if (!paused && paused.error().code != ErrorCode::kTimedOut)
      return std::unexpected(paused.error());
    // QEMU that has sent all cannot take that back; nobody else can have run the guest.
    if (!paused) {
      is_lost_ = false;  // the other host may have all of it
      FR_CHECK(parts_.vms.give_away(vm_, id_, true));
      FR_TRY(leaving_, parts_.vms.open_given_disk(vm_, id_));
      return to_end();
    }
  }
  std::string text = fmt::format("VM {} stays: the daemon ended amid its migration", vm_);
  if (const std::string stands = roll_back(); !stands.empty()) text += "; " + stands;
  return text;
}

}  // namespace forerun::daemon
