// Turns a disk into chunks, an index and a tag in a repository.
//
// Chunks are put first and flushed, then the index, then the tag: a crash at any point leaves no
// tag that names missing things. An interrupted import is resumed by running it again: what is
// stored already is found by its name, verified and not packed again. A stored chunk that fails
// verification (torn by a power cut, rotten) is replaced. The boot prior (boot_prior.h) is put
// beside the index; a disk without one is imported all the same.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/result.h"
#include "image/disk_reader.h"
#include "image/parallel_for.h"
#include "repository/image_index.h"
#include "repository/source.h"

namespace forerun::image {

struct ImportProgress {
  uint64_t bytes_done = 0;  // of the disk
  uint64_t bytes_total = 0;
  uint64_t new_chunks = 0;
  uint64_t reused_chunks = 0;    // were in the repository, or earlier in this disk
  uint64_t repaired_chunks = 0;  // were in the repository, broken
  uint64_t zero_chunks = 0;
  uint64_t stored_bytes = 0;  // of new and repaired chunks

  bool operator==(const ImportProgress&) const = default;
};

struct ImportOptions {
  std::string image_name;
  std::string created;  // RFC 3339, UTC: the tag's time; rooms of this floor read no clock
  int zstd_level = 3;
  // Work between two progress reports, and all the memory an import takes: ~64 KiB per chunk in
  // flight, 80 B per chunk.
  size_t batch_chunks = 512;
  ParallelFor parallel_for;  // empty: one after the other
  // Called after each batch on the caller's thread. An error stops the import and is returned.
  std::function<Status(const ImportProgress&)> on_progress;
};

struct ImportResult {
  repository::ImageTag tag;
  ImportProgress totals;
  // The blocks that the image's first boot is expected to read; 0: the disk tells nothing, and
  // prior_missing why.
  size_t prior_block_count = 0;
  std::string prior_missing;
};

// Imports `disk` into `store` as image options.image_name, replacing an image of that name.
// REQUIRES: disk and store are thread-safe if parallel_for uses threads.
// ERRORS: kInvalid (options), those of the disk and the store, that of on_progress.
Result<ImportResult> import_disk(DiskReader& disk, repository::Store& store,
                                 const ImportOptions& options);

}  // namespace forerun::image
