// The VMs of this host: their records, overlays, exports and QEMU processes. They outlive the
// daemon; a restarted one finds them again, and their guests only notice a pause in I/O.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/service.h"
#include "core/time.h"
#include "daemon/agent_ports.h"
#include "daemon/checkpoint_pages.h"
#include "daemon/checkpoint_store.h"
#include "daemon/config.h"
#include "daemon/disk_gate.h"
#include "daemon/exports.h"
#include "daemon/first_boots.h"
#include "daemon/foresight.h"
#include "daemon/image_catalog.h"
#include "daemon/kernels.h"
#include "daemon/launches.h"
#include "daemon/pmem_store.h"
#include "daemon/recorder.h"
#include "daemon/served_disk.h"
#include "daemon/usage_watch.h"
#include "daemon/vm_histories.h"
#include "export/nbd_server.h"
#include "vmm/accelerator.h"
#include "vmm/vm_process.h"
#include "vmm/vm_record.h"

namespace forerun::daemon {

// Thread-safe. Operations on one VM are made one after the other.
class VmManager {
 public:
  struct Parts {
    const Config& config;
    const Clock& clock;
    ImageCatalog& catalog;
    tier::Tier& tier;
    FetchService& fetches;
    Foresight& foresight;
    Exports& exports;
    nbd::NbdServer& server;
    Kernels& kernels;
    PmemStore& pmem;
    Launches& launches;
    FirstBoots& first_boots;
    AgentPorts& agents;
    Recorder& recorder;
    VmHistories& histories;
    DiskGate& gate;        // of the disk that the state is on
    uint64_t owner_token;  // of this run of the daemon; larger than every earlier one's
  };
  explicit VmManager(Parts parts);
  // Leaves VMs running.
  ~VmManager();

  // Finds the VMs of the records: running ones are exported and adopted, others are kept as
  // stopped.
  Status recover();

  Result<api::VmInfo> run(const api::RunRequest& request);
  Result<api::VmInfo> stop(const std::string& name, const api::StopRequest& request);
  Status remove(const std::string& name);
  std::vector<api::VmInfo> list();
  Result<api::VmInfo> get(const std::string& name);
  Result<api::VmStats> stats(const std::string& name);
  // Asks the VM's agent for other profiles, and keeps it in the VM's record. ERRORS: kNotFound,
  // kUnsupported (no guest of ours), what save_vm_record says: nothing is changed then.
  Result<api::VmProfile> set_profile(const std::string& name, const telemetry::Control& asked);
  // Gives the VM another share of each link, and keeps it in the VM's record. ERRORS: kNotFound;
  // kInvalid; what save_vm_record says: nothing is changed then.
  Result<api::VmInfo> set_share(const std::string& name, const api::ShareRequest& asked);
  struct Known {
    VmId id{};
    std::shared_ptr<ServedDisk> disk;  // null: it does not run
    ImageCatalog::LayoutPtr layout;
    std::string tenant;
  };
  // ERRORS: kNotFound: no such VM; of opening its image.
  Result<Known> look_up(const std::string& name);
  // Returns the digests of the disks that VMs began with, running or not. ERRORS: kCorrupt: a VM's
  // record is unreadable, so nobody knows its disk.
  Result<std::set<Digest>> disks();
  // Returns the VMs that run, as their use is watched.
  std::vector<WatchedVm> watched();
  size_t running_count();

  // ---- Checkpoints (vm_checkpoint.cpp, docs/checkpoints.md).
  // The guest runs on but for a moment. ERRORS: kNotFound; kInvalid: it does not run; kUnavailable:
  // its disk is still being pulled; kUnsupported: what it has cannot be kept; kNoSpace, kIo.
  Result<api::CheckpointInfo> checkpoint(const std::string& name);
  Result<std::vector<api::CheckpointInfo>> list_checkpoints(const std::string& name);
  Status remove_checkpoint(const std::string& name, uint64_t number);
  // Checkpoints that are made by themselves. ERRORS: kNotFound; kInvalid: out of range; what
  // save_vm_record says: nothing is changed then.
  Result<api::CheckpointPolicy> set_checkpoint_policy(const std::string& name,
                                                      const api::CheckpointPolicyRequest& asked);
  Result<api::CheckpointPolicy> checkpoint_policy(const std::string& name);
  // The store, opened when it is needed first. ERRORS: of CheckpointStore::open.
  Result<CheckpointStore*> checkpoint_store();
  // Has checkpoints copied to other hosts by `copy`; with none, they are not.
  using CopyCheckpoint =
      std::function<Status(const std::string& vm, uint64_t number, const std::string& host)>;
  // `knows`: whether there is such a host.
  void copy_checkpoints_by(CopyCheckpoint copy, std::function<bool(const std::string& host)> knows);
  // A copy of a VM's checkpoint is at that host now. Returns the hosts that have one.
  std::vector<std::string> note_copy(const std::string& name, const std::string& host);
  std::vector<std::string> copy_hosts(const std::string& name);
  // ERRORS: kExists: this host has a VM of that name itself.
  Status may_keep_copy(const std::string& name);
  // The VM is likely to move to that host soon: its policy sends a checkpoint ahead.
  void foresee_move(const std::string& name, const std::string& host);
  // The copies that this host keeps for another one's VM go.
  void forget_copies(const std::string& name, const std::string& host);
  // Returns what a checkpoint that is here knows of a VM that comes; null: nothing.
  std::unique_ptr<CheckpointPages> checkpoint_pages(const std::string& name);
  // Starts a stopped VM as it was then, its disk too. ERRORS: kNotFound; kExists: it runs;
  // kCorrupt; as run().
  Result<api::VmInfo> restore(const std::string& name, const api::RestoreRequest& request);
  const vmm::AcceleratorProbe& accelerator() const { return accelerator_; }

