// One VM on its way here from another host: this host's side.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "daemon/migration_messages.h"
#include "daemon/migration_pipe.h"
#include "daemon/migrations.h"
#include "vmm/migration_control.h"

namespace forerun::daemon {

// One thread. What happens to the VM is the source's to say: from ready on, this side neither runs
// it nor forgets it without the source's word.
class MigrationTarget {
 public:
  // What became of the VM when the connection ended.
  enum class End : uint8_t {
    kGone,     // it does not come; nothing is left
    kOurs,     // it runs here and needs nothing more
    kRests,    // it runs here, and waits for the source to connect again
    kInDoubt,  // it is ready, and the source has not said whose it is
  };
  MigrationTarget(MigrationParts parts, std::string host, Peers::Connection connection,
                  std::function<bool()> should_stop)
      : parts_(parts),
        host_(std::move(host)),
        held_(std::move(connection)),
        connection_(*held_),
        should_stop_(std::move(should_stop)) {}
  ~MigrationTarget();

  End prepare(const PeerMessage& asked);
  End resume(const PeerMessage& asked);

 private:
  Status take_in(const PeerMessage& asked);
  Status start_qemu(const PeerMessage& asked);
  Status compare_qemu(const PeerMessage& asked);
  Status until_committed();
  Status take_orders();
  Status look_if_ready();
  Status look_if_loaded();
  Status run();
  // It did not run here, and will not: has the source take it back.
  std::unexpected<Error> give_back(const Error& why);
  // What the disk held where it comes from; from now on it is read there. On a thread of its own:
  // the guest stands still meanwhile, and QEMU loads its devices.
  Status learn_disk();
  std::shared_ptr<disk::OverlaySource> disk_source();
  void pull_disk();
  Status rest();
  Status tell_progress();
  void note_wait(const Error& why);
  // Has QEMU go on where it was cut.
  Status resume_memory();
  Status recover_memory();
  // Returns QEMU's word for its migration; nothing if it gives none at once.
  std::optional<std::string> memory_state();
  Status connect_qemu();
  // It runs, if it does not yet.
  Status see_it_run();
  Status say(PeerMessageKind kind);
  void end_pipe();
  void drop();

  const MigrationParts parts_;
  const std::string host_;
  const Peers::Connection held_;
  net::PeerConnection& connection_;
  const std::function<bool()> should_stop_;
  std::string vm_, id_;
  uint64_t ownership_ = 0;
  bool is_postcopy_ = false;
  bool is_taken_in_ = false, is_ready_ = false, is_ours_ = false, is_complete_ = false;
  uint64_t blocktime_ms_ = 0;
  VmManager::Migrating coming_;
  std::unique_ptr<vmm::MigrationControl> qemu_;
  std::unique_ptr<CheckpointPages> known_;  // what a checkpoint here has of the memory
  std::unique_ptr<MigrationFilter> filter_;
  std::unique_ptr<MigrationPipe> pipe_;
  bool is_disk_known_ = false, is_loaded_ = false, has_memory_ = false;
  Time heard_frozen_{}, heard_commit_{};
  Nanos loaded_{}, disk_known_{}, took_{};  // after those
  std::future<Status> learning_;            // learn_disk(); not valid before, and after its end
  Time told_{};
};

}  // namespace forerun::daemon
