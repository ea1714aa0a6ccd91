// What the models of each VM learned, kept over restarts in state_dir/history/vms/NAME, and taken
// along to other hosts. docs/format_history.md.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "api/service.h"
#include "core/id.h"
#include "core/time.h"
#include "daemon/histories.h"
#include "daemon/image_catalog.h"
#include "predict/saved_models.h"
#include "predict/vm_history.h"

namespace forerun::daemon {

// Thread-safe.
class VmHistories {
 public:
  struct Options {
    Nanos save_every = std::chrono::minutes(2);  // of a VM at work: what kill -9 may cost
  };
  VmHistories(Options options, std::string folder, const Clock& clock, const ImageCatalog& catalog,
              Histories& histories)
      : options_(options),
        folder_(std::move(folder)),
        clock_(clock),
        catalog_(catalog),
        histories_(histories) {}

  // Shows the models of a VM that is at work, if it is, to a function that must be quick: their
  // thread waits meanwhile.
  using Look = std::function<void(predict::ModelSpan)>;
  using Visit = std::function<void(VmId, const Look&)>;
  // REQUIRES: called before any of the below.
  void visit_by(Visit visit) { visit_ = std::move(visit); }

  // The VM `name` begins a session as `id`.
  void open(VmId id, const std::string& name, std::vector<ComponentId> components);
  // Gives new models of the session what is kept of the VM. A damaged file is set aside under its
  // name and ".damaged", and said so; what is of no use to one model, too.
  void restore(VmId id, predict::ModelSpan models);
  // Keeps what the models of the session know now: those that are shown, or that it has.
  void save(VmId id, predict::ModelSpan models);
  void save(VmId id);
  // Saves what was not saved for `save_every`; all: whatever is at work.
  void save_due();
  void save_all();
  // The session is over.
  void close(VmId id);
  // Forgets what is kept of a VM that does not run.
  void remove(const std::string& name);

  // Returns what is known of a VM with such a disk.
  predict::VmHistory known(const std::string& name, const ImageCatalog::Layout& disk,
                           const std::string& tenant);
  // Takes up what another host knew of a VM that does not run. `disk`: its components here; null:
  // there is no such VM here yet, and its state waits for one. What is known here already stays:
  // histories are merged, models that are kept here are not replaced. ERRORS: kInvalid: it is of a
  // disk that has nothing in common with this one; kIo.
  Result<api::HistoryImportInfo> take_up(const std::string& name, const predict::VmHistory& history,
                                         const ImageCatalog::Layout* disk,
                                         const std::string& tenant = {});

 private:
  struct Session {
    std::string name;
    std::vector<ComponentId> components;
    std::vector<Digest> digests;
    bool is_at_work = false;
    Time saved_at{};
  };
  std::string path(const std::string& name) const { return folder_ + "/vms/" + name; }
  std::vector<VmId> at_work(bool all);
  std::optional<Session> session_of(VmId id);
  void keep(const Session& session, predict::SavedModels saved);
  // Returns what is kept; nothing if that is nothing, or of no use: then it is set aside.
  std::optional<predict::SavedModels> load(const std::string& name);
  Status write(const std::string& name, const predict::SavedModels& saved);
  std::vector<Digest> digests_of(const std::vector<ComponentId>& components) const;

  const Options options_;
  const std::string folder_;
  const Clock& clock_;
  const ImageCatalog& catalog_;
  Histories& histories_;
  Visit visit_;
  std::mutex mutex_;  // guards sessions_
  std::map<VmId, Session> sessions_;
  std::mutex files_mutex_;  // held while a file is read and written again
};

}  // namespace forerun::daemon