  // ---- A VM that goes to another host, or comes from there (vm_migration.cpp). Each call names
  // the migration; kNotFound: the VM is in no such one. What a call says of the VM's ownership is
  // durable when it returns.

  struct Migrating {
    vmm::VmRecord record;
    std::shared_ptr<ServedDisk> disk;  // null: closed
    ImageCatalog::LayoutPtr layout;
    bool is_alive = false;  // its QEMU
    std::string log_path;   // of what that says
  };
  Result<Migrating> migrating(const std::string& name, const std::string& id);
  // Returns the VMs that are in a migration.
  std::vector<vmm::VmRecord> all_migrating();
  // From now on nobody else stops, starts or removes the VM. ERRORS: kNotFound; kInvalid: it does
  // not run; kUnsupported: what it has cannot move; kExists: it is being migrated already.
  Result<Migrating> begin_leaving(const std::string& name, const std::string& id,
                                  const std::string& peer);
  // Does what give_away() can do before, while the guest stands still for other reasons.
  Status prepare_to_give(const std::string& name, const std::string& id, bool is_postcopy);
  // It is the peer's, and never runs here again. REQUIRES: its disk is frozen.
  Status give_away(const std::string& name, const std::string& id, bool is_postcopy);
  // After it: closes the disk; the peer may still read what was frozen.
  void close_given_disk(const std::string& name, const std::string& id);
  // The peer has returned it without having run it: ours again, as an owner of its own. Its disk is
  // served again. REQUIRES: nobody holds the disk that was given away.
  Result<Migrating> take_back(const std::string& name, const std::string& id);
  // Opens the disk that was given away again, for the peer to read what it still lacks of it.
  Result<Migrating> open_given_disk(const std::string& name, const std::string& id);
  // It stays: nothing is left of the migration. `detail`: what people are told of it, if anything.
  Status stay(const std::string& name, const std::string& id, std::string detail = {});
  // The peer needs nothing more: ends QEMU, and deletes the VM's own writes.
  Status end_leaving(const std::string& name, const std::string& id);

  struct Coming {
    vmm::VmRecord record;  // the other host's
    std::string id, peer;
    std::string kernel_digest, initrd_digest;  // of its kernel's files; no such file: empty
    uint64_t disk_bytes = 0;                   // of its own writes
    bool without_forwards = false;
    Buffer history;  // what was learned of it there; may be empty
  };
  // Returns what was learned of a VM, as another host takes it up; empty: nothing was.
  Result<Buffer> history_of(const std::string& name);
  // Makes the VM, with an empty overlay, and starts a QEMU that waits for its memory. ERRORS: what
  // cannot be had here; then nothing is left of it.
  Result<Migrating> begin_coming(const Coming& coming);
  // It is ours; whoever calls lets it run.
  Status take_over(const std::string& name, const std::string& id, uint64_t ownership,
                   bool is_postcopy);
  // It cannot be run here, and was not: its QEMU is ended, and it is the peer's once more.
  Status return_coming(const std::string& name, const std::string& id);
  // Of either side: nothing is waited for of the memory any more; it has come, or is lost.
  Status note_memory(const std::string& name, const std::string& id);
  // Of a guest that is lost: its QEMU is ended; its disk comes once it is started again.
  Status end_lost(const std::string& name, const std::string& id);
  // What people are told of the VM while it is in the migration.
  void set_migration_detail(const std::string& name, const std::string& id, std::string detail);
  // It has all that it needs.
  Status end_coming(const std::string& name, const std::string& id);
  // It does not come after all: nothing is left of it.
  Status drop_coming(const std::string& name, const std::string& id);
  // Returns the VMs that are other hosts' now.
  std::vector<vmm::VmRecord> all_moved();
  // Returns what the VM, here or moved from here, has forwarded from that port of this host.
  Result<vmm::Forward> forward_of(const std::string& name, uint64_t host_port);
  // Returns whether the VM is ours as that owner.
  Result<bool> is_owner(const std::string& name, uint64_t ownership);
  // Returns what the other host compares its kernel's files by; of no file: nothing.
  static Result<std::string> boot_file_digest(const std::string& path);
  // Returns whether the VM of that migration was given to `peer`; nothing: that is not decided.
  std::optional<bool> was_given_away(const std::string& name, const std::string& id,
                                     const std::string& peer);

