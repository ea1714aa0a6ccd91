// Components from what the daemon's host has: one function per kind of source. An import is an
// operation (operations.h); each has a scratch folder of its own, which is gone after it.
#pragma once

#include <functional>
#include <string>

#include "api/service.h"
#include "core/result.h"
#include "daemon/operations.h"
#include "image/component_builder.h"
#include "os/file.h"
#include "repository/source.h"

namespace forerun::daemon {

struct ImportJob {
  const api::ComponentImportRequest& request;
  const std::string& scratch;  // an empty folder of this job alone
  repository::Store& store;
  Operations::Progress& progress;
  // Hears of each component that was published. May be empty.
  std::function<Status(const image::ComponentTag&)> on_published;
};

// Returns what is known before anything is read: the request's name, version and function.
image::ComponentInfo info_of(const api::ComponentImportRequest& request);

// Returns a file from `offset` to its end, which is at `size`.
image::ByteStream stream_of(os::PosixFile& file, uint64_t offset, uint64_t size);

// Adds everything that a component has to its builder.
using FillComponent = std::function<Status(image::ComponentBuilder&)>;
// Builds the component that `info` describes and publishes it under its name. Reports progress and
// ends early if the daemon stops. May be called several times in one job.
Result<image::BuiltComponent> build_component(const ImportJob& job, image::ComponentInfo info,
                                              const FillComponent& fill);
// Returns what came of it, for people.
std::string describe(const image::BuiltComponent& built);

// One per kind; each returns what came of it, for people.
Result<std::string> import_tar(const ImportJob& job);
Result<std::string> import_dir(const ImportJob& job);
Result<std::string> import_deb(const ImportJob& job);
Result<std::string> import_oci(const ImportJob& job);

// What is wrong with a request and can be said at once. ERRORS: kInvalid, kNotFound, kDenied.
Status check_import(const api::ComponentImportRequest& request);
// Does what `request` asks in a new folder below `scratch_folder`.
Result<std::string> run_import(const api::ComponentImportRequest& request,
                               const std::string& scratch_folder, repository::Store& store,
                               Operations::Progress& progress,
                               std::function<Status(const image::ComponentTag&)> on_published);

}  // namespace forerun::daemon
