#include "daemon/peers.h"

#include <sys/socket.h>

#include <algorithm>

#include "core/bytes.h"
#include "core/id.h"
#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kConnectTimeout = std::chrono::seconds(5);
constexpr size_t kKeptBytesMax = 4 << 20;

// Whoever registers may say anything.
bool is_sound(const HostConfig& host) {
  const auto address = parse_address(host.address);
  return is_valid_name(host.name) && address && address->port != 0 &&
         std::ranges::all_of(host.address, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

Result<std::unique_ptr<Peers>> Peers::open(const Config& config) {
  std::unique_ptr<net::TlsPeer> tls;
  if (!config.migration_certificate.empty()) {
    auto loaded = net::TlsPeer::load(
        {config.migration_certificate, config.migration_key, config.migration_ca});
    if (!loaded) return std::unexpected(std::move(loaded.error()).within("[migration]"));
    tls = std::move(*loaded);
  }
  return std::unique_ptr<Peers>(new Peers(config, std::move(tls)));
}

Peers::Peers(const Config& config, std::unique_ptr<net::TlsPeer> tls)
    : config_(config), tls_(std::move(tls)), kept_path_(config.state_dir + "/peers") {
  take(config.cluster_store == "etcd" ? read_kept() : std::vector<HostConfig>());
}

Peers::~Peers() { stop(); }

Status Peers::listen(Handler handler) {
  if (config_.migration_listen.empty()) return {};
  handler_ = std::move(handler);
  FR_TRY(const HostAddress address, parse_address(config_.migration_listen));
  FR_TRY(listener_, os::listen_tcp(address.host, address.port));
  FR_TRY(const uint16_t port, os::local_port(listener_.get()));
  acceptor_ = std::jthread([this] { accept_all(); });
  log::info("migrations on {}:{}, of {} hosts", address.host, port, hosts().size());
  return {};
}

void Peers::learn(const std::vector<HostConfig>& registered) {
  std::string text;
  for (const HostConfig& host : registered)
    if (is_sound(host)) text += fmt::format("{} {}\n", host.name, host.address);
  const std::lock_guard lock(mutex_);
  take(registered);
  if (text == kept_) return;
  if (const Status saved = os::write_file_atomic(kept_path_, as_bytes(text)); !saved)
    log::warn("the cluster's hosts are not known after a restart: {}", saved.error().message);
  else
    kept_ = std::move(text);
}

void Peers::take(const std::vector<HostConfig>& registered) {
  hosts_.clear();
  for (const HostConfig& host : registered)
    if (is_sound(host)) hosts_[host.name] = host;
  for (const HostConfig& host : config_.hosts) hosts_[host.name] = host;
}

// A line a host: its name, a space, its address.
std::vector<HostConfig> Peers::read_kept() {
  std::vector<HostConfig> hosts;
  if (!os::path_exists(kept_path_)) return hosts;
  const auto bytes = os::read_file(kept_path_, kKeptBytesMax);
  if (!bytes) {
    log::warn("the cluster's hosts are known once its store answers: {}", bytes.error().message);
    return hosts;
  }
  kept_ = std::string(as_text(*bytes));
  for (size_t at = 0; at < kept_.size();) {
    const size_t end = std::min(kept_.find('\n', at), kept_.size());
    const std::string line = kept_.substr(at, end - at);
    const size_t space = std::min(line.find(' '), line.size());
    HostConfig host{line.substr(0, space), line.substr(std::min(space + 1, line.size()))};
    if (is_sound(host))
      hosts.push_back(std::move(host));
    else
      log::warn("{}: a line is no host and its address", kept_path_);
    at = end + 1;
  }
  return hosts;
}

std::vector<HostConfig> Peers::hosts() const {
  const std::lock_guard lock(mutex_);
  std::vector<HostConfig> hosts;
  for (const auto& [name, host] : hosts_) hosts.push_back(host);
  return hosts;
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
  std::vector<std::string> names;
  for (const HostConfig& host : hosts()) names.push_back(host.name);
  auto accepted = tls_->accept(*plain, names, kConnectTimeout);
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
  std::string known;
  {
    const std::lock_guard lock(mutex_);
    const auto found = hosts_.find(host);
    if (found == hosts_.end())
      return fail(ErrorCode::kNotFound,
                  fmt::format("no host {} in the configuration ([hosts.{}]){}", host, host,
                              config_.cluster_store == "etcd" ? " or the cluster" : ""));
    known = found->second.address;
  }
  if (!tls_)
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("host {} is not asked: this host has no certificate ([migration])", host));
  auto parsed = parse_address(known);
  if (!parsed) return std::unexpected(std::move(parsed.error()).within("host " + host));
  const HostAddress& address = *parsed;
  auto fd = os::connect_tcp(address.host, address.port, kConnectTimeout);
  if (!fd) return std::unexpected(std::move(fd.error()).within("host " + host));
  auto plain = std::make_unique<os::SocketStream>(std::move(*fd));
  auto secure = tls_->connect(*plain, host, kConnectTimeout);
  if (!secure) return std::unexpected(std::move(secure.error()).within("host " + host));
  return std::make_shared<net::PeerConnection>(std::move(plain), std::move(*secure));
}

}  // namespace forerun::daemon
