// A manifest's settings as files of the disk.
#pragma once

#include <span>
#include <vector>

#include "core/result.h"
#include "image/component_files.h"
#include "image/manifest.h"
#include "image/merge_by_kind.h"

namespace forerun::image {

// Adds to `merge` what the manifest sets: host name, network, users, units, files. `time_s`: of the
// files that are made. ERRORS: kNotFound: a unit, user or group that nothing brings; kInvalid: a
// user that is there already, a unit that says not what wants it; all name it.
Status apply_settings(const Manifest& manifest, std::span<const ComponentFiles> components,
                      int64_t time_s, KindMerge& merge);

}  // namespace forerun::image
