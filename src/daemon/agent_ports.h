// Reads what the VMs' agents say, each through a socket of its QEMU, and tells them what is asked
// of them, on one thread that waits for none of them.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/service.h"
#include "core/id.h"
#include "core/time.h"
#include "os/file.h"
#include "telemetry/line_splitter.h"
#include "telemetry/profile_window.h"

namespace forerun::daemon {

// Thread-safe. A guest may send what it likes: at most kBytesMax are read of it a round, so what it
// floods waits in its own QEMU.
class AgentPorts {
 public:
  static constexpr size_t kBytesMax = 64 << 10;  // of one VM in a round
  static constexpr Nanos kRound = std::chrono::milliseconds(100);
  static constexpr Nanos kConnectInterval = std::chrono::seconds(1);

  // What a guest's behaviour has settled to, after each of its profiles. Called by this object's
  // thread without any lock held.
  using OnBehaviour = std::function<void(VmId vm, const telemetry::BehaviourVector& settled)>;

  AgentPorts(const Clock& clock, OnBehaviour on_behaviour);
  ~AgentPorts();

  // A VM starts, or is found again: reads its port from now on. Nothing happens if `socket_path` is
  // empty (a VM from before there were ports). `asked` as in ask().
  void open(const std::string& name, VmId vm, const std::string& socket_path,
            const telemetry::Control& asked);
  // Tells the VM's agent, now if it runs, and again whenever an agent begins or the port is
  // connected anew: an agent that nobody starts hears nothing, and what is asked next counts.
  void ask(const std::string& name, const telemetry::Control& asked);
  // It ended; what it said is kept until it starts again.
  void close(const std::string& name);
  void forget(const std::string& name);

  Result<api::VmProfile> profile(const std::string& name) const;

 private:
  struct Port {
    VmId vm{};
    std::string path;
    os::Fd fd;
    bool is_open = false;  // its VM runs
    Time connect_at{};
    uint64_t too_long = 0;
    telemetry::Control asked;
    bool is_to_tell = false;  // what is asked, once what is being sent is sent
    std::string sending;      // the rest of a line
    uint64_t told = 0;        // instances() of the window when it was asked
    telemetry::LineSplitter splitter{telemetry::kProfileBytesMax};
    telemetry::ProfileWindow window;
  };

  void run();
  void read_all(std::vector<std::pair<VmId, telemetry::BehaviourVector>>& settled);
  void connect(Port& port, Time now) const;
  void read(Port& port, Time now) const;
  void tell(Port& port) const;

  const Clock& clock_;
  const OnBehaviour on_behaviour_;
  mutable std::mutex mutex_;  // guards all below; never held across anything that waits
  std::condition_variable changed_;
  std::map<std::string, Port> ports_;
  bool is_stopping_ = false;
  std::jthread thread_;  // last: begins when the rest is there
};

}  // namespace forerun::daemon
