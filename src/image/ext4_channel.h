// What libext2fs reads an ext4 file system through: one part of a DiskReader, read-only, cached.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "image/disk_reader.h"

struct struct_ext2_filsys;

namespace forerun::image {

// A part of a disk with the last few 64 KiB runs that were read of it: the records of a directory's
// files lie close together, and a compressed disk unpacks a whole cluster for each of them.
// Not thread-safe.
class CachedPart {
 public:
  static constexpr uint64_t kRunSize = 64 * kKiB;
  static constexpr size_t kRunsMax = 64;

  // REQUIRES: `part` lies within the disk, which stays the caller's.
  CachedPart(DiskReader& disk, ByteRange part) : disk_(disk), part_(part) {}
  CachedPart(const CachedPart&) = delete;
  CachedPart& operator=(const CachedPart&) = delete;

  uint64_t size_bytes() const { return part_.length; }
  // Returns where `range` of the part stands on the disk.
  ByteRange on_disk(ByteRange range) const { return {part_.offset + range.offset, range.length}; }

  // Fills `out` from `offset` in the part. ERRORS: kCorrupt if that is outside; those of the disk.
  Status read(uint64_t offset, MutableByteView out);

  // The disk's own error behind the last failed read, which libext2fs would only give a number.
  void keep_error(Error error) { error_ = std::move(error); }
  std::optional<Error> take_error() { return std::exchange(error_, std::nullopt); }

 private:
  struct Run {
    uint64_t index = 0;
    uint64_t last_used = 0;
    Buffer bytes;
  };
  Result<ByteView> run(uint64_t index);

  DiskReader& disk_;
  const ByteRange part_;
  std::vector<Run> runs_;
  uint64_t uses_ = 0;
  std::optional<Error> error_;
};

// Opens the file system in `part`, which must outlive it, with libext2fs's `flags`; returns
// libext2fs's error code. Every write to it fails. Thread-safe for different parts.
long open_file_system(CachedPart& part, int flags, struct_ext2_filsys** file_system);

}  // namespace forerun::image
