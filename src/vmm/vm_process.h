// One running QEMU: started, found again after a restart of the daemon, and stopped. QEMU lives in
// a session of its own and survives its launcher; it is named by pid and start time, never by pid
// alone.
#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "core/time.h"
#include "os/process.h"
#include "vmm/qemu_command.h"
#include "vmm/qmp.h"

namespace forerun::vmm {

enum class StoppedBy : uint8_t { kItself, kPowerDown, kQuit, kTerminate, kKill };
std::string_view stopped_by_name(StoppedBy how);

struct StopOptions {
  bool ask_guest = true;  // else begin with QMP quit
  Nanos power_down_timeout = std::chrono::seconds(60);
  // The button is pressed again: an early boot misses it.
  Nanos press_interval = std::chrono::seconds(5);
  Nanos quit_timeout = std::chrono::seconds(10);  // of QMP quit, and again of SIGTERM and SIGKILL
  Nanos qmp_timeout = std::chrono::seconds(10);   // of each answer; a QEMU that hangs gives none
};

// Thread-safe: holds no mutable state, every call opens its own QMP connection (QEMU serves them
// one after the other).
class VmProcess {
 public:
  // Starts QEMU, its talk appended to `output_path`, and returns once it answers QMP.
  // ERRORS: qemu_argv's; kNotFound (no QEMU); kUnavailable with QEMU's last words if it ends;
  // kTimedOut (it is killed).
  static Result<VmProcess> launch(const QemuOptions& options, const std::string& output_path,
                                  Nanos timeout = std::chrono::seconds(60));
  // Takes over a QEMU that an earlier process started. ERRORS: kNotFound if that process is gone;
  // QMP's.
  static Result<VmProcess> adopt(const os::ProcessId& process, const std::string& qmp_socket,
                                 Nanos timeout = std::chrono::seconds(10));

  // Returns a handle for a process that may be gone or hang: enough to stop it.
  static VmProcess of(const os::ProcessId& process, std::string qmp_socket) {
    return VmProcess(process, std::move(qmp_socket));
  }

  const os::ProcessId& id() const { return id_; }
  bool is_alive() const { return os::is_alive(id_); }
  // Returns QEMU's word for it: "running", "paused", …
  Result<std::string> run_state() const;
  Status resume() const;
  Result<std::vector<QmpBlockDevice>> block_devices() const;
  // Stops it by ever stronger means, each only if the milder one did not do in its time. Blocks.
  // Returns what did it. ERRORS: kTimedOut if even SIGKILL left it (it hangs in the kernel).
  Result<StoppedBy> stop(const StopOptions& options) const;

 private:
  VmProcess(const os::ProcessId& id, std::string qmp_socket)
      : id_(id), qmp_socket_(std::move(qmp_socket)) {}
  bool power_down(const StopOptions& options) const;

  os::ProcessId id_;
  std::string qmp_socket_;
};

// Returns the last lines of QEMU's output as one line, for an error message.
std::string last_words(const std::string& output_path);

// Returns the identity of this boot of the host: pids and start times mean something only within
// it.
Result<std::string> host_boot_id();

}  // namespace forerun::vmm
