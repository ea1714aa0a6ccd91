// What a migration's source has to do with what the target knows already.
#include "daemon/migration_source.h"

namespace forerun::daemon {
namespace {

// Of reading some thousand pages, and asking for those that cannot be read.
constexpr Nanos kSettleTimeout = std::chrono::seconds(30);

}  // namespace

Status MigrationSource::take_known(const PeerMessage& prepared) {
  if (prepared.known_pages == 0) return {};
  if (prepared.known_pages > migrate::kKnownPagesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("host {} says that it has {} pages of VM {}",
                                                  request_.to, prepared.known_pages, vm_));
  known_words_ = prepared.text;
  known_.resize(prepared.known_pages);
  return connection_->read_exact(net::PeerChannel::kReturn,
                                 std::as_writable_bytes(std::span(known_)));
}

Status MigrationSource::wait_known(Time began) const {
  if (parts_.clock.now() <= began + kSettleTimeout) return {};
  return fail(ErrorCode::kTimedOut,
              fmt::format("host {} does not say which pages it has", request_.to));
}

Status MigrationSource::settle_known() {
  const Time began = parts_.clock.now();
  while (sender_ != nullptr && !sender_->settle()) {
    if (const auto failure = pipe_->failure()) return std::unexpected(*failure);
    if (control_.should_cancel()) return fail(ErrorCode::kUnavailable, "it was cancelled");
    FR_CHECK(wait_known(began));
    control_.wait(1ms);
  }
  return {};
}

}  // namespace forerun::daemon
