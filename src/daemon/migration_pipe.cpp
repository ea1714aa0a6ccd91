#include "daemon/migration_pipe.h"

#include <sys/socket.h>
#include <unistd.h>

namespace forerun::daemon {
namespace {

constexpr size_t kReadBytes = 64 * kKiB;
constexpr Nanos kTick = std::chrono::milliseconds(4);
constexpr Nanos kConnectTimeout = std::chrono::seconds(30);  // of QEMU

}  // namespace

using net::PeerChannel;

MigrationPipe::MigrationPipe(Side side, net::PeerConnection& connection, MigrationFilter& filter)
    : side_(side), connection_(connection), filter_(filter) {}

PeerChannel MigrationPipe::outgoing() const {
  return side_ == Side::kSource ? PeerChannel::kForward : PeerChannel::kReturn;
}

PeerChannel MigrationPipe::incoming() const {
  return side_ == Side::kSource ? PeerChannel::kReturn : PeerChannel::kForward;
}

Status MigrationPipe::open(const std::string& socket_path) {
  path_ = socket_path;
  if (side_ == Side::kSource) {
    FR_TRY(listener_, os::listen_unix(socket_path));
  } else {
    FR_TRY(os::Fd fd, os::connect_unix(socket_path));
    qemu_ = std::make_unique<os::SocketStream>(std::move(fd));
  }
  qemu_reader_ = std::jthread([this] { from_qemu(); });
  return {};
}

void MigrationPipe::close() {
  is_closing_ = true;
  if (listener_.is_open()) ::shutdown(listener_.get(), SHUT_RDWR);
  {
    const std::lock_guard lock(mutex_);
    if (qemu_) qemu_->shut_down();
    closing_.notify_all();
  }
  connection_.cut({ErrorCode::kUnavailable, "the migration has ended"});
  if (qemu_reader_.joinable()) qemu_reader_.join();
  if (peer_reader_.joinable()) peer_reader_.join();
  if (ticker_.joinable()) ticker_.join();
  qemu_.reset();
  if (side_ == Side::kSource && listener_.is_open()) ::unlink(path_.c_str());
  listener_.reset();
}

void MigrationPipe::throw_away() {
  connection_.cut({ErrorCode::kUnavailable, "the migration is taken back"});
}

void MigrationPipe::say_if_all_arrived() {
  {
    const std::lock_guard lock(mutex_);
    const bool is_quiet = std::exchange(tail_seen_, tail_.bytes()) == tail_.bytes();
    if (!qemu_ || is_all_said_ || !is_quiet || !tail_.is_end()) return;
    is_all_said_ = true;
  }
  Buffer word;
  migrate::write_all_arrived(word);
  const std::lock_guard lock(qemu_write_mutex_);
  // Refused: the target itself has said it, and QEMU has ended its stream.
  [[maybe_unused]] const Status said = qemu_->write_bytes(word);
}

void MigrationPipe::note_read(ByteView bytes) {
  if (side_ == Side::kTarget) return;
  const std::lock_guard lock(mutex_);
  tail_.feed(bytes);
}

std::optional<Error> MigrationPipe::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void MigrationPipe::fail_with(Error why) {
  const std::lock_guard lock(mutex_);
  if (!failure_ && !is_closing_) failure_ = std::move(why);
}

Status MigrationPipe::filtered(const std::function<Status(MigrationFilter::Output&)>& step) {
  {
    const std::lock_guard lock(filter_mutex_);
    FR_CHECK(step(pending_));
  }
  // Taken under the lock of who writes there: so what two threads gave leaves in its order.
  const auto take = [this](Buffer& from) {
    const std::lock_guard lock(filter_mutex_);
    return std::exchange(from, {});
  };
  {
    const std::lock_guard lock(peer_write_mutex_);
    const Buffer to_peer = take(pending_.to_peer);
    peer_bytes_ += to_peer.size();
    FR_CHECK(connection_.write(outgoing(), to_peer));
  }
  const std::lock_guard lock(qemu_write_mutex_);
  const Buffer to_qemu = take(pending_.to_qemu);
  if (side_ == Side::kTarget) qemu_bytes_ += to_qemu.size();
  return to_qemu.empty() ? Status() : qemu_->write_bytes(to_qemu);
}

Status MigrationPipe::pass_from_qemu() {
  if (side_ == Side::kSource) {
    FR_TRY(os::Fd fd, os::accept_connection(listener_.get(), kConnectTimeout));
    const std::lock_guard lock(mutex_);
    qemu_ = std::make_unique<os::SocketStream>(std::move(fd));
    if (is_closing_) qemu_->shut_down();
  }
  FR_CHECK(filtered([&](MigrationFilter::Output& out) { return filter_.begin(out); }));
  peer_reader_ = std::jthread([this] { from_peer(); });
  if (filter_.has_ticks()) ticker_ = std::jthread([this] { tick(); });
  Buffer chunk(kReadBytes);
  for (;;) {
    FR_TRY(const size_t got, qemu_->read_some(chunk));
    if (got == 0) break;
    note_read(ByteView(chunk).first(got));
    if (side_ == Side::kSource) qemu_bytes_ += got;
    FR_CHECK(filtered([&](MigrationFilter::Output& out) {
      return filter_.from_qemu(ByteView(chunk).first(got), out);
    }));
  }
  if (!is_closing_) connection_.end(outgoing());
  return {};
}

Status MigrationPipe::pass_from_peer() {
  Buffer chunk(kReadBytes);
  for (;;) {
    FR_TRY(const size_t got, connection_.read_some(incoming(), chunk));
    if (got == 0) break;
    FR_CHECK(filtered([&](MigrationFilter::Output& out) {
      return filter_.from_peer(ByteView(chunk).first(got), out);
    }));
  }
  is_at_end_ = true;
  return {};
}

void MigrationPipe::tick() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (closing_.wait_for(lock, kTick, [this] { return is_closing_.load(); })) return;
      if (failure_) return;
    }
    if (Status ticked = filtered([&](MigrationFilter::Output& out) { return filter_.tick(out); });
        !ticked)
      return fail_with(std::move(ticked.error()).within("cannot ask for pages ahead"));
  }
}

void MigrationPipe::from_qemu() {
  Status passed = pass_from_qemu();
  if (passed) return;
  fail_with(std::move(passed.error()).within("cannot pass on what QEMU sends"));
  // A QEMU that cannot write holds the lock under which it would obey, be it to cancel.
  Buffer chunk(kReadBytes);
  while (side_ == Side::kSource && qemu_ && !is_closing_) {
    const auto got = qemu_->read_some(chunk);
    if (!got || *got == 0) return;
    note_read(ByteView(chunk).first(*got));
  }
}

void MigrationPipe::from_peer() {
  if (Status passed = pass_from_peer(); !passed)
    fail_with(std::move(passed.error()).within("cannot pass on what the other host sends"));
}

}  // namespace forerun::daemon
