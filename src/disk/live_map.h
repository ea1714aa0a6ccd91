// The block states as the running process has them, in a file that is never flushed: one byte a
// block. It outlives a killed process (the kernel keeps what was written) and is thrown away after
// a power cut, which the boot token tells. Without it, a guest that outlives its server would read
// the image where it had already written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "disk/block_map.h"

namespace forerun::disk {

// Thread-safe for disjoint block ranges: each writer owns the bytes of the blocks that it has
// locked.
class LiveMap {
 public:
  struct Options {
    uint64_t boot_token = 0;  // not 0
    Digest base;
  };
  // Opens `file_name`. Left behind under the same boot token: its states are put into `map`, marked
  // dirty. Otherwise it is begun anew from `map`. ERRORS: kIo, kNoSpace, kCorrupt.
  static Result<std::unique_ptr<LiveMap>> open(StorageFolder& folder, const std::string& file_name,
                                               Options options, BlockMap& map);

  // Notes that blocks [first, end) are in `state`; before the write that made it so is
  // acknowledged.
  Status set(uint64_t first, uint64_t end, BlockState state);

  // Notes that a flush of the data file is under way; cleared only when it succeeded. After a
  // failed one the kernel counts pages as clean that it never wrote, so who finds the mark must
  // write them again.
  Status mark_flush(bool is_under_way);
  // Returns whether the mark was found at the opening.
  bool found_unfinished_flush() const { return found_unfinished_flush_; }

 private:
  explicit LiveMap(std::unique_ptr<StorageFile> file) : file_(std::move(file)) {}
  Status load(BlockMap& map);
  Status begin(ByteView header, const BlockMap& map);

  std::unique_ptr<StorageFile> file_;
  bool found_unfinished_flush_ = false;
};

}  // namespace forerun::disk
