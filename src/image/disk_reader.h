// A disk to import, as a run of bytes, whatever file format holds it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::image {

// Thread-safe if the StorageFile behind it is.
class DiskReader {
 public:
  virtual ~DiskReader() = default;
  // Returns the disk's size: a multiple of 512, at least 512, at most repository::kImageSizeMax.
  virtual uint64_t size_bytes() const = 0;
  // Fills `out` from `offset`. REQUIRES: the range lies within the disk. ERRORS: kIo, kCorrupt.
  virtual Status read(uint64_t offset, MutableByteView out) = 0;
  // Returns whether `range` is known to be zeroes without reading it; false may also mean "not
  // known".
  virtual bool known_zero(ByteRange range) = 0;
};

enum class DiskFormat { kRaw, kQcow2 };
std::string_view disk_format_name(DiskFormat format);
// ERRORS: kInvalid, naming the formats there are.
Result<DiskFormat> parse_disk_format(std::string_view name);

// Opens the disk in `file`, which stays the caller's. The format is never guessed from content,
// which a guest may have written: it is what `format` says, else qcow2 if `file_name` ends in
// ".qcow2", else raw. A file that is raw by default but begins as a qcow2 file does is refused
// until the caller names a format. ERRORS: kInvalid (a wrong size, an unnamed format), and those of
// Qcow2Reader::open.
Result<std::unique_ptr<DiskReader>> open_disk(StorageFile& file, std::string_view file_name,
                                              std::optional<DiskFormat> format);

}  // namespace forerun::image
