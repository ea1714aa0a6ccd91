// Garbage collection: removes what no tag leads to, beside importers, readers and running VMs.
//
// Kept is: what the tags lead to, what the caller says is in use, and what was put or renewed
// within the grace, with all that it leads to. The pass marks, looks for old objects that are not
// marked, reads the roots again (also before each batch of removals), and removes: first what names
// other objects (indexes), then chunks. So what is there never names what was collected, and a
// crash leaves only garbage.
//
// What writers owe, for this to be safe:
// - a tag is put last, within the grace of the first put or renewal of what it names;
// - what is found in the store and relied upon (a chunk to deduplicate against, an index to give
//   another tag) is renewed first (Store::renew); if that says kNotFound, it is put again.
// - a disk is in `in_use` before its index is read for it, with its chunks as soon as they are
// known:
//   the index is collected before its chunks, and the roots are read in between.
// Why that suffices: an object is removed only if its last renewal is older than the grace at the
// moment the roots were first read. Its tag would have been put by then, and been read. And removal
// and renewal of one object exclude each other.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/result.h"
#include "core/time.h"
#include "repository/object_kind.h"

namespace forerun::repository {

struct GcProgress {
  uint64_t objects_seen = 0;   // chunks too
  uint64_t objects_young = 0;  // of them not marked, but within the grace
  uint64_t garbage_objects = 0;
  uint64_t garbage_bytes = 0;
  uint64_t removed_objects = 0;
  uint64_t removed_bytes = 0;
  uint64_t saved_objects = 0;  // were garbage at first, and came into use during the pass
  bool operator==(const GcProgress&) const = default;
};

struct GcOptions {
  // Longer than the longest import, and than clocks may jump.
  Nanos grace = std::chrono::hours(24);
  bool is_dry_run = false;  // only count
  size_t batch_objects = 1000;
  // Of one pass; what is over is left for the next. 72 bytes of memory for each.
  size_t garbage_max = 4'000'000;
  // Returns what runs now whatever the tags say: the indexes of VMs' disks, and their chunks, for
  // the index may have gone meanwhile. Asked as often as the roots are read. Objects of it that are
  // not in this store are overlooked.
  std::function<Result<Needs>()> in_use;
  // Called now and then. An error stops the pass and is returned.
  std::function<Status(const GcProgress&)> on_progress;
};

// Returns what was removed from `store`. Memory: 8 bytes per reference to a chunk, plus garbage.
// ERRORS: those of the store. Anything that a root leads to and that cannot be read or understood
// stops the pass before it removes anything more: nobody knows what it needs (verify.h tells).
Result<GcProgress> collect_garbage(Store& store, const ObjectKinds& kinds,
                                   const GcOptions& options);

}  // namespace forerun::repository
