// The blocks of a guest's memory as a migration stream names them, and the records of their pages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/big_endian.h"
#include "core/bytes.h"
#include "core/result.h"
#include "migrate/stream_format.h"

namespace forerun::migrate {

inline constexpr size_t kRamBlocksMax = 1024;
inline constexpr uint64_t kRamBytesMax = uint64_t{1} << 46;

struct RamBlock {
  std::string name;         // 1 to 255 bytes: "pc.ram"
  uint64_t used_bytes = 0;  // a multiple of 4096; pages beyond it are not the guest's
  bool operator==(const RamBlock&) const = default;
};

// Returns the index of the block of that name, if there is one.
std::optional<uint32_t> find_block(const std::vector<RamBlock>& blocks, std::string_view name);

// One page as it travels.
struct PageRecord {
  uint32_t block = 0;   // index into the stream's blocks
  uint64_t offset = 0;  // bytes, a multiple of 4096, in the block
  ByteView data;        // 4096 bytes; empty: all bytes are `fill`
  std::byte fill{0};
};

// Reads records of pages, one after the other, whose block may be that of the record before: that
// holds over the sections of a stream.
class PageRecordReader {
 public:
  // A record that was read whole, or none yet.
  struct Read {
    size_t bytes = 0;                // 0: more are needed
    std::optional<PageRecord> page;  // none: the records of this section end here
  };
  // Reads one record from the beginning of `in`; `page.data` points into it. ERRORS: kCorrupt: an
  // unknown block, a page outside of it; kUnsupported: a record of a kind that is not read.
  Result<Read> read(ByteView in, const std::vector<RamBlock>& blocks);

 private:
  Result<uint32_t> block_of(std::string_view name, const std::vector<RamBlock>& blocks) const;

  std::optional<uint32_t> last_block_;
};

// The longest record.
inline constexpr size_t kPageRecordBytesMax = 8 + 1 + 255 + kPageBytes;

}  // namespace forerun::migrate
