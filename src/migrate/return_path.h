// What the target of a migration says back to its source: which pages it needs, which it has.
// Strict, as stream_reader.h. A request that the source would not accept (misaligned, beyond its
// block, of an unknown block) makes QEMU pause the migration: it is an error here.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "migrate/known_pages.h"

namespace forerun::migrate {

// "Send me these pages": whole ones of one block.
struct PageRequest {
  uint32_t block = 0;  // index into the stream's blocks
  ByteRange range;     // of at most kRequestBytesMax
  bool operator==(const PageRequest&) const = default;
};
inline constexpr uint64_t kRequestBytesMax = uint32_t{0xfffff000};

// Hears what the return path holds, in its order.
class ReturnPathVisitor {
 public:
  virtual ~ReturnPathVisitor() = default;
  // The target has loaded all, or given up (`status` not 0).
  virtual Status on_shut(uint32_t /*status*/) { return {}; }
  virtual Status on_pong(uint32_t /*value*/) { return {}; }
  virtual Status on_request(const PageRequest&) { return {}; }
  // A bit per page of the block, the first page's lowest: the target has it.
  virtual Status on_received(uint32_t /*block*/, ByteView /*bitmap*/) { return {}; }
  virtual Status on_resumed() { return {}; }
  // Of the oldest references that are not settled so many are now: all there but those of `failed`,
  // which are places among them.
  virtual Status on_known(uint32_t /*taken*/, const std::vector<uint32_t>& /*failed*/) {
    return {};
  }
  // The bytes of each message, right after what was said of it. Requests that do not name their
  // block are not to be passed on beside others: see encode().
  virtual Status on_bytes(ReturnMessage, ByteView) { return {}; }
};

// One thread. Memory: what feed() is given, and the longest bitmap: a byte for 32 KiB of a block.
class ReturnPathReader {
 public:
  explicit ReturnPathReader(ReturnPathVisitor& visitor) : visitor_(visitor) {}

  // The stream's blocks; before them no message of pages is accepted.
  void set_blocks(std::vector<RamBlock> blocks) { blocks_ = std::move(blocks); }
  // Takes the next bytes. ERRORS: kCorrupt, kUnsupported, with the byte where it stands; those of
  // the visitor. After one nothing more may be fed.
  Status feed(ByteView bytes);

 private:
  // Returns how many bytes of `in` it read; 0: more are needed.
  Result<size_t> read_message(ByteView in);
  Result<size_t> read_bitmap(ByteView in, size_t head);
  Status read_request(ByteView data, bool has_name);
  Status read_known(ByteView data);
  Result<uint32_t> block_of(ByteView name) const;

  ReturnPathVisitor& visitor_;
  std::vector<RamBlock> blocks_;
  std::optional<uint32_t> last_block_;  // of a request
  uint64_t position_ = 0;
  Buffer pending_;
};

// Appends a request as the target writes it, with its block's name: so it depends on no other.
// REQUIRES: `request` fits `blocks`.
void encode(const PageRequest& request, const std::vector<RamBlock>& blocks, BigEndianWriter& out);

// Appends a word on references. REQUIRES: at most kKnownAtOnce are taken; `failed` ascends.
void encode_known(uint32_t taken, const std::vector<uint32_t>& failed, BigEndianWriter& out);

}  // namespace forerun::migrate
