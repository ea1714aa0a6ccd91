#include "cluster/etcd_client.h"

#include <algorithm>

#include "cluster/etcd_messages.h"

namespace forerun::cluster {
namespace {

constexpr size_t kIdleMax = 8;
// Of one answer: a page of a listing in base64.
constexpr size_t kAnswerBytesMax = 100 << 20;

// Errors that another endpoint may not have.
bool is_of_endpoint(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimedOut ||
         error.code == ErrorCode::kIo;
}

}  // namespace

EtcdStateStore::Client::Client(EtcdOptions options, std::vector<net::HttpEndpoint> endpoints,
                               std::unique_ptr<net::TlsClient> tls, const Clock& clock)
    : options_(std::move(options)),
      endpoints_(std::move(endpoints)),
      tls_(std::move(tls)),
      clock_(clock) {}

size_t EtcdStateStore::Client::preferred() const {
  const std::lock_guard lock(mutex_);
  return preferred_;
}

void EtcdStateStore::Client::pass_over(size_t endpoint) {
  const std::lock_guard lock(mutex_);
  if (preferred_ == endpoint) preferred_ = (endpoint + 1) % endpoints_.size();
}

Result<EtcdStateStore::Client::Connection> EtcdStateStore::Client::connect() {
  return net::HttpConnection::connect(endpoints_[preferred()], tls_.get(), clock_,
                                      {.connect_timeout = options_.connect_timeout});
}

Result<EtcdStateStore::Client::Connection> EtcdStateStore::Client::take(size_t endpoint) {
  {
    const std::lock_guard lock(mutex_);
    // Those that the server has left, and those of endpoints that are not preferred any more.
    std::erase_if(idle_, [&](const Idle& idle) {
      return idle.endpoint != endpoint || !idle.connection->is_reusable();
    });
    if (!idle_.empty()) {
      Connection connection = std::move(idle_.back().connection);
      idle_.pop_back();
      return connection;
    }
  }
  return net::HttpConnection::connect(
      endpoints_[endpoint], tls_.get(), clock_,
      {.connect_timeout = options_.connect_timeout, .body_bytes_max = kAnswerBytesMax});
}

void EtcdStateStore::Client::give_back(size_t endpoint, Connection connection) {
  if (!connection->is_reusable()) return;
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleMax) idle_.push_back({endpoint, std::move(connection)});
}

Result<std::string> EtcdStateStore::Client::ask(size_t endpoint, const std::string& target,
                                                const std::string& body, Nanos timeout,
                                                bool& was_heard) {
  FR_TRY(Connection connection, take(endpoint));
  was_heard = true;
  FR_TRY(auto answer, connection->post(target, body, timeout));
  give_back(endpoint, std::move(connection));
  if (answer.status == 200) return std::move(answer.body);
  return std::unexpected(
      etcd::parse_error(answer.status, answer.body).within(endpoints_[endpoint].name()));
}

Result<std::string> EtcdStateStore::Client::ask(const std::string& target, const std::string& body,
                                                Repeat repeat) {
  const Time deadline = clock_.now() + options_.call_timeout;
  Error last{ErrorCode::kTimedOut, "etcd did not answer in time", 0};
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const Nanos left = deadline - clock_.now();
    if (left <= Nanos::zero()) break;
    const size_t endpoint = preferred();
    bool was_heard = false;
    auto answer = ask(endpoint, target, body, std::min(left, options_.request_timeout), was_heard);
    if (answer || !is_of_endpoint(answer.error())) return answer;
    pass_over(endpoint);
    last = std::move(answer.error());
    if (was_heard && repeat == Repeat::kForbidden) break;
  }
  return std::unexpected(std::move(last));
}

}  // namespace forerun::cluster
