// A file system inside a disk, for reading: what stands in it, and where on the disk that is. The
// boot graph walks it (boot_graph.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::image {

enum class FileKind : uint8_t { kRegular, kDirectory, kSymlink, kOther };

using FileId = uint64_t;  // of one file system: ext4's inode number

struct FileInfo {
  FileKind kind = FileKind::kOther;
  uint64_t size_bytes = 0;
};

struct DirectoryEntry {
  std::string name;  // as it stands on the disk: any bytes but '/' and NUL
  FileId file = 0;
};

// Not thread-safe. Nothing in it is trusted: a guest may have written it. Every function returns
// kCorrupt for what breaks the format and kTooLarge for what is over a stated limit; calls after an
// error are allowed.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual FileId root() const = 0;
  virtual Result<FileInfo> info(FileId file) = 0;
  // Returns the entries of a directory without "." and "..", in the order of the disk; at most
  // kDirectoryEntriesMax of them.
  virtual Result<std::vector<DirectoryEntry>> list(FileId directory) = 0;
  // Returns a symbolic link's target, 1 to 4095 bytes.
  virtual Result<std::string> link_target(FileId link) = 0;
  // Returns up to `size` bytes of a regular file from `offset`; fewer at its end. Holes are zeroes.
  virtual Result<Buffer> read(FileId file, uint64_t offset, size_t size) = 0;
  // Returns where the content of a file, directory or long symbolic link stands on the disk, in
  // the order of the content, without holes; empty if it stands in the inode. At most
  // kFileExtentsMax ranges.
  virtual Result<std::vector<ByteRange>> content_ranges(FileId file) = 0;
  // Returns where the file's own record (inode) stands on the disk.
  virtual Result<ByteRange> record_range(FileId file) = 0;
  // Returns what mounting reads: superblock, group descriptors, journal superblock.
  virtual std::vector<ByteRange> mount_ranges() = 0;

  static constexpr size_t kDirectoryEntriesMax = 100'000;
  static constexpr size_t kFileExtentsMax = 10'000;
};

}  // namespace forerun::image
