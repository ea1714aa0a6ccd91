// The other hosts' daemons: connections to them, and theirs to this one. Both ends show their
// certificates, and only hosts of the configuration are talked to.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/config.h"
#include "net/peer_connection.h"
#include "net/tls.h"

namespace forerun::daemon {

// Thread-safe.
class Peers {
 public:
  using Connection = std::shared_ptr<net::PeerConnection>;
  // Talks with a host that has connected, until that is over; on a thread of its own.
  using Handler = std::function<void(const std::string& host, const Connection&)>;

  static constexpr size_t kConnectionsMax = 64;

  // Without certificates in `config` nothing listens, and no host can be reached.
  static Result<std::unique_ptr<Peers>> open(const Config& config);
  ~Peers();

  // From now on other hosts can connect.
  Status listen(Handler handler);
  // Cuts the connections that others made and waits for their handlers.
  void stop();

  // ERRORS: kNotFound: no such host in the configuration; kDenied: certificates; kUnavailable,
  // kTimedOut: it does not answer.
  Result<Connection> connect(const std::string& host);
  const std::vector<HostConfig>& hosts() const { return config_.hosts; }

 private:
  Peers(const Config& config, std::unique_ptr<net::TlsPeer> tls)
      : config_(config), tls_(std::move(tls)) {}
  void accept_all();
  void serve(os::Fd fd);

  struct Served {
    std::jthread thread;
    bool is_over = false;
  };

  const Config& config_;
  const std::unique_ptr<net::TlsPeer> tls_;  // null: not configured
  std::vector<std::string> names_;
  Handler handler_;
  os::Fd listener_;
  std::jthread acceptor_;
  std::mutex mutex_;  // guards all below
  bool is_stopping_ = false;
  std::list<Served> served_;
  std::list<std::weak_ptr<net::PeerConnection>> connections_;
  std::list<os::SocketStream*> shaking_hands_;
};

}  // namespace forerun::daemon
