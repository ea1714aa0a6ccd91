// One VM on its way to another host: this host's side.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "api/service.h"
#include "daemon/downtime_trail.h"
#include "daemon/memory_filter.h"
#include "daemon/migration_forecast.h"
#include "daemon/migration_messages.h"
#include "daemon/migration_pipe.h"
#include "daemon/migrations.h"
#include "daemon/peer_overlay.h"
#include "vmm/migration_control.h"

namespace forerun::daemon {

// One thread. The phases, in their order; up to `decide` whatever fails is rolled back and the VM
// runs on here, after it everything goes on, over new connections if need be:
//
//   profile   a dry run tells what the guest writes
//   prepare   the target makes the VM, and a QEMU that waits
//   memory    QEMU sends; with post-copy, until the switch
//   disk      the guest has stopped: its own writes can be read by the target
//   ready     the target says that it can run the VM
//   decide    this host's record says that the VM is the target's: the commit point
//   run       the target has recorded that, too, and runs the VM
//   rest      the rest of its memory, in post-copy, and of its disk
//   end       the target needs nothing more: QEMU ends here
class MigrationSource {
 public:
  using Report = std::function<void(uint64_t done_bytes, uint64_t total_bytes, std::string)>;
  struct Control {
    std::function<bool()> should_cancel;  // before the commit point
    std::function<bool()> may_go_over;    // asked once; from then on it cannot be cancelled
    std::function<void()> on_running;     // there; its ports are free here
    std::function<bool(Nanos)> wait;      // false: the daemon is stopping
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

  // ERRORS: of the phases up to `decide`: the VM runs on here. kUnavailable after it: the daemon is
  // stopping, and its next start goes on.
  Result<std::string> run();
  // Returns what moving it would take; the VM stays. ERRORS: as of run() before the first phase.
  Result<api::MigrationForecast> forecast();
  // What an earlier run of the daemon left: before the commit point the VM stays here, after it all
  // goes on.
  Result<std::string> take_up(const vmm::VmRecord& record);

 private:
  Status to_decision();
  Status prepare();
  // What the target is to foresee the VM by; empty: nothing, or it cannot be had.
  Buffer history_to_send();
  // Learns what the guest writes, if that is of use.
  Status profile_memory();
  // Measures the link and chooses the mode.
  void choose();
  // Takes what the target says that it has of the memory.
  Status take_known(const PeerMessage& prepared);
  // Waits until the target has all that it was told to have: before the guest goes over.
  Status settle_known();
  // ERRORS: it was waited for since `began`, for too long.
  Status wait_known(Time began) const;
  Status start_memory();
  Status until_ready();
  Status look();
  // Takes in what QEMU has told.
  Status heed_events();
  // Notes that the target is ready, if it has said so meanwhile.
  Status hear_ready(Nanos timeout);
  // Returns whether QEMU can do nothing any more that lets the guest run here again.
  bool has_let_go() const;
  void flush_disk();
  // Gives up the disk once the guest has stopped, and lets QEMU go on from there.
  Status note_switch();
  Status go_over();
  Status switch_if_due(const vmm::MigrationStatus& status);
  // Gives the disk as it is now to the other host, over the connection that there is.
  Status serve_disk();
  void close_disk();
  // Returns what is to be said of the guest, if it cannot be let run.
  std::string roll_back();
  Result<std::string> to_end();
  Status go_on();
  Status resume();
  // The target returns it without having run it: it goes on here.
  Result<std::string> come_back(const Error& why);
  // ERRORS: it is returned.
  Status note_answer(const PeerMessage& told);
  void note_running();
  Status wait_paused(Nanos patience);
  // What is left of a guest that is lost is its disk: a later attempt brings that.
  std::unexpected<Error> note_loss(const std::string& why);
  void let_go();
  void report(const vmm::MigrationStatus& status);
  PeerMessage message(PeerMessageKind kind) const;
  std::string outcome() const;
  // Returns QEMU's socket of the migration, in the folder of its other sockets.
  std::string socket_path() const;
  // What came of the forecast.
  void score();

  const MigrationParts parts_;
  const std::string vm_, id_;
  const api::MigrateRequest request_;
  const Control control_;
  VmManager::Migrating leaving_;
  Peers::Connection connection_;
  std::unique_ptr<vmm::MigrationControl> qemu_;
  std::unique_ptr<MigrationFilter> filter_;
  SenderFilter* sender_ = nullptr;  // it, if it is one
  migrate::MemoryProfile profile_;
  Nanos dry_run_{};
  MigrationChoice choice_;
  std::unique_ptr<MigrationPipe> pipe_;
  std::shared_ptr<disk::OverlaySource> frozen_;  // the disk, once the guest has stopped
  std::unique_ptr<PeerOverlayServer> disk_server_;
  bool is_postcopy_ = false;   // asked for
  bool has_switched_ = false;  // the guest has stopped here
  bool goes_over_ = false;     // and it is too late to cancel
  bool is_ready_there_ = false;
  bool runs_there_ = false;
  bool is_returned_ = false;  // by the target, which never ran it
  bool is_lost_ = false;      // the guest: its memory was at both hosts, and one part is gone
  bool was_cut_ = false;      // the connection, amid it
  bool is_disk_closed_ = false;
  Time began_{}, stopped_{}, ran_{};
  Time first_pass_ended_{}, told_frozen_{};
  DowntimeTrail downtime_;
  Time memory_began_{}, memory_ended_{};
  uint64_t memory_bytes_ = 0;             // on the wire
  std::vector<migrate::PageHash> known_;  // of pages that the target has
  std::string known_words_;               // of what, for people
  migrate::SenderStats sent_;             // once the sender has ended
  uint64_t disk_left_bytes_ = 0, disk_bytes_ = 0, earlier_bytes_ = 0, blocktime_ms_ = 0;
  uint64_t flushed_rounds_ = 0;  // of pre-copy
  bool is_flushed_ = false;      // before the switch to post-copy
  vmm::MigrationStatus last_;
};

}  // namespace forerun::daemon
