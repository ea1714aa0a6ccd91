// One VM on its way to another host: this host's side.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "api/service.h"
#include "daemon/migration_messages.h"
#include "daemon/migration_pipe.h"
#include "daemon/migrations.h"
#include "vmm/migration_control.h"

namespace forerun::daemon {

// One thread, but for what `should_stop` reads. The phases, in their order:
//
//   prepare    the target makes the VM and a QEMU that waits                       ┐ whatever fails
//   memory     QEMU sends; with post-copy, until the switch                        │ here: roll
//   back, disk       the guest has stopped; its own writes follow                        │ the VM
//   runs here ready      the target says that it can run the VM                              ┘
//   decide     this host's record says that the VM is the target's: the commit point
//   run        the target has recorded that, too, and runs the VM                  ┐ whatever fails
//   rest       post-copy: the rest of the memory; connections are made again       │ here: on, and
//   on end        the target needs nothing more: QEMU ends here                       ┘
class MigrationSource {
 public:
  using Report = std::function<void(uint64_t done_bytes, uint64_t total_bytes, std::string)>;
  struct Control {
    std::function<bool()> should_cancel;  // before the commit point
    std::function<void()> on_decided;
    std::function<bool(Nanos)> wait;  // false: the daemon is stopping
    Report report;
  };
  MigrationSource(MigrationParts parts, std::string vm, std::string id, api::MigrateRequest request,
                  Control control)
      : parts_(parts),
        vm_(std::move(vm)),
        id_(std::move(id)),
        request_(std::move(request)),
        control_(std::move(control)) {}
  ~MigrationSource();

  // ERRORS: of the first five phases: the VM runs on here. kUnavailable after them: the daemon is
  // stopping, and its next start goes on.
  Result<std::string> run();
  // What an earlier run of the daemon left: before the commit point the VM stays here, after it all
  // goes on.
  Result<std::string> take_up(const vmm::VmRecord& record);

 private:
  Status to_decision();
  Status prepare();
  Status start_memory();
  Status until_ready();
  Status look(bool& is_ready);
  Status switch_if_due(const vmm::MigrationStatus& status);
  Status send_disk();
  void roll_back();
  Result<std::string> to_end();
  Status go_on();
  Status resume();
  Status wait_paused();
  void let_go();
  void report(const vmm::MigrationStatus& status);
  PeerMessage message(PeerMessageKind kind) const;
  std::string outcome() const;

  const MigrationParts parts_;
  const std::string vm_, id_;
  const api::MigrateRequest request_;
  const Control control_;
  VmManager::Migrating leaving_;
  Peers::Connection connection_;
  std::unique_ptr<vmm::MigrationControl> qemu_;
  std::unique_ptr<MigrationFilter> filter_;
  std::unique_ptr<MigrationPipe> pipe_;
  bool is_postcopy_ = false;   // asked for
  bool has_switched_ = false;  // the guest has stopped here
  bool has_sent_disk_ = false;
  bool runs_there_ = false;
  Time began_{}, stopped_{}, ran_{};
  uint64_t disk_sent_bytes_ = 0, earlier_bytes_ = 0, blocktime_ms_ = 0;
  vmm::MigrationStatus last_;
};

}  // namespace forerun::daemon
