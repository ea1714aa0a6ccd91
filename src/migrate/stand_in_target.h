// Plays the target of a post-copy whose guest never ran there: takes what the source's QEMU still
// sends, throws it away, and says that all arrived. The source has all of the guest's memory then,
// and a migration that is "completed", after which the guest can be continued. QEMU 7.2 has no
// other safe way back: cancelled in post-copy, it may wait for good.
// SOURCE: QEMU 7.2, migration/migration.c (postcopy_pause, source_return_path_thread), ram.c
// (ram_dirty_bitmap_reload); docs/devel/migration.rst, "Recovery".
#pragma once

#include <vector>

#include "migrate/ram_blocks.h"

namespace forerun::migrate {

// Knows the end of a post-copy's stream when it has come: the footer of the memory's last section,
// and the end mark. One thread. Pages may hold the same bytes: ask when nothing more comes.
class StreamTail {
 public:
  void feed(ByteView bytes);
  bool is_end() const;
  uint64_t bytes() const { return bytes_; }  // fed so far

 private:
  // Eight bytes that end the section's pages, the footer, its section, the end mark.
  static constexpr size_t kEndBytes = 8 + 1 + 4 + 1;
  std::array<std::byte, kEndBytes> last_{};
  uint64_t bytes_ = 0;
};

// Appends the target's word that it has all.
void write_all_arrived(Buffer& out);

// For a stream that is resumed after a cut: the source asks what the target has, and is told that
// it has all. One thread. Memory: what feed() is given, until the resuming is over.
class StandInTarget {
 public:
  // REQUIRES: `blocks` are the guest's, of which QEMU will ask.
  explicit StandInTarget(std::vector<RamBlock> blocks) : blocks_(std::move(blocks)) {}

  // Takes the next bytes of the stream; appends to `answer` what the target says to them. ERRORS:
  // kCorrupt: a block that there is not; kUnsupported: something else than is asked in a resuming.
  Status feed(ByteView stream, Buffer& answer);
  // Returns whether all has come: then write_all_arrived().
  bool is_at_end() const { return is_resumed_ && tail_.is_end(); }

 private:
  // Returns how many bytes of `in` it read; 0: more are needed.
  Result<size_t> read_command(ByteView in, BigEndianWriter& answer);

  const std::vector<RamBlock> blocks_;
  Buffer pending_;
  bool is_resumed_ = false;
  StreamTail tail_;
};

}  // namespace forerun::migrate
