// What was learned of components, kept in files over restarts: state_dir/history/<digest>, and
// <digest>.successors; and what the metadata of all disks taught by name: state_dir/history/names.
// What VMs of a tenant taught about components that are not marked shareable is that tenant's
// alone: the same files in state_dir/history/tenants/<tenant>/. VMs of no tenant share the former.
// docs/format_history.md.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/image_catalog.h"
#include "daemon/marks.h"
#include "predict/replay.h"
#include "predict/successor.h"

namespace forerun::daemon {

// Thread-safe.
class Histories {
 public:
  static constexpr size_t kTenantsMax = 64;  // in memory; others are read from their files again

  // `marks`: null: every component is shareable.
  Histories(std::string folder, const ImageCatalog& catalog, const Marks* marks = nullptr);

  // What serves a VM of this tenant; empty: of none. Load what it is to know of.
  std::shared_ptr<predict::ReplayHistory> replay(const std::string& tenant = {});
  std::shared_ptr<predict::SuccessorStatistics> successors(const std::string& tenant = {});
  // Loads what is kept of a component, unless something is known already. A damaged file is set
  // aside under its name and ".damaged", and said so; learning starts afresh.
  void load(ComponentId component, const std::string& tenant = {});
  // Saves what is known of a component. Of saves at the same time the last has all that was known.
  void save(ComponentId component, const std::string& tenant = {});
  struct Saved {
    Buffer replay, successors;  // each in its own form; empty: nothing is known
  };
  // Returns what boots of disks of exactly these components taught of one of them, and its
  // successors.
  Saved of_disk(ComponentId component, const std::vector<ComponentId>& disk,
                const std::string& tenant = {});
  // Adds to what is known of a component, whether it is in use or not, and saves it. ERRORS:
  // kCorrupt, kUnsupported, kTooLarge: nothing changed; kIo.
  Status merge(const Digest& component, const Saved& saved, const std::string& tenant = {});
  // Returns the boots that were merged for a component, of those that all see; 0 if none is known.
  uint64_t boots(ComponentId component) const;
  // Returns whether what a tenant's VM with these components teaches may serve all.
  bool serves_all(const std::vector<ComponentId>& components, const std::string& tenant) const;
  // What tenants taught about a component that is shareable from now on serves all: of their
  // histories and the common one that of the most boots, and the successors that all counted.
  // REQUIRES: it was marked.
  void share(const Digest& component);

 private:
  struct Known {
    std::string folder;
    std::shared_ptr<predict::ReplayHistory> replay;
    std::shared_ptr<predict::SuccessorStatistics> successors;
    uint64_t used_at = 0;  // a count
  };
  bool is_shareable(ComponentId component) const;
  Known known(const std::string& tenant);
  // Returns where what a VM of the tenant teaches about the component belongs.
  Known home(ComponentId component, const std::string& tenant);
  void load(ComponentId component, const Known& from);
  void forget_old_tenants();
  // What keeps it from being loaded sets the file aside.
  void load_file(const std::string& file, const std::function<Status(ByteView)>& accept);
  void save_file(const std::string& folder, const std::string& file, const Buffer& saved);
  Status write_file(const std::string& folder, const std::string& file, const Buffer& saved);
  std::string path(const Known& known, ComponentId component, std::string_view suffix) const;
  static std::string names_path(const Known& known) { return known.folder + "/names"; }

  const std::string folder_;
  const ImageCatalog& catalog_;
  const Marks* const marks_;
  Known common_;
  std::mutex tenants_mutex_;  // guards the below
  std::map<std::string, Known> tenants_;
  uint64_t uses_ = 0;
  std::mutex saving_;  // so that what was known earlier is not written later
};

}  // namespace forerun::daemon
