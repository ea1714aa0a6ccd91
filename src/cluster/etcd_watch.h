// A watch of etcd: an answer that never ends, a JSON object a line. Part of EtcdStateStore.
#pragma once

#include "cluster/etcd_client.h"

namespace forerun::cluster {

namespace etcd {
struct WatchMessage;
}

class EtcdStateStore::EtcdWatch final : public Watch {
 public:
  EtcdWatch(Client& client, std::string prefix, Revision after)
      : client_(client), prefix_(std::move(prefix)), after_(after) {}

  Result<Batch> next(Nanos timeout) override;
  void stop() override;

 private:
  // ERRORS: of the endpoint; another is tried by the next call.
  Status open();
  void close();
  // Returns the next line, or nothing if none came until `deadline`.
  Result<std::optional<std::string>> next_line(Time deadline);
  // Returns what is to be handed out, if anything is.
  Result<std::optional<Batch>> take(etcd::WatchMessage message);
  Result<std::optional<Batch>> read(Time deadline);

  Client& client_;
  const std::string prefix_;
  Revision after_;
  size_t endpoint_ = 0;
  Time heard_at_ = kTimeZero;
  std::string received_;        // and not yet a line
  std::vector<Event> pending_;  // of revisions whose rest is to come

  std::mutex mutex_;  // guards the below
  bool is_stopped_ = false;
  // Replaced under the lock, used by next() outside of it; stop() only cuts it.
  std::shared_ptr<net::HttpConnection> connection_;
};

}  // namespace forerun::cluster
