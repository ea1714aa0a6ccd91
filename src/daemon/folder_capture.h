// A folder as a component: all kinds of files, owners, times, attributes, hard links. Also the
// upper folder of an overlayfs, whose marks mean what was removed from below.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "image/component_builder.h"
#include "image/file_tree.h"

namespace forerun::daemon {

struct CaptureOptions {
  bool allow_devices = false;
  // Character devices 0:0 are whiteouts, trusted.overlay.opaque=y makes a folder opaque, and the
  // other trusted.overlay.* are left out. Without it, these are what they are.
  bool is_overlay = false;
  // Of an overlay: what it was laid upon, the topmost last, if that is known. Then what is equal to
  // what lies below, but for its time, is left out, and so is an opaque mark where no folder lies
  // below: overlayfs marks all that are new.
  std::vector<const image::FileTree*> below;
  // Times from made_since_s on become made_at_s: so two builds of the same are equal.
  int64_t made_since_s = std::numeric_limits<int64_t>::max();
  int64_t made_at_s = 0;
  // Returns whether "etc/hostname" is left out, with all that is in it. Empty: nothing is.
  std::function<bool(std::string_view path, bool is_folder)> leave_out;
};

// Adds all that is in the folder at `path` but sockets. Its own owner and mode are not the root's:
// where a component was put together says nothing about a disk.
// ERRORS: as os::walk_tree and ComponentBuilder::add; kInvalid, naming it: a device where none is
// allowed, a part of an overlay whose content is elsewhere (redirect_dir, metacopy).
Status capture_folder(const std::string& path, const CaptureOptions& options,
                      image::ComponentBuilder& builder);

}  // namespace forerun::daemon
