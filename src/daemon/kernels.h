// Kernels that come with a disk: a component of the function "kernel" holds /boot/vmlinuz-VERSION
// and may hold /boot/initrd.img-VERSION. QEMU wants files, so they are kept in a folder, by the
// component's digest.
#pragma once

#include <mutex>
#include <string>

#include "api/service.h"
#include "core/id.h"
#include "core/result.h"
#include "daemon/image_catalog.h"
#include "repository/source.h"

namespace forerun::daemon {

struct KernelFiles {
  std::string kernel, initrd;  // paths; no initrd: empty
};

// Thread-safe.
class Kernels {
 public:
  // `source` outlives this object.
  Kernels(std::string folder, repository::Source& source)
      : folder_(std::move(folder)), source_(source) {}

  // Returns the files of this component, fetching them if they are not here yet.
  // ERRORS: kInvalid: it holds no kernel, or several; those of the source.
  Result<KernelFiles> provide(const Digest& component);

 private:
  const std::string folder_;
  repository::Source& source_;
  std::mutex mutex_;  // one fetches, the others then find it
};

// Names the kernel that comes with the disk, unless the request names one or needs none.
// ERRORS: as provide(); kInvalid: a composed disk has neither kernel nor boot loader.
Status add_kernel(const ImageCatalog::Layout& layout, const ImageCatalog& catalog, Kernels& kernels,
                  api::RunRequest& request);

}  // namespace forerun::daemon
