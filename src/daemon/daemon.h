// forerund as a whole: builds every part from the configuration, owns their order of life, answers
// the API.
#pragma once

#include <memory>

#include "core/result.h"
#include "daemon/config.h"

namespace forerun::daemon {

class Daemon {
 public:
  // Starts to serve: opens state, finds VMs again, listens.
  // ERRORS: kExists if another daemon has the state folder; whatever a part could not do, naming
  // it.
  static Result<std::unique_ptr<Daemon>> start(Config config);
  // Stops to serve. VMs go on and wait for their disks.
  ~Daemon();

 private:
  struct Parts;
  explicit Daemon(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace forerun::daemon
