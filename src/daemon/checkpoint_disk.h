// A VM's own disk blocks between its overlay and a checkpoint.
#pragma once

#include <map>

#include "daemon/checkpoint_store.h"
#include "disk/overlay.h"
#include "iosched/scheduler.h"

namespace forerun::daemon {

// The parts of an overlay that hold data, by number (64 KiB each).
using DiskParts = std::map<uint64_t, repository::ChunkRef>;

// Stores these parts as they stand now, read in that class; those without data leave `parts`.
Status store_parts(disk::Overlay& overlay, uint64_t size_bytes,
                   const std::vector<uint64_t>& numbers, CheckpointStore& store, DiskParts& parts,
                   uint64_t& stored_bytes, iosched::IoClass io_class);

// Puts the blocks of a checkpoint into an overlay that holds none, and makes them durable.
Status restore_parts(const disk::CheckpointIndex& index, CheckpointStore& store,
                     disk::Overlay& overlay);

}  // namespace forerun::daemon
