// Where the partitions of a disk stand, and which hold an ext4 file system.
// SOURCE: UEFI specification 2.10, section 5 (GPT); the MBR as util-linux and the kernel read it.
#pragma once

#include <vector>

#include "image/disk_reader.h"

namespace forerun::image {

inline constexpr size_t kPartitionsMax = 1024;  // of a GPT; 4 + 128 of an MBR

// Returns the partitions of `disk` in the order of its table: the primary GPT, else the MBR (its
// four, then the logical ones); empty if there is no table. Sectors have 512 bytes.
// ERRORS: kCorrupt for a table whose checksum is wrong, or whose partitions overlap or leave the
// disk; kTooLarge for more partitions than the limits; those of the disk.
Result<std::vector<ByteRange>> find_partitions(DiskReader& disk);

// Returns where ext2, ext3 and ext4 file systems seem to stand: the whole disk, else the partitions
// that begin as one does. ERRORS: as find_partitions.
Result<std::vector<ByteRange>> find_ext4_parts(DiskReader& disk);

}  // namespace forerun::image
