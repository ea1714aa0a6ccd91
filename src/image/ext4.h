// ext2, ext3 and ext4 file systems, read-only, over libext2fs: its structures and checksums are
// ext4's reference. What libext2fs leaves unbounded (extent trees that meet themselves, directories
// without end) is bounded here.
//
// The image of a running system has a journal that was not replayed. It is read as it stands: at
// worst a file made in the last seconds is missing. Checksums are then not held against it, because
// a block can be newer than the one that vouches for it; bounds are always checked.
//
// Reads: extents and block maps, inline data, 1 to 64 KiB blocks, bigalloc, meta_bg, 64bit.
// Refuses: encrypted directories and links (kUnsupported), external journals' own disks, features
// libext2fs does not know, big-endian and larger than its part.
#pragma once

#include <memory>

#include "image/disk_reader.h"
#include "image/file_system.h"

namespace forerun::image {

// Opens the file system in `part` of `disk`, which stays the caller's. Every range it returns is of
// the whole disk, inside `part`. A file's last range ends where the file does; unwritten extents
// are holes. One read() returns at most 256 MiB.
// ERRORS: kInvalid if no such file system stands there; kCorrupt, kUnsupported, kTooLarge, kIo.
Result<std::unique_ptr<FileSystem>> open_ext4(DiskReader& disk, ByteRange part);

}  // namespace forerun::image
