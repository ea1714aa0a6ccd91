// What a guest's memory is like, told from a pre-copy that goes nowhere: QEMU's stream is parsed
// and thrown away, and each round says exactly which pages were written since the one before. It
// needs no agent and no kernel feature. How to run one against QEMU: docs/migration_memory.md.
#pragma once

#include <string>
#include <vector>

#include "core/time.h"
#include "migrate/batch_codec.h"
#include "migrate/page_tables.h"
#include "migrate/stream_reader.h"

namespace forerun::migrate {

struct BlockProfile {
  RamBlock block;
  // By page: in how many rounds after the first it came, at most 255.
  std::vector<uint8_t> rounds_written;
  bool operator==(const BlockProfile&) const = default;
};

struct RoundProfile {
  uint64_t pages = 0;
  Nanos took{};
  bool operator==(const RoundProfile&) const = default;
};

struct MemoryProfile {
  std::vector<BlockProfile> blocks;
  std::vector<RoundProfile> rounds;  // those that ended; the first one is of all pages
  uint64_t pages = 0, zero_pages = 0;
  double packed_ratio = 1;  // of pages that are not zero, as zstd's fast level packs a sample
  // Of a page written again: its difference to what it was, over its size, in a sample; 1: unknown.
  double delta_ratio = 1;
  uint64_t delta_samples = 0;

  // Returns how many pages came in at least one round after the first.
  uint64_t written_pages() const;
  // Returns pages written a second, of the last round that ended: each page counts once in it.
  double dirty_pages_per_s() const;
};

// Reads such a stream. One thread. Memory: 2 bytes a page of the guest, and 8 MiB of samples.
class ProfileSink final : public StreamVisitor {
 public:
  struct Options {
    uint32_t rounds = 3;  // that must have ended for it to be enough
    uint64_t ram_bytes_max = uint64_t{1} << 42;
    uint64_t delta_samples_max = 2048;
  };
  ProfileSink() : ProfileSink(Options{}) {}
  explicit ProfileSink(Options options);

  // Takes the next bytes, which came now. ERRORS: those of StreamReader::feed; kTooLarge.
  Status feed(Time now, ByteView bytes);
  // Returns whether the rounds that were to be seen have ended, or QEMU ended the stream: then
  // cancel, and read on until the socket ends.
  bool is_enough() const { return is_complete_ || profile_.rounds.size() >= options_.rounds; }
  // Returns whether QEMU ran to the end of the migration: its guest is stopped, and must be
  // continued.
  bool is_complete() const { return is_complete_; }
  // Returns what was seen, the round that was under way left out.
  MemoryProfile take();

  Status on_blocks(const std::vector<RamBlock>& blocks) override;
  Status on_page(const PageRecord& page) override;
  Status on_memory_end() override;

 private:
  void begin_round();
  void sample(const PageRecord& page, PageKey key);

  const Options options_;
  StreamReader reader_;
  MemoryProfile profile_;
  std::vector<std::vector<bool>> in_round_;
  PageStore samples_;
  BatchPacker packer_;
  Buffer packing_, packed_;
  uint64_t plain_bytes_ = 0, packed_bytes_ = 0, delta_bytes_ = 0;
  RoundProfile round_;
  Time now_{}, round_began_{};
  bool is_complete_ = false;
};

}  // namespace forerun::migrate
