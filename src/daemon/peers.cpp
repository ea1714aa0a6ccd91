#include "daemon/peers.h"

#include <sys/socket.h>

#include "core/log.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kConnectTimeout = std::chrono::seconds(5);

}  // namespace

Result<std::unique_ptr<Peers>> Peers::open(const Config& config) {
  std::unique_ptr<net::TlsPeer> tls;
  if (!config.migration_certificate.empty()) {
    auto loaded = net::TlsPeer::load(
        {config.migration_certificate, config.migration_key, config.migration_ca});
    if (!loaded) return std::unexpected(std::move(loaded.error()).within("[migration]"));
    tls = std::move(*loaded);
  }
  std::unique_ptr<Peers> peers(new Peers(config, std::move(tls)));
  for (const HostConfig& host : config.hosts) peers->names_.push_back(host.name);
  return peers;
}

Peers::~Peers() { stop(); }

Status Peers::listen(Handler handler) {
  if (config_.migration_listen.empty()) return {};
  handler_ = std::move(handler);
  FR_TRY(const HostAddress address, parse_address(config_.migration_listen));
  FR_TRY(listener_, os::listen_tcp(address.host, address.port));
  FR_TRY(const uint16_t port, os::local_port(listener_.get()));
  acceptor_ = std::jthread([this] { accept_all(); });
  log::info("migrations on {}:{}, of {} hosts", address.host, port, names_.size());
  return {};
}

void Peers::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    for (os::SocketStream* plain : shaking_hands_) plain->shut_down();
    for (const auto& weak : connections_)
      if (const auto connection = weak.lock())
        connection->cut({ErrorCode::kUnavailable, "the daemon is stopping"});
  }
  if (listener_.is_open()) ::shutdown(listener_.get(), SHUT_RDWR);
  if (acceptor_.joinable()) acceptor_.join();
  std::list<Served> ending;
  {
    const std::lock_guard lock(mutex_);
    ending.swap(served_);
  }
}

void Peers::accept_all() {
  for (;;) {
    auto fd = os::accept_connection(listener_.get(), std::chrono::seconds(1));
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return;
    served_.remove_if([](const Served& each) { return each.is_over; });
    if (!fd) {
      if (fd.error().code == ErrorCode::kTimedOut) continue;
      log::error("no other host can connect any more: {}", fd.error().message);
      return;
    }
    if (served_.size() >= kConnectionsMax) {
      log::warn("a connection of another host is refused: there are {} already", served_.size());
      continue;
    }
    Served& added = served_.emplace_back();
    added.thread = std::jthread([this, &added, fd = std::move(*fd)]() mutable {
      serve(std::move(fd));
      const std::lock_guard guard(mutex_);
      added.is_over = true;
    });
  }
}

void Peers::serve(os::Fd fd) {
  auto plain = std::make_unique<os::SocketStream>(std::move(fd));
  os::SocketStream* const raw = plain.get();
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return;
    shaking_hands_.push_back(raw);
  }
  auto accepted = tls_->accept(*plain, names_, kConnectTimeout);
  Connection connection;
  {
    const std::lock_guard lock(mutex_);
    shaking_hands_.remove(raw);
    if (accepted && !is_stopping_) {
      connection =
          std::make_shared<net::PeerConnection>(std::move(plain), std::move(accepted->stream));
      connections_.remove_if([](const auto& weak) { return weak.expired(); });
      connections_.push_back(connection);
    }
  }
  if (!accepted) return log::warn("a host is not let in: {}", accepted.error().message);
  if (connection) handler_(accepted->host, connection);
}

Result<Peers::Connection> Peers::connect(const std::string& host) {
  const auto found = std::find_if(config_.hosts.begin(), config_.hosts.end(),
                                  [&](const HostConfig& each) { return each.name == host; });
  if (found == config_.hosts.end())
    return fail(ErrorCode::kNotFound,
                fmt::format("no host {} in the configuration ([hosts.{}])", host, host));
  FR_TRY(const HostAddress address, parse_address(found->address));
  auto fd = os::connect_tcp(address.host, address.port, kConnectTimeout);
  if (!fd) return std::unexpected(std::move(fd.error()).within("host " + host));
  auto plain = std::make_unique<os::SocketStream>(std::move(*fd));
  auto secure = tls_->connect(*plain, host, kConnectTimeout);
  if (!secure) return std::unexpected(std::move(secure.error()).within("host " + host));
  return std::make_shared<net::PeerConnection>(std::move(plain), std::move(*secure));
}

}  // namespace forerun::daemon
