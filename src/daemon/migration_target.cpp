#include "daemon/migration_target.h"

#include "core/log.h"
#include "daemon/memory_filter.h"
#include "daemon/peer_overlay.h"
#include "vmm/recovery_monitor.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(10);
constexpr Nanos kLookBefore = std::chrono::milliseconds(100);  // nobody waits yet
constexpr Nanos kLookAtSwitch = std::chrono::milliseconds(1);  // the guest stands still
constexpr Nanos kPauseTimeout = std::chrono::seconds(10);
constexpr auto kEndedEarly = "QEMU ended there before all of its memory was there";
constexpr Nanos kTakenBackTimeout = std::chrono::seconds(10);
constexpr Nanos kStateTimeout = std::chrono::milliseconds(500);

std::string incoming_path(const vmm::VmRecord& record, std::string_view name) {
  const std::string& qmp = record.qemu.qmp_socket;
  return fmt::format("{}/{}", qmp.substr(0, qmp.rfind('/')), name);
}

uint64_t to_us(Nanos time) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

}  // namespace

MigrationTarget::~MigrationTarget() { end_pipe(); }

void MigrationTarget::end_pipe() {
  if (pipe_) pipe_->close();
  pipe_.reset();
  connection_.cut({ErrorCode::kUnavailable, "the migration has ended"});
}

Status MigrationTarget::say(PeerMessageKind kind) {
  PeerMessage message;
  message.kind = kind;
  message.id = id_;
  message.vm = vm_;
  message.is_complete = is_complete_;
  message.has_memory = has_memory_;
  if (coming_.disk)
    if (const auto progress = coming_.disk->pull_progress())
      message.disk_bytes = progress->remote_bytes;
  message.blocktime_ms = blocktime_ms_;
  message.loaded_us = to_us(loaded_);
  message.disk_known_us = to_us(disk_known_);
  message.took_us = to_us(took_);
  return send(connection_, message);
}

void MigrationTarget::note_wait(const Error& why) {
  log::info("VM {} waits for host {}: {}", vm_, host_, why.message);
  parts_.vms.set_migration_detail(
      vm_, id_,
      fmt::format("what it lacks comes once host {} has connected again: {}", host_, why.message));
}

MigrationTarget::End MigrationTarget::prepare(const PeerMessage& asked) {
  Status came = take_in(asked);
  if (came) came = until_committed();
  if (came) came = run();
  if (came) came = rest();
  if (!came && is_ours_) note_wait(came.error());
  if (!came && !is_ours_) {
    if (const auto now = parts_.vms.migrating(vm_, id_); now && !now->is_alive)
      came = fail(ErrorCode::kUnavailable,
                  fmt::format("QEMU ended there: {}", vmm::last_words(now->log_path)));
    log::info("VM {} does not come from host {}: {}", vm_, host_, came.error().message);
    [[maybe_unused]] const Status told = send(connection_, failure_message(came.error()));
    // The message is still on its way; the source ends the connection once it has read it.
    [[maybe_unused]] const auto closed = connection_.receive_message(1s);
  }
  qemu_.reset();
  end_pipe();
  if (is_complete_) return End::kOurs;
  if (is_ours_) return End::kRests;
  if (is_ready_) return End::kInDoubt;
  if (is_taken_in_) drop();
  return End::kGone;
}

void MigrationTarget::drop() {
  if (const Status dropped = parts_.vms.drop_coming(vm_, id_); !dropped)
    log::error("VM {}, which does not come: {}", vm_, dropped.error().message);
}

Status MigrationTarget::take_in(const PeerMessage& asked) {
  vm_ = asked.vm;
  id_ = asked.id;
  VmManager::Coming coming;
  FR_TRY(coming.record, vmm::decode_vm_record(asked.record));
  if (coming.record.name != vm_ || id_.empty() || id_.size() > 64)
    return fail(ErrorCode::kCorrupt, "the other host sent the record of another VM");
  coming.id = id_;
  coming.peer = host_;
  coming.kernel_digest = asked.kernel_digest;
  coming.initrd_digest = asked.initrd_digest;
  coming.disk_bytes = asked.disk_bytes;
  coming.without_forwards = asked.without_forwards;
  if (asked.history_bytes > kHistoryBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("the other host wants {} bytes of history taken up, {} are the most",
                            asked.history_bytes, kHistoryBytesMax));
  coming.history.resize(asked.history_bytes);
  FR_CHECK(connection_.read_exact(net::PeerChannel::kForward, coming.history));
  log::info("VM {} comes from host {}", vm_, host_);
  if (asked.takes_known && !asked.is_plain) known_ = parts_.vms.checkpoint_pages(vm_);
  FR_TRY(coming_, parts_.vms.begin_coming(coming));
  is_taken_in_ = true;
  return start_qemu(asked);
}

