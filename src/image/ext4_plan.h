// What of a merged tree needs how many blocks, before it is known where they stand.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "image/ext4_records.h"
#include "image/tree_merge.h"

namespace forerun::image::ext4 {

inline constexpr uint32_t kRootInode = 2;
inline constexpr uint32_t kJournalInode = 8;
inline constexpr uint32_t kFirstInode = 11;  // that is not reserved: lost+found
inline constexpr uint32_t kAbsent = UINT32_MAX;
inline constexpr std::string_view kLostAndFound = "lost+found";

// Runs of blocks that get their place on the disk one after the other.
struct Places {
  uint32_t component_count = 0;
  uint32_t of_component(uint32_t component) const { return component; }
  uint32_t copies() const { return component_count; }
  uint32_t generated() const { return component_count + 1; }  // directories, content, …
  uint32_t count() const { return component_count + 2; }
};

struct PlannedRun {
  Run run;  // run.physical counts from the begin of its place
  uint32_t place = 0;
};

struct PlannedInode {
  uint32_t number = 0;
  uint32_t first_run = 0, run_count = 0;  // of its content, in Plan::runs
  uint32_t content_blocks = 0;
  uint32_t first_extent_block = kAbsent;  // in the generated place
  uint32_t extent_block_count = 0;
  uint32_t xattrs = kAbsent;       // index into Plan::xattrs
  uint32_t xattr_block = kAbsent;  // in the generated place
  uint32_t directory = kAbsent;    // index into Plan::directories
};

struct PlannedDirectory {
  uint32_t inode = 0;            // in the tree
  uint32_t parent = 0;           // index into directories
  uint32_t last_block_used = 0;  // bytes of the last block
  uint32_t block_count = 1;
  uint32_t subdirectory_count = 0;
  uint32_t first_block = 0;  // in the generated place
};

// A bit for each block of a component's data: whether a file of the disk has it.
using BlockSet = std::vector<uint64_t>;

// A run of a component's data that a second file uses.
struct CopiedRun {
  uint32_t component = 0;
  uint32_t component_block = 0;
  uint32_t first_block = 0;  // in the copies' place
  uint32_t count = 0;
};

struct Plan {
  Places places;
  std::vector<PlannedInode> inodes;  // as the tree's
  std::vector<PlannedRun> runs;
  std::vector<PlannedDirectory> directories;  // [0] is the root
  std::vector<XattrRecords> xattrs;
  std::vector<BlockSet> used;  // by component
  std::vector<CopiedRun> copies;
  uint32_t last_inode = kFirstInode;
  bool has_lost_and_found = false;    // in the tree; else it is made
  uint32_t lost_and_found_block = 0;  // if made: in the generated place
  std::vector<uint64_t> blocks;       // by place
};

// ERRORS: as write_ext4.
Result<Plan> plan_tree(const MergedTree& tree, std::span<const uint64_t> component_sizes);

}  // namespace forerun::image::ext4
