// What describes an ext4 file system as a whole: superblock, group descriptors, bitmaps, journal.
#pragma once

#include <cstdint>
#include <vector>

#include "image/ext4_geometry.h"
#include "image/ext4_writer.h"
#include "image/sparse_bytes.h"

namespace forerun::image::ext4 {

// Returns the file system's UUID, and the checksum all its others begin with.
std::array<uint8_t, 16> uuid_of(const Digest& identity);
uint32_t file_system_seed(const Digest& identity);

// Marks blocks as used in the block bitmaps, which stand one after the other on the disk.
void mark_used(SparseBytes& disk, const Geometry& geometry, uint64_t first, uint64_t count);

// Writes inode bitmaps, the checksums of all bitmaps, group descriptors and superblock. The block
// bitmaps must be there. Returns the number of free blocks.
struct InodeUse {
  uint32_t last_inode = 0;                      // all up to it are used
  std::vector<uint32_t> directories_per_group;  // of each group
};
uint64_t write_tables(SparseBytes& disk, const Geometry& geometry, const Ext4Options& options,
                      const InodeUse& inodes);

// Writes the journal's inode and its superblock: an empty journal.
void write_journal(SparseBytes& disk, const Geometry& geometry, const Ext4Options& options);

// Returns the record of inode `number`.
MutableByteView inode_record(SparseBytes& disk, const Geometry& geometry, uint32_t number);

}  // namespace forerun::image::ext4