 private:
  struct Vm;
  // ERRORS: kExists: the VM is in a migration.
  static Status check_settled(const Vm& vm);
  // Ends a QEMU that has nothing to save, and may wait for what never comes.
  static Status kill(Vm& vm);
  static std::string lost_words(const vmm::VmRecord& record);
  static void add_migration(const Vm& vm, api::VmInfo& info);
  Result<std::shared_ptr<Vm>> find_migrating(const std::string& name, const std::string& id);
  // Takes up a VM that was in a migration when the daemon ended. Returns false if it is to be taken
  // up as any other.
  Result<bool> recover_migrating(Vm& vm);
  // What cannot be taken up is only said: the VM is worth more.
  void take_up_history(const Coming& coming, const ImageCatalog::Layout& layout);
  // Returns the checkpoints of `made` of a VM that comes back: they are here still.
  Result<std::vector<uint64_t>> make_room_for(const Coming& coming);
  Result<vmm::QemuOptions> incoming_options(const Coming& coming,
                                            const ImageCatalog::Layout& layout);
  Status start_coming(Vm& vm);
  // Deletes the VM. REQUIRES: its lock is held, and it does not run.
  Status remove(Vm& vm, bool keep_checkpoints = false);
  std::shared_ptr<Vm> find(const std::string& name);
  std::vector<std::shared_ptr<Vm>> all();
  // Returns the VM's own disk if it exists, otherwise that of the image named.
  Result<ImageCatalog::LayoutPtr> disk_of(const api::RunRequest& request);
  Result<std::shared_ptr<Vm>> prepare(const api::RunRequest& request, const Digest& image);
  uint64_t boot_token() const;
  Status open_disk(Vm& vm, bool is_boot);
  // Opens the VM's disk, for whoever has a use for it.
  Result<std::shared_ptr<ServedDisk>> make_disk(Vm& vm, bool is_observed);
  void close_disk(Vm& vm);
  // What a VM that ended leaves: its disk is closed, its record says so.
  Status note_end(Vm& vm);
  // Has the VM, whose disk is open, foreseen.
  void start_foresight(const Vm& vm, bool is_boot);
  Status start_qemu(Vm& vm);
  std::string mac_of(const std::string& name);  // that it had; empty: none, or there is no such VM
  // Gives the guest an address on its network, and sees that there is that network.
  Status add_network(const api::RunRequest& request, vmm::QemuOptions& options);
  // Takes hold of the files of the images that the guest is to have as persistent memory, and
  // names them in `options`.
  Result<std::vector<PmemStore::FilePtr>> add_pmem(const api::RunRequest& request,
                                                   vmm::QemuOptions& options);
  Status recover_one(const std::string& name);
  // What a start that failed leaves: nothing runs, and the record says so.
  void fail_start(Vm& vm, const Error& error);
  Result<disk::CheckpointIndex> make_checkpoint(Vm& vm, CheckpointStore& store);
  Status restore_disk(Vm& vm, const disk::CheckpointIndex& index, CheckpointStore& store);
  Status start_restored(Vm& vm, const disk::CheckpointIndex& index, CheckpointStore& store);
  // ERRORS: kUnavailable: a restore was cut off.
  Status check_disk_whole(const std::string& name) const;
  // Lets a guest run on whose checkpoint an earlier daemon did not end.
  void end_cut_checkpoint(Vm& vm);
  Status forget_checkpoints(const std::string& name);
  // On a thread of its own: makes what is due (vm_checkpoint_policy.cpp).
  void keep_checkpoints();
  void make_due_checkpoint(Vm& vm);
  void keep_newest_checkpoints(Vm& vm, uint64_t made);
  bool knows_host(const std::string& host);
  void send_copies(const std::string& name, uint64_t number, const std::vector<std::string>& hosts);
  api::CheckpointPolicy describe_policy(const Vm& vm) const;
  vmm::QemuOptions qemu_options(const api::RunRequest& request) const;
  api::VmInfo info(const Vm& vm) const;
  void watch();
  void check_on(Vm& vm);
  std::string folder(const std::string& name) const {
    return parts_.config.state_dir + "/vms/" + name;
  }
  std::string records_folder() const { return parts_.config.state_dir + "/records"; }

  Parts parts_;
  vmm::AcceleratorProbe accelerator_;
  std::string boot_id_;

  std::mutex mutex_;  // guards vms_ and next_id_; each Vm has its own
  std::map<std::string, std::shared_ptr<Vm>> vms_;
  uint32_t next_id_ = 1;

  std::mutex checkpoints_mutex_;  // guards knows_host_, and checkpoints_, opened when it is needed
  std::function<bool(const std::string& host)> knows_host_;
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::mutex copy_mutex_;  // guards copy_, and is held while it copies
  CopyCheckpoint copy_;

  std::mutex watch_mutex_;  // guards is_stopping_
  std::condition_variable watch_changed_;
  bool is_stopping_ = false;
  std::jthread watcher_, checkpointer_;
};

}  // namespace forerun::daemon
