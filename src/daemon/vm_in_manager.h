// What the manager keeps of a VM.
#pragma once

#include "daemon/checkpoint_pacer.h"
#include "daemon/vm_manager.h"
#include "os/waiting_file.h"

namespace forerun::daemon {

struct VmManager::Vm {
  std::mutex mutex;  // guards all below, and orders operations on this VM
  vmm::VmRecord record;
  VmId id{};
  std::shared_ptr<ServedDisk> disk;  // null while stopped
  ImageCatalog::LayoutPtr layout;    // null before its first start
  std::optional<vmm::VmProcess> process;
  std::vector<PmemStore::FilePtr> pmem;  // that the record names
  api::VmState state = api::VmState::kStopped;
  std::string detail;
  bool is_removed = false;
  std::optional<CheckpointPacer> pacer;  // while it runs with automatic checkpoints
  struct Prepared {
    vmm::VmRecord record;
    os::WaitingFile file;
  };
  std::optional<Prepared> prepared;  // what the record will say, before it may
  std::string foreseen_host;             // where it is likely to move, while the pacer foresees it
  // Figures of the last session, kept after its end.
  std::shared_ptr<const ServedDisk::Figures> last_figures;
};

}  // namespace forerun::daemon
