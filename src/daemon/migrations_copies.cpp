// Copies of checkpoints between hosts: asked for, and kept for others.
#include "core/log.h"
#include "daemon/checkpoint_copies.h"
#include "daemon/migrations.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kAnswerTimeout = std::chrono::seconds(30);

}  // namespace

Result<std::string> Migrations::send_copy(const std::string& vm, uint64_t number,
                                          const api::CheckpointCopyRequest& request,
                                          const std::function<bool()>& should_stop,
                                          const std::function<void(uint64_t, uint64_t)>& report) {
  FR_TRY(CheckpointStore* const store, parts_.vms.checkpoint_store());
  FR_TRY(const auto connection, parts_.peers.connect(request.to));
  CopyControl control;
  control.rate_bytes_per_s = request.rate_bytes_per_s_max;
  control.should_stop = should_stop;
  control.wait = [this](Nanos time) { return wait(time); };
  control.report = report;
  auto sent = send_checkpoint(*connection, *store, vm, number, control, parts_.clock);
  if (!sent) return std::unexpected(std::move(sent.error()).within("host " + request.to));
  parts_.vms.note_copy(vm, request.to);
  log::info("VM {}: checkpoint {} is at host {}: {} of {} chunks sent, {} KiB", vm, number,
            request.to, sent->chunks_sent, sent->chunks, sent->sent_bytes >> 10);
  return fmt::format("checkpoint {} is at host {}: {} of {} chunks went there, {:.1f} MiB", number,
                     request.to, sent->chunks_sent, sent->chunks,
                     static_cast<double>(sent->sent_bytes) / kMiB);
}

Result<std::string> Migrations::copy_checkpoint(const std::string& vm, uint64_t number,
                                                const api::CheckpointCopyRequest& request,
                                                Operations::Progress& progress) {
  return send_copy(
      vm, number, request, [&] { return is_stopping_ || progress.should_stop(); },
      [&](uint64_t done, uint64_t total) {
        progress.update(done, total, fmt::format("checkpoint {} to host {}", number, request.to));
      });
}

void Migrations::forget(const std::string& vm, const std::vector<std::string>& copies_at) {
  relays_.close(vm);
  if (copies_at.empty()) return;
  const auto drop = [this, vm, copies_at] {
    for (const std::string& host : copies_at) {
      const auto dropped = [&]() -> Status {
        FR_TRY(const auto connection, parts_.peers.connect(host));
        PeerMessage asked;
        asked.kind = PeerMessageKind::kDrop;
        asked.vm = vm;
        FR_CHECK(send(*connection, asked));
        FR_CHECK(receive(*connection, {PeerMessageKind::kDropped}, kAnswerTimeout));
        return {};
      }();
      if (!dropped)
        log::warn("VM {} is removed, but host {} may keep copies of its checkpoints: {}", vm, host,
                  dropped.error().message);
    }
  };
  const std::lock_guard lock(mutex_);
  if (!is_stopping_) takers_.emplace_back(drop);
}

void Migrations::serve_copies(const std::string& host, const PeerMessage& asked,
                              net::PeerConnection& from) {
  const auto served = [&]() -> Status {
    if (!is_valid_name(asked.vm))
      return fail(ErrorCode::kInvalid, "the name of a VM that cannot be one");
    if (asked.kind == PeerMessageKind::kDrop) {
      parts_.vms.forget_copies(asked.vm, host);
      PeerMessage answer;
      answer.kind = PeerMessageKind::kDropped;
      return send(from, answer);
    }
    FR_CHECK(parts_.vms.may_keep_copy(asked.vm));
    FR_TRY(CheckpointStore* const store, parts_.vms.checkpoint_store());
    return receive_checkpoint(from, *store, host, asked);
  }();
  if (!served) {
    log::warn("host {}: a copy of VM {}'s checkpoint: {}", host, asked.vm, served.error().message);
    [[maybe_unused]] const Status told = send(from, failure_message(served.error()));
  }
  // The other host ends the connection once it has read the answer.
  [[maybe_unused]] const auto closed = from.receive_message(kAnswerTimeout);
}

}  // namespace forerun::daemon
