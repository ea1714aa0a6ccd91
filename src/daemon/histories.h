// What was learned of components, kept in files over restarts: state_dir/history/<digest>.
// docs/format_history.md.
#pragma once

#include <memory>
#include <string>

#include "daemon/image_catalog.h"
#include "predict/replay.h"

namespace forerun::daemon {

// Thread-safe.
class Histories {
 public:
  Histories(std::string folder, const ImageCatalog& catalog)
      : folder_(std::move(folder)),
        catalog_(catalog),
        replay_(std::make_shared<predict::ReplayHistory>()) {}

  const std::shared_ptr<predict::ReplayHistory>& replay() const { return replay_; }
  // Loads what is kept of a component, unless something is known already. A damaged file is set
  // aside under the name <digest>.damaged and said so; learning starts afresh.
  void load(ComponentId component);
  // Saves what is known of a component.
  void save(ComponentId component);
  // Returns the boots that were merged for a component; 0 if none is known.
  uint64_t boots(ComponentId component) const;

 private:
  std::string path(ComponentId component) const;

  const std::string folder_;
  const ImageCatalog& catalog_;
  const std::shared_ptr<predict::ReplayHistory> replay_;
};

}  // namespace forerun::daemon