// QEMU that waits for a page of the guest's answers nothing; without the connection, none comes.
Status MigrationTarget::connect_qemu() {
  FR_TRY(qemu_, vmm::MigrationControl::connect(coming_.record.qemu.qmp_socket, [this] {
           return !connection_.failure() && !should_stop_();
         }));
  return {};
}

Status MigrationTarget::compare_qemu(const PeerMessage& asked) {
  FR_TRY(const std::string machine, qemu_->machine());
  if (machine != asked.machine)
    return fail(ErrorCode::kUnsupported,
                fmt::format("its machine is {}, QEMU here makes {}", asked.machine, machine));
  FR_TRY(const std::string version, qemu_->version());
  // Machines of a version are made by all later ones; an older one may know less.
  const auto parts = [](const std::string& text) {
    std::array<int, 2> numbers{};
    std::sscanf(text.c_str(), "%d.%d", &numbers[0], &numbers[1]);
    return numbers;
  };
  if (parts(version) < parts(asked.qemu_version))
    return fail(ErrorCode::kUnsupported,
                fmt::format("it runs in QEMU {}, here is {}", asked.qemu_version, version));
  return {};
}

Status MigrationTarget::start_qemu(const PeerMessage& asked) {
  FR_CHECK(connect_qemu());
  FR_CHECK(compare_qemu(asked));
  if (asked.is_postcopy) FR_CHECK(vmm::negotiate_recovery(coming_.record.qemu.qmp_socket));
  std::vector<std::string> capabilities{"events"};
  if (asked.is_postcopy) {
    capabilities.emplace_back("postcopy-ram");
    capabilities.emplace_back("postcopy-blocktime");
  }
  FR_CHECK(qemu_->set_capabilities(capabilities));
  const std::string path = incoming_path(coming_.record, "incoming.sock");
  FR_CHECK(qemu_->listen(path));
  if (asked.is_plain)
    filter_ = std::make_unique<PlainFilter>();
  else
    filter_ = std::make_unique<ReceiverFilter>(known_.get());
  pipe_ = std::make_unique<MigrationPipe>(MigrationPipe::Side::kTarget, connection_, *filter_);
  PeerMessage prepared;
  prepared.kind = PeerMessageKind::kPrepared;
  prepared.id = id_;
  prepared.vm = vm_;
  if (known_) {
    prepared.known_pages = known_->hashes().size();
    prepared.text = known_->words();
  }
  FR_CHECK(send(connection_, prepared));
  // Before anything of QEMU's in that channel.
  if (known_)
    FR_CHECK(
        connection_.write(net::PeerChannel::kReturn, std::as_bytes(std::span(known_->hashes()))));
  return pipe_->open(path);
}

Status MigrationTarget::learn_disk() {
  const auto source = disk_source();
  FR_TRY(const disk::OverlayContents contents, source->contents());
  FR_CHECK(coming_.disk->begin_pull(contents));
  coming_.disk->start_pull(source, [] {});
  return {};
}

std::shared_ptr<disk::OverlaySource> MigrationTarget::disk_source() {
  auto source = std::make_shared<PeerOverlay>(held_);
  if (!known_) return source;
  return std::make_shared<KnownOverlay>(std::move(source), known_->store(), known_->index());
}

// After a break: what is still missing, from the new connection.
void MigrationTarget::pull_disk() {
  if (coming_.disk && coming_.disk->pull_id() != 0)
    coming_.disk->start_pull(std::make_shared<PeerOverlay>(held_), [] {});
}

Status MigrationTarget::until_committed() {
  Status came = take_orders();
  if (learning_.valid()) learning_.wait();
  return came;
}

Status MigrationTarget::take_orders() {
  for (;;) {
    const bool is_switching = heard_frozen_ != Time{} && !is_ready_;
    const auto order = receive(
        connection_, {PeerMessageKind::kFrozen, PeerMessageKind::kCommit, PeerMessageKind::kAbort},
        is_switching ? kLookAtSwitch : kLookBefore);
    if (!order && order.error().code != ErrorCode::kTimedOut) return std::unexpected(order.error());
    if (order && order->kind == PeerMessageKind::kAbort) {
      is_ready_ = false;  // the source has said it: it stays there
      return fail(ErrorCode::kUnavailable, "the source has called it off");
    }
    if (order && order->kind == PeerMessageKind::kFrozen) {
      if (heard_frozen_ != Time{})
        return fail(ErrorCode::kCorrupt, "the source has frozen the disk twice");
      heard_frozen_ = parts_.clock.now();
      learning_ = std::async(std::launch::async, [this] { return learn_disk(); });
    }
    if (order && order->kind == PeerMessageKind::kCommit) {
      if (!is_ready_) return fail(ErrorCode::kCorrupt, "the source commits what is not ready");
      heard_commit_ = parts_.clock.now();
      ownership_ = order->ownership;
      is_postcopy_ = order->is_postcopy;
      return {};
    }
    if (!is_ready_) FR_CHECK(look_if_ready());
  }
}

