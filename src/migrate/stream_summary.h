// What a forward stream holds, for those who look at one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "migrate/stream_reader.h"

namespace forerun::migrate {

struct BlockSummary {
  RamBlock block;
  uint64_t pages = 0;       // sent with data
  uint64_t zero_pages = 0;  // sent as one byte
  uint64_t again = 0;       // of both, those that had come before: the guest wrote meanwhile
  uint64_t discarded = 0;   // pages that the target drops at the switch to post-copy
};

inline constexpr uint64_t kSummaryRamBytesMax = uint64_t{4} << 40;

// One thread. Memory: two bits a page of the guest; kTooLarge for a guest of more than
// kSummaryRamBytesMax.
class StreamSummary final : public StreamVisitor {
 public:
  Status on_machine(std::string_view name) override;
  Status on_command(Command command, ByteView data) override;
  Status on_blocks(const std::vector<RamBlock>& blocks) override;
  Status on_page(const PageRecord& page) override;
  Status on_discard(uint32_t block, const ByteRange& range) override;
  Status on_bytes(Piece piece, ByteView bytes) override;

  const std::string& machine() const { return machine_; }
  const std::vector<BlockSummary>& blocks() const { return blocks_; }
  bool is_postcopy() const { return is_postcopy_; }
  uint64_t device_bytes() const { return device_bytes_; }
  uint64_t bytes() const { return bytes_; }
  // Rounds of pre-copy: one begins where a page of the round comes again. 0: no page came.
  uint32_t rounds() const { return rounds_; }

 private:
  struct Pages {
    std::vector<bool> ever, in_round;
  };
  std::string machine_;
  std::vector<BlockSummary> blocks_;
  std::vector<Pages> pages_;
  bool is_postcopy_ = false;
  uint64_t device_bytes_ = 0, bytes_ = 0;
  uint32_t rounds_ = 0;
};

}  // namespace forerun::migrate
