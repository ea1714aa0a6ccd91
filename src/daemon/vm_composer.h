// The disk of a VM that is asked for by its components: composed when it starts, from what is here
// or in a far repository, and tagged as the image "vm.NAME".
#pragma once

#include <string>

#include "api/service.h"
#include "core/result.h"
#include "daemon/first_boots.h"
#include "image/manifest.h"
#include "repository/source.h"

namespace forerun::daemon {

// Thread-safe.
class VmComposer {
 public:
  // `store` has the components and takes what is made; both outlive this object.
  VmComposer(repository::Store& store, FirstBoots& first_boots)
      : store_(store), first_boots_(first_boots) {}

  // Returns the name of the image that `request` describes; its first boot is being foreseen.
  // `existing_digest`: the image of the VM of this name; empty: there is none. ERRORS: as
  // parse_manifest and assemble; kExists: that VM's disk is another.
  Result<std::string> compose(const api::RunRequest& request, const std::string& existing_digest);
  // Forgets the image of a VM that was removed.
  Status forget(const std::string& vm_name);

 private:
  Result<image::Manifest> manifest_of(const api::RunRequest& request);
  // Returns the name of the kernel component to add: the only one there is.
  Result<std::string> find_kernel();

  repository::Store& store_;
  FirstBoots& first_boots_;
};

}  // namespace forerun::daemon