// QEMU tells no event when it has taken in the devices of a guest that it is not to run yet.
Status MigrationTarget::look_if_loaded() {
  FR_TRY(const std::string state, qemu_->run_state());
  is_loaded_ = state != "inmigrate";
  if (is_loaded_) {
    loaded_ = parts_.clock.now() - heard_frozen_;
    return {};
  }
  FR_TRY(const vmm::MigrationStatus status, qemu_->status());
  if (status.has_failed())
    return fail(ErrorCode::kIo, fmt::format("QEMU's migration failed {}", status.error));
  if (const auto failure = pipe_->failure()) return std::unexpected(*failure);
  return {};
}

Status MigrationTarget::look_if_ready() {
  if (should_stop_()) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
  if (!is_loaded_) FR_CHECK(look_if_loaded());
  if (learning_.valid() && learning_.wait_for(0s) == std::future_status::ready) {
    disk_known_ = parts_.clock.now() - heard_frozen_;
    FR_CHECK(learning_.get());
    is_disk_known_ = true;
  }
  if (!is_loaded_ || !is_disk_known_) return {};
  is_ready_ = true;
  return say(PeerMessageKind::kReady);
}

Status MigrationTarget::run() {
  FR_CHECK(parts_.vms.take_over(vm_, id_, ownership_, is_postcopy_));
  is_ours_ = true;
  if (const auto now = parts_.vms.migrating(vm_, id_); now && !now->is_alive)
    return give_back({ErrorCode::kUnavailable,
                      fmt::format("QEMU ended there: {}", vmm::last_words(now->log_path))});
  if (Status runs = qemu_->resume(); !runs) {
    // Refused; whatever else went wrong, it may have run.
    if (runs.error().code == ErrorCode::kInvalid) return give_back(runs.error());
    return runs;
  }
  took_ = parts_.clock.now() - heard_commit_;
  log::info("VM {} runs here, from host {}, as its owner {}", vm_, host_, ownership_);
  return say(PeerMessageKind::kRunning);
}

std::unexpected<Error> MigrationTarget::give_back(const Error& why) {
  qemu_.reset();
  if (Status returned = parts_.vms.return_coming(vm_, id_); !returned)
    return std::unexpected(std::move(returned.error()));
  is_ours_ = false;
  PeerMessage message = failure_message(why);
  message.kind = PeerMessageKind::kReturned;
  message.id = id_;
  if (Status told = send(connection_, message); !told)
    return std::unexpected(std::move(told.error()));
  const auto order = receive(connection_, {PeerMessageKind::kAbort}, kTakenBackTimeout);
  is_ready_ = !order;  // else the source has it
  return std::unexpected(why);
}

Status MigrationTarget::tell_progress() {
  if (parts_.clock.now() < told_ + 200ms) return {};
  told_ = parts_.clock.now();
  return say(PeerMessageKind::kProgress);
}

Status MigrationTarget::see_it_run() {
  if (qemu_) return {};
  FR_CHECK(connect_qemu());
  FR_TRY(const std::string state, qemu_->run_state());
  if (state == "running") return {};
  FR_CHECK(qemu_->resume());
  log::info("VM {} runs here, from host {}, as its owner {}", vm_, host_, ownership_);
  return {};
}

// Until the memory and the disk are here, too.
Status MigrationTarget::rest() {
  FR_CHECK(see_it_run());
  while (!has_memory_ || coming_.disk->pull_id() != 0) {
    if (!has_memory_) {
      FR_TRY(const vmm::MigrationStatus status, qemu_->status());
      if (status.has_failed())
        return fail(ErrorCode::kIo, fmt::format("QEMU's migration failed {}", status.error));
      if (status.state == "postcopy-paused")
        return fail(ErrorCode::kUnavailable, "the stream of its memory was cut");
      has_memory_ = status.state == "completed";
      blocktime_ms_ = status.blocktime_ms;
      if (has_memory_) FR_CHECK(parts_.vms.note_memory(vm_, id_));
    }
    const auto order = receive(connection_, {PeerMessageKind::kPing}, kLook);
    if (!order && order.error().code != ErrorCode::kTimedOut) return std::unexpected(order.error());
    FR_CHECK(tell_progress());
    if (should_stop_()) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
  }
  is_complete_ = true;
  FR_CHECK(parts_.vms.end_coming(vm_, id_));
  FR_CHECK(say(PeerMessageKind::kComplete));
  [[maybe_unused]] const auto closed = connection_.receive_message(2s);  // the source has read it
  return {};
}

