// Forwarded ports of a VM that has moved: this host goes on to listen on them, and hands new
// connections to the host that has the VM now, until clients have found the way there themselves.
// docs/migration.md, "Forwarded ports".
#pragma once

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/peers.h"
#include "os/file.h"
#include "vmm/qemu_command.h"

namespace forerun::daemon {

// Thread-safe.
class PortRelays {
 public:
  static constexpr size_t kCarriedMax = 32;                 // of a port, at once
  static constexpr Nanos kIdleMax = std::chrono::hours(1);  // then nobody needs it any more
  explicit PortRelays(Peers& peers);
  ~PortRelays();

  // From now on connections to these ports go to `host`. A port that cannot be listened on is left
  // out, with a warning. Has no effect on a VM that has relays.
  void open(const std::string& vm, const std::string& host,
            const std::vector<vmm::Forward>& forwards);
  // Nothing listens for the VM, and nothing of it is carried, once this returns.
  void close(const std::string& vm);
  void stop();

 private:
  class Relay;
  Peers& peers_;
  std::mutex mutex_;  // guards all below
  bool is_stopping_ = false;
  std::map<std::string, std::list<Relay>> relays_;  // by VM
};

// The other end: carries what comes through `connection` to the VM's port here and back, until both
// ways have ended. ERRORS: kUnavailable, kTimedOut: nobody listens there.
Status relay_here(net::PeerConnection& connection, const vmm::Forward& forward);

}  // namespace forerun::daemon
