#include "cluster/etcd_watch.h"

#include <algorithm>

#include "cluster/etcd_messages.h"

namespace forerun::cluster {
namespace {

// With `fragment` etcd splits what is larger than a request may be, 1.5 MiB; a third more in
// base64.
constexpr size_t kLineBytesMax = 16 << 20;
constexpr size_t kPendingEventsMax = 100'000;

}  // namespace

void EtcdStateStore::EtcdWatch::stop() {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  if (connection_) connection_->shut_down();
}

void EtcdStateStore::EtcdWatch::close() {
  received_.clear();
  pending_.clear();
  const std::lock_guard lock(mutex_);
  connection_.reset();
}

Status EtcdStateStore::EtcdWatch::open() {
  endpoint_ = client_.preferred();
  const Status done = [this]() -> Status {
    FR_TRY(auto connected, client_.connect());
    const std::shared_ptr<net::HttpConnection> connection = std::move(connected);
    {
      const std::lock_guard lock(mutex_);
      if (is_stopped_) return fail(ErrorCode::kUnavailable, "the watch was stopped");
      connection_ = connection;
    }
    FR_TRY(const int status,
           connection->begin_post("/v3/watch", etcd::encode_watch(prefix_, after_),
                                  client_.options().request_timeout));
    if (status == 200) return {};
    FR_TRY(const std::string why, connection->read_more(client_.options().request_timeout));
    return std::unexpected(etcd::parse_error(status, why).within("watch"));
  }();
  heard_at_ = client_.clock().now();
  if (done) return {};
  close();
  client_.pass_over(endpoint_);
  return done;
}

Result<std::optional<std::string>> EtcdStateStore::EtcdWatch::next_line(Time deadline) {
  for (;;) {
    const size_t end = received_.find('\n');
    if (end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (received_.size() > kLineBytesMax)
      return fail(ErrorCode::kTooLarge, "etcd's watch says too much at once");
    const Time now = client_.clock().now();
    const Time silent = heard_at_ + client_.options().watch_silence_max;
    if (now >= silent) return fail(ErrorCode::kTimedOut, "etcd's watch fell silent");
    if (now >= deadline) return std::nullopt;
    auto more = connection_->read_more(std::min(deadline, silent) - now);
    if (!more && more.error().code == ErrorCode::kTimedOut) continue;
    if (!more) return std::unexpected(std::move(more.error()));
    if (more->empty()) return fail(ErrorCode::kUnavailable, "etcd ended the watch");
    heard_at_ = client_.clock().now();
    received_ += *more;
  }
}

Result<std::optional<Batch>> EtcdStateStore::EtcdWatch::take(etcd::WatchMessage message) {
  if (message.compacted_at) return Batch{true, {}};
  if (!message.cancelled.empty())
    return fail(ErrorCode::kUnavailable,
                fmt::format("etcd ended the watch: {}", message.cancelled));
  for (Event& event : message.events) {
    // What was handed out before the connection was made anew.
    if (event.entry.modified <= after_) continue;
    pending_.push_back(std::move(event));
  }
  if (pending_.size() > kPendingEventsMax)
    return fail(ErrorCode::kTooLarge, "etcd's watch says too much at once");
  if (message.is_fragment || pending_.empty()) return std::nullopt;
  after_ = pending_.back().entry.modified;
  return Batch{false, std::exchange(pending_, {})};
}

Result<std::optional<Batch>> EtcdStateStore::EtcdWatch::read(Time deadline) {
  for (;;) {
    FR_TRY(const auto line, next_line(deadline));
    if (!line) return std::nullopt;
    if (line->empty()) continue;
    FR_TRY(etcd::WatchMessage message, etcd::parse_watch(*line));
    FR_TRY(auto batch, take(std::move(message)));
    if (batch) return batch;
  }
}

Result<Batch> EtcdStateStore::EtcdWatch::next(Nanos timeout) {
  const Time deadline = client_.clock().now() + timeout;
  {
    const std::lock_guard lock(mutex_);
    if (is_stopped_) return fail(ErrorCode::kUnavailable, "the watch was stopped");
  }
  if (!connection_) FR_CHECK(open());
  auto batch = read(deadline);
  if (!batch) {
    close();
    client_.pass_over(endpoint_);
    return std::unexpected(std::move(batch.error()).within("watch " + prefix_));
  }
  if (!*batch) return Batch{};
  if ((*batch)->is_compacted) close();
  return std::move(**batch);
}

}  // namespace forerun::cluster