MigrationTarget::End MigrationTarget::resume(const PeerMessage& asked) {
  vm_ = asked.vm;
  id_ = asked.id;
  ownership_ = asked.ownership;
  is_postcopy_ = asked.is_postcopy;
  Status resumed = resume_memory();
  if (resumed) resumed = say(PeerMessageKind::kResumed);
  if (resumed && !is_complete_) {
    parts_.vms.set_migration_detail(vm_, id_, "");
    resumed = rest();
  }
  if (!resumed && is_taken_in_ && !is_ready_) {
    drop();
    return End::kGone;
  }
  if (!resumed) {
    log::warn("VM {} of host {}: {}", vm_, host_, resumed.error().message);
    [[maybe_unused]] const Status told = send(connection_, failure_message(resumed.error()));
    note_wait(resumed.error());
  }
  [[maybe_unused]] const auto closed = connection_.receive_message(1s);
  qemu_.reset();
  end_pipe();
  if (is_complete_) return End::kOurs;
  return is_ours_ ? End::kRests : End::kInDoubt;
}

Status MigrationTarget::resume_memory() {
  auto found = parts_.vms.migrating(vm_, id_);
  if (!found) {
    // It came whole, and only the last word was lost.
    FR_TRY(is_complete_, parts_.vms.is_owner(vm_, ownership_));
    is_ours_ = true;
    return {};
  }
  coming_ = std::move(*found);
  if (coming_.record.migration.peer != host_)
    return fail(ErrorCode::kDenied, fmt::format("VM {} comes from another host", vm_));
  const bool lacks_memory = coming_.record.migration.is_postcopy;
  is_taken_in_ = is_ready_ = !coming_.record.migration.is_decided;
  if (!coming_.is_alive && is_ready_)
    return give_back({ErrorCode::kUnavailable, "QEMU ended there before it ran the guest"});
  if (!coming_.is_alive && lacks_memory && is_postcopy_)
    return fail(ErrorCode::kCorrupt, kEndedEarly);
  if (!coming_.is_alive)
    return fail(
        ErrorCode::kUnavailable,
        fmt::format("QEMU of VM {} has ended; once it runs again the rest of its disk comes", vm_));
  FR_CHECK(parts_.vms.take_over(vm_, id_, ownership_, is_postcopy_));
  is_ours_ = true;
  pull_disk();
  has_memory_ = !lacks_memory;
  return has_memory_ ? Status() : recover_memory();
}

std::optional<std::string> MigrationTarget::memory_state() {
  const Time until = parts_.clock.now() + kStateTimeout;
  const auto may_wait = [&] { return parts_.clock.now() < until && !should_stop_(); };
  const auto qemu = vmm::MigrationControl::connect(coming_.record.qemu.qmp_socket, may_wait);
  if (!qemu) return std::nullopt;
  const auto status = (*qemu)->status();
  if (!status) return std::nullopt;
  blocktime_ms_ = status->blocktime_ms;
  return status->state;
}

Status MigrationTarget::recover_memory() {
  const std::string& qmp = coming_.record.qemu.qmp_socket;
  const std::string path = incoming_path(coming_.record, "recover.sock");
  const Time deadline = parts_.clock.now() + kPauseTimeout;
  std::string why;
  do {
    const Status recovers = vmm::recover_incoming(qmp, path);
    if (recovers && !is_postcopy_) {
      FR_CHECK(parts_.vms.end_lost(vm_, id_));
      return fail(ErrorCode::kUnavailable, "the rest of its memory is lost: its QEMU is ended");
    }
    if (recovers) {
      filter_ = std::make_unique<PlainFilter>();
      pipe_ = std::make_unique<MigrationPipe>(MigrationPipe::Side::kTarget, connection_, *filter_);
      return pipe_->open(path);
    }
    why = recovers.error().message;
    const auto state = memory_state();
    has_memory_ = state == "completed" || state == "none";
    if (has_memory_) FR_CHECK(parts_.vms.note_memory(vm_, id_));
    // Another QEMU than the one that took in the memory knows of no migration.
    if (state == "none" && is_postcopy_) return fail(ErrorCode::kCorrupt, kEndedEarly);
    if (has_memory_) return {};
    const auto early = connection_.receive_message(kLook);
    if (!early && early.error().code != ErrorCode::kTimedOut) return std::unexpected(early.error());
  } while (parts_.clock.now() < deadline && !should_stop_());
  return fail(ErrorCode::kUnavailable, why);
}

}  // namespace forerun::daemon
