// VMs that go to other hosts, and VMs that come from there. docs/migration.md tells the protocol
// and why a VM never runs twice.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/service.h"
#include "core/time.h"
#include "daemon/migration_ledger.h"
#include "daemon/migration_messages.h"
#include "daemon/operations.h"
#include "daemon/peers.h"
#include "daemon/port_relay.h"
#include "daemon/vm_manager.h"

namespace forerun::daemon {

// What all migrations of a daemon share.
struct MigrationParts {
  const Config& config;
  const Clock& clock;
  VmManager& vms;
  Peers& peers;
  MigrationLedger& ledger;
};

// Thread-safe.
class Migrations {
 public:
  explicit Migrations(MigrationParts parts) : parts_(parts), relays_(parts.peers) {}
  ~Migrations() { stop(); }

  // Takes up what an earlier run of the daemon left, and takes in VMs from now on.
  Status start();
  void stop();

  // Has those questions of other hosts answered that are not about a migration: kFleet, kOrder.
  // Before start().
  using Answer = std::function<PeerMessage(const std::string& host, const PeerMessage& question)>;
  void answer_by(Answer answer) { answer_ = std::move(answer); }

  // Moves a VM; an operation's work. Returns what came of it, for people.
  Result<std::string> move(const std::string& vm, const api::MigrateRequest& request,
                           Operations::Progress& progress);
  // Returns what moving it would take. The VM counts as being migrated meanwhile.
  Result<api::MigrationForecast> forecast(const std::string& vm,
                                          const api::MigrateRequest& request);
  Status cancel(const std::string& vm);
  // The VM is known here no more: its ports are free, and these hosts need keep no copies of its
  // checkpoints.
  void forget(const std::string& vm, const std::vector<std::string>& copies_at);
  // Has another host keep a copy of a VM's checkpoint; an operation's work.
  Result<std::string> copy_checkpoint(const std::string& vm, uint64_t number,
                                      const api::CheckpointCopyRequest& request,
                                      Operations::Progress& progress);
  api::MigrationReport report() const { return parts_.ledger.report(); }
  std::vector<api::PeerInfo> list_peers();

 private:
  void serve(const std::string& host, const Peers::Connection& connection);
  void take_up(const vmm::VmRecord& record);
  // The VM is another host's: its ports follow it.
  void relay_ports(const std::string& vm);
  // A host's wishes for copies of its VMs' checkpoints: kKeep, kDrop.
  void serve_copies(const std::string& host, const PeerMessage& asked, net::PeerConnection& from);
  Result<std::string> send_copy(const std::string& vm, uint64_t number,
                                const api::CheckpointCopyRequest& request,
                                const std::function<bool()>& should_stop,
                                const std::function<void(uint64_t, uint64_t)>& report);
  void serve_relay(const PeerMessage& asked, const Peers::Connection& connection);
  // Returns whether the VM of a migration, which this host is in doubt about, is ours.
  std::optional<bool> ask_outcome(const vmm::VmRecord& record);
  // Returns false once the daemon is stopping.
  bool wait(Nanos time);

  const MigrationParts parts_;
  PortRelays relays_;
  Answer answer_;
  std::atomic<bool> is_stopping_{false};
  std::mutex mutex_;  // guards all below
  std::condition_variable stopping_;
  struct Moving {
    std::atomic<bool> is_cancelled{false};
    bool is_decided = false;
  };
  // ERRORS: kExists: it moves already; kUnavailable: the daemon is stopping.
  Result<Moving*> begin(const std::string& vm);
  std::map<std::string, Moving> moving_;             // by VM
  std::map<std::string, Peers::Connection> coming_;  // by migration
  std::condition_variable changed_;
  std::vector<std::jthread> takers_;
};

}  // namespace forerun::daemon
