// Asks one of several endpoints of etcd. Part of EtcdStateStore.
#pragma once

#include "cluster/etcd_state_store.h"

namespace forerun::cluster {

// Thread-safe.
class EtcdStateStore::Client {
 public:
  // Whether another endpoint may be asked once one may have heard the request.
  enum class Repeat : uint8_t { kAllowed, kForbidden };

  Client(EtcdOptions options, std::vector<net::HttpEndpoint> endpoints,
         std::unique_ptr<net::TlsClient> tls, const Clock& clock);

  // Returns the answer of the first endpoint that has one. ERRORS: what the last one said;
  // kUnavailable, kTimedOut: none answered.
  Result<std::string> ask(const std::string& target, const std::string& body, Repeat repeat);

  // Returns a connection of its own to the endpoint that is preferred now.
  Result<std::unique_ptr<net::HttpConnection>> connect();
  // Prefers another endpoint from now on, unless somebody has done that already.
  void pass_over(size_t endpoint);
  size_t preferred() const;

  const EtcdOptions& options() const { return options_; }
  const Clock& clock() const { return clock_; }

 private:
  struct Idle {
    size_t endpoint = 0;
    std::unique_ptr<net::HttpConnection> connection;
  };
  using Connection = std::unique_ptr<net::HttpConnection>;
  Result<Connection> take(size_t endpoint);
  void give_back(size_t endpoint, Connection connection);
  // `was_heard`: set once the endpoint may have heard the request.
  Result<std::string> ask(size_t endpoint, const std::string& target, const std::string& body,
                          Nanos timeout, bool& was_heard);

  const EtcdOptions options_;
  const std::vector<net::HttpEndpoint> endpoints_;
  const std::unique_ptr<net::TlsClient> tls_;  // null: no endpoint is https
  const Clock& clock_;
  mutable std::mutex mutex_;  // guards the below; not held while etcd is asked
  size_t preferred_ = 0;
  std::vector<Idle> idle_;
};

}  // namespace forerun::cluster
