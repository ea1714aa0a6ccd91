// QEMU's side of a checkpoint: it migrates to a socket of ours while the guest runs on, until
// little is left and the guest stands still; and it comes up from one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "daemon/checkpoint_memory.h"
#include "os/file.h"
#include "vmm/qmp.h"

namespace forerun::daemon {

// One thread.
class QemuSave {
 public:
  // The guest runs on; `spool`, which outlives this, hears what QEMU says. ERRORS: QMP's.
  static Result<std::unique_ptr<QemuSave>> begin(const std::string& qmp_socket,
                                                 const std::string& socket_path,
                                                 MemorySpool& spool);
  ~QemuSave();  // lets the guest run on

  // Waits until all is said: the guest stands still then. A guest that writes faster than it is
  // read is stopped for it. ERRORS: what QEMU or the stream's reader says; the guest runs on then.
  Status finish();
  // Lets the guest run on.
  Status resume();
  uint64_t pause_us() const { return pause_us_; }  // once it was resumed
  uint32_t section() const { return section_; }    // of the memory, in the stream

 private:
  QemuSave(std::unique_ptr<vmm::QmpClient> qmp, MemorySpool& spool)
      : qmp_(std::move(qmp)), spool_(spool) {}
  void read(int listener);
  Status wait_until_stopped();

  std::unique_ptr<vmm::QmpClient> qmp_;
  MemorySpool& spool_;
  os::Fd listener_;
  std::jthread reader_;
  Status read_;  // by the thread; once it has ended
  uint32_t section_ = 0;
  bool has_begun_ = false, was_resumed_ = false;
  Time stopped_at_{};
  uint64_t qemu_downtime_us_ = 0, pause_us_ = 0;
};

// Feeds a QEMU that waits for a migration, and lets the guest run. `write_to` writes the stream.
Status restore_qemu(const std::string& qmp_socket, const std::string& socket_path,
                    const std::function<Status(const std::function<Status(ByteView)>&)>& write_to);

}  // namespace forerun::daemon
