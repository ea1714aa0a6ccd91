// The other hosts' daemons: connections to them, and theirs to this one. Both ends show their
// certificates, and only hosts of the configuration and of the cluster are talked to.
#pragma once

#include <functional>
#include <list>
#include <map>
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

  // The hosts that have registered in the cluster, from now on; where the configuration has one of
  // the same name, its address counts. Kept in state_dir/peers: what began with one of them goes on
  // after a restart though the cluster's store does not answer.
  void learn(const std::vector<HostConfig>& registered);

  // ERRORS: kNotFound: no such host; kDenied: certificates; kUnsupported: this host has none;
  // kUnavailable, kTimedOut: it does not answer.
  Result<Connection> connect(const std::string& host);
  // By name.
  std::vector<HostConfig> hosts() const;

 private:
  Peers(const Config& config, std::unique_ptr<net::TlsPeer> tls);
  void take(const std::vector<HostConfig>& registered);
  std::vector<HostConfig> read_kept();
  void accept_all();
  void serve(os::Fd fd);

  struct Served {
    std::jthread thread;
    bool is_over = false;
  };

  const Config& config_;
  const std::unique_ptr<net::TlsPeer> tls_;  // null: not configured
  const std::string kept_path_;
  Handler handler_;
  os::Fd listener_;
  std::jthread acceptor_;
  mutable std::mutex mutex_;  // guards all below
  std::map<std::string, HostConfig> hosts_;
  std::string kept_;  // of the file, if it is known
  bool is_stopping_ = false;
  std::list<Served> served_;
  std::list<std::weak_ptr<net::PeerConnection>> connections_;
  std::list<os::SocketStream*> shaking_hands_;
};

}  // namespace forerun::daemon
