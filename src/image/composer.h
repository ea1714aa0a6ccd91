// Composes a VM's disk from components: merges their trees, writes an ext4 file system around them,
// and maps the components' data into it where it stands. No data is copied or read; what is made
// new, the metadata, becomes one more part of the disk, in chunks. Equal inputs give equal bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "image/component_index.h"
#include "image/ext4_writer.h"
#include "image/importer.h"
#include "image/mapping_table.h"
#include "image/tree_merge.h"
#include "predict/sequence.h"
#include "repository/chunk.h"

namespace forerun::image {

struct ComposeInput {
  const ComponentIndex* index = nullptr;  // stays the caller's
  bool is_base = false;                   // as MergeInput's
  std::vector<uint32_t> built_on;
  IdMap ids;
  bool knows_no_base = false;
};

struct ComposeOptions {
  Ext4Options file_system;
  MergeOptions merge;
  int zstd_level = 1;        // of the metadata's chunks
  ParallelFor parallel_for;  // packs them; empty: one after the other
};

// A run of the disk that is a run of a part: part 0 is the metadata, part i + 1 component i.
struct ComposedExtent {
  ByteRange range;
  uint32_t part = 0;
  uint64_t part_offset = 0;
  bool operator==(const ComposedExtent&) const = default;
};

// Of one component.
struct ComposedComponent {
  uint64_t files = 0;  // inodes on the disk that are its own
  uint64_t bytes = 0;  // of its data that they use
  bool operator==(const ComposedComponent&) const = default;
};

struct ComposeStatistics {
  uint64_t names = 0;
  uint64_t inodes = 0;
  uint64_t directories = 0;
  uint64_t overridden = 0;  // entries that a later component replaced
  uint64_t erased = 0;      // that one removed
  std::vector<ComposedComponent> components;
  uint64_t generated_files = 0;
  uint64_t generated_bytes = 0;  // of directories, links and generated files
  uint64_t copied_bytes = 0;     // address space of files that share content
  uint64_t metadata_bytes = 0;   // all that was made, without zeroes
  uint64_t stored_bytes = 0;     // the same, packed
  uint64_t free_bytes = 0;
  bool operator==(const ComposeStatistics&) const = default;
};

struct ComposedImage {
  uint64_t size_bytes = 0;
  repository::ImageIndex metadata;               // without chunks of zeroes: extents leave them out
  std::vector<repository::EncodedChunk> chunks;  // the metadata's, each once
  std::vector<ComposedExtent> extents;           // by range; what none covers is zeroes
  std::vector<predict::Meaning> meanings;        // of the metadata's chunks
  ComposeStatistics statistics;
};

// ERRORS: kInvalid if siblings conflict, naming the paths and both sides; those of merge_trees and
// write_ext4.
Result<ComposedImage> compose(std::span<const ComposeInput> inputs, const ComposeOptions& options);

// Returns the disk's mapping table. metadata and components: the parts, in order.
// ERRORS: kInvalid if they are not those the image was composed of.
Result<MappingTable> map_image(const ComposedImage& image, const ComponentPtr& metadata,
                               std::span<const ComponentPtr> components);

}  // namespace forerun::image
