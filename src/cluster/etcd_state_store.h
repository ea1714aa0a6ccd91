// The state of a cluster of many hosts, in etcd 3.4 or later, over its JSON gateway.
// docs/decisions/0028-etcd.md says why so.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cluster/state_store.h"
#include "net/http_connection.h"

namespace forerun::cluster {

struct EtcdOptions {
  std::vector<std::string> endpoints;  // "https://10.0.0.1:2379"; one that fails is passed over
  net::TlsFiles tls;  // for https; `ca` is needed, the others if etcd asks for them
  Nanos connect_timeout = std::chrono::seconds(1);
  Nanos request_timeout = std::chrono::seconds(2);  // of one endpoint
  Nanos call_timeout = std::chrono::seconds(5);     // of a call, whoever it asks
  // A watch that heard nothing for so long begins anew elsewhere: its endpoint may be cut off.
  Nanos watch_silence_max = std::chrono::seconds(20);
};

// Thread-safe. Nothing is asked before the first call. What changes something and may have reached
// an endpoint is not asked of another: the caller looks what came of it.
class EtcdStateStore final : public StateStore {
 public:
  // ERRORS: kInvalid: endpoints, or none; those of TlsClient::load.
  static Result<std::unique_ptr<EtcdStateStore>> create(EtcdOptions options, const Clock& clock);
  ~EtcdStateStore() override;

  Result<std::optional<KeyValue>> get(const std::string& key) override;
  Result<Listing> list(const std::string& prefix) override;
  Result<Committed> commit(const Transaction& transaction) override;
  Result<Lease> grant(Nanos ttl) override;
  Result<Nanos> keep_alive(LeaseId lease) override;
  Status revoke(LeaseId lease) override;
  Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after) override;
  Status compact(Revision revision) override;

 private:
  class Client;
  class EtcdWatch;
  explicit EtcdStateStore(std::unique_ptr<Client> client);

  const std::unique_ptr<Client> client_;
};

}  // namespace forerun::cluster
