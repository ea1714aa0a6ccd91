// Reads a tar archive from front to back, entry by entry: ustar, PAX and GNU's long names and
// sparse files. The archive comes from outside. Whatever could mean one thing to this reader and
// another to the next is refused, with the entry named; nothing is ever extracted anywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/byte_stream.h"
#include "image/file_tree.h"
#include "image/tar_format.h"
#include "image/tree_limits.h"

namespace forerun::image {

enum class TarWhiteouts {
  kNone,     // names that begin with ".wh." and devices 0:0 are what they are
  kOci,      // ".wh.name" removes "name", ".wh..wh..opq" makes its directory opaque
  kOverlay,  // a character device 0:0 removes its name
};

struct TarLimits {
  uint64_t entries_max = 4'000'000;
  uint64_t content_bytes_max = kComponentDataBytesMax;  // of all files, holes too
  // Holes may add this much, and so many times what the archive holds.
  uint64_t holes_bytes_free = 256 * kMiB;
  uint64_t holes_ratio_max = 250;
  size_t header_bytes_max = 1 * kMiB;  // of a PAX header or a long name
  size_t sparse_runs_max = 100'000;    // of one file
};

struct TarOptions {
  TarWhiteouts whiteouts = TarWhiteouts::kNone;
  bool allow_devices = false;
  TarLimits limits;
};

struct TarEntry {
  enum class Kind { kInode, kHardLink, kWhiteout, kOpaque };
  Kind kind = Kind::kInode;
  std::string path;         // plain: "usr/bin/env", "" for the root
  std::string link_target;  // of a hard link: plain
  TreeInode inode;          // of kInode; a regular file's size is there, its content follows
};

// One thread. After an error only destruction.
class TarReader {
 public:
  TarReader(ByteStream stream, TarOptions options)
      : stream_(std::move(stream)), options_(options) {}

  // Goes to the next entry, past what is left of this one. Returns nothing at the archive's end,
  // which must be there: a block of zeroes, and after it nothing else. ERRORS: those of the stream;
  // kCorrupt (malformed, cut off), kInvalid (refused), kUnsupported, kTooLarge.
  Result<std::optional<TarEntry>> next();
  // Gives the content of the entry that next() returned, holes as zeroes; 0 at its end.
  Result<size_t> read(MutableByteView out);

 private:
  // What headers before an entry say of it.
  struct Extension {
    std::optional<PaxRecords> pax;
    std::optional<std::string> long_name, long_link;  // GNU's
  };

  Result<size_t> fill(MutableByteView out);
  Status skip(uint64_t bytes);
  Status read_block(Buffer& block);
  Result<Buffer> read_body(const TarHeader& header);
  Result<bool> read_extension(const TarHeader& header, Extension& extension);
  Status check_end();
  Result<std::optional<TarEntry>> read_entry(ByteView block, TarHeader header,
                                             Extension& extension);
  Status name_entry(TarHeader& header, Extension& extension, TarEntry& entry);
  Status fill_inode(const TarHeader& header, Extension& extension, TarEntry& entry);
  Status open_content(ByteView block, const TarHeader& header, const Extension& extension,
                      TarEntry& entry);
  Status read_gnu_runs(ByteView block);
  Status read_map(uint64_t& stored);
  Status check_runs(uint64_t stored, uint64_t size);
  Status apply_whiteouts(TarEntry& entry) const;
  Status count(uint64_t size, uint64_t stored);

  const ByteStream stream_;
  const TarOptions options_;
  bool is_done_ = false;
  uint64_t entries_ = 0;
  uint64_t content_bytes_ = 0;
  uint64_t stored_bytes_ = 0;
  // The entry's content: runs of data, what of them was given, and what of the archive belongs to
  // the entry still.
  std::vector<TarRun> runs_;
  size_t run_ = 0;
  uint64_t position_ = 0;
  uint64_t size_ = 0;
  uint64_t stored_left_ = 0;
  uint64_t padding_ = 0;
};

}  // namespace forerun::image
