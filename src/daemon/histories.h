// What was learned of components, kept in files over restarts: state_dir/history/<digest>, and
// <digest>.successors; and what the metadata of all disks taught by name: state_dir/history/names.
// docs/format_history.md.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "daemon/image_catalog.h"
#include "predict/replay.h"
#include "predict/successor.h"

namespace forerun::daemon {

// Thread-safe.
class Histories {
 public:
  Histories(std::string folder, const ImageCatalog& catalog)
      : folder_(std::move(folder)),
        catalog_(catalog),
        replay_(std::make_shared<predict::ReplayHistory>(
            predict::ReplayHistory::Options{},
            [&catalog](ComponentId component) { return catalog.name_of(component); })),
        successors_(std::make_shared<predict::SuccessorStatistics>()) {}

  const std::shared_ptr<predict::ReplayHistory>& replay() const { return replay_; }
  const std::shared_ptr<predict::SuccessorStatistics>& successors() const { return successors_; }
  // Loads what is kept of a component, unless something is known already. A damaged file is set
  // aside under its name and ".damaged", and said so; learning starts afresh.
  void load(ComponentId component);
  // Saves what is known of a component. Of saves at the same time the last has all that was known.
  void save(ComponentId component);
  // Returns the boots that were merged for a component; 0 if none is known.
  uint64_t boots(ComponentId component) const;

 private:
  // What keeps it from being loaded sets the file aside.
  void load_file(const std::string& file, const std::function<Status(ByteView)>& accept);
  void save_file(const std::string& file, const Buffer& saved);
  std::string path(ComponentId component, std::string_view suffix) const;
  std::string names_path() const { return folder_ + "/names"; }

  const std::string folder_;
  const ImageCatalog& catalog_;
  const std::shared_ptr<predict::ReplayHistory> replay_;
  const std::shared_ptr<predict::SuccessorStatistics> successors_;
  std::mutex saving_;  // so that what was known earlier is not written later
};

}  // namespace forerun::daemon
