// A mapped disk as one flat file: every byte of its data in its place, zeroes as holes. For what
// can use neither chunks nor an export: a loop device, a memory backend.
#pragma once

#include <functional>

#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "image/composition.h"
#include "image/importer.h"
#include "image/mapping_table.h"
#include "repository/source.h"

namespace forerun::image {

struct FlattenOptions {
  // Fetches and unpacks chunks, a MiB of the disk per call; empty: one after the other. The source
  // and the file must be thread-safe if this is.
  ParallelFor parallel_for;
  // Called on the caller's thread now and then with the bytes of data that are done, of all there
  // are. An error ends it and is returned.
  std::function<Status(uint64_t done_bytes, uint64_t total_bytes)> on_progress;
};

// Makes `out` as large as the disk and writes what it holds; what was in it is gone. Nothing is
// flushed. Returns the bytes written. ERRORS: as repository::fetch_chunk and StorageFile's.
Result<uint64_t> flatten(const MappingTable& table, repository::Source& source, StorageFile& out,
                         const FlattenOptions& options = {});

// Returns the mapping table of a composition whose parts are in `source`. Component ids are their
// places in its list of parts. ERRORS: as fetch_index, fetch_component_index, MappingTable::create.
Result<MappingTable> map_composition(const Composition& composition, repository::Source& source);
// Returns the composition that `digest` names, verified. ERRORS: as Source::fetch and
// parse_composition; kCorrupt if the bytes have another digest.
Result<Composition> fetch_composition(repository::Source& source, const Digest& digest);

}  // namespace forerun::image
