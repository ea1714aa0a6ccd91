// What an export serves: a disk of bytes. Implemented by the daemon's served disk; by fakes in
// tests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::disk {

// The answer to a read, as slices that may point straight into shared chunks; `owners` and
// `buffers` keep them alive. Reuse one per connection: clear() keeps the capacity.
struct ReadSlices {
  std::vector<ByteView> slices;  // in order; together exactly the range that was read
  std::vector<std::shared_ptr<const void>> owners;
  std::vector<Buffer> buffers;
  std::vector<Buffer> spares;  // buffers that add_buffer may use again

  struct Mark {
    size_t slices = 0, owners = 0, buffers = 0;
  };
  Mark mark() const { return {slices.size(), owners.size(), buffers.size()}; }
  // Takes back what was appended since `mark`.
  void roll_back(const Mark& mark) {
    slices.resize(mark.slices);
    owners.resize(mark.owners);
    while (buffers.size() > mark.buffers) {
      if (spares.size() < kSparesMax && buffers.back().capacity() <= kSpareBytesMax) {
        spares.push_back(std::move(buffers.back()));
      }
      buffers.pop_back();
    }
  }
  void clear() { roll_back({}); }
  // Returns a buffer of `size` bytes, kept until clear(); what is in it is left from before.
  Buffer& add_buffer(size_t size) {
    if (spares.empty()) return buffers.emplace_back(size);
    buffers.push_back(std::move(spares.back()));
    spares.pop_back();
    buffers.back().resize(size);
    return buffers.back();
  }

  static constexpr size_t kSparesMax = 16;
  static constexpr size_t kSpareBytesMax = 128 * 1024;
};

struct StatusExtent {
  uint64_t length = 0;
  bool is_hole = false;  // not allocated
  bool is_zero = false;  // reads as zeroes
  bool operator==(const StatusExtent&) const = default;
};

// Thread-safe. Ranges are checked by the caller: REQUIRES fits(range, size_bytes()). Any alignment
// is allowed. A read that runs beside a write of the same bytes may see either.
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  virtual uint64_t size_bytes() const = 0;
  virtual bool is_read_only() const = 0;

  // A client asked to read or write this range: said once for each request, before the calls that
  // answer it, which may be several. Must return at once.
  virtual void on_request(bool /*is_write*/, ByteRange /*range*/) noexcept {}

  // Appends the data of `range` and returns true if nothing has to be waited for (memory, overlay,
  // zeroes); otherwise leaves `out` as it was and returns false. ERRORS: kIo.
  virtual Result<bool> try_read(ByteRange range, ReadSlices& out) = 0;
  // Appends the data of `range`, waiting for what is missing. ERRORS: kIo, kUnavailable, kCorrupt:
  // the client gets EIO.
  virtual Status read(ByteRange range, ReadSlices& out) = 0;
  // With `fua`, the data is durable on return. ERRORS: kNoSpace → ENOSPC; others → EIO.
  virtual Status write(uint64_t offset, ByteView data, bool fua) = 0;
  virtual Status write_zeroes(ByteRange range, bool may_punch, bool fua) = 0;
  // The range's content is then undefined to the guest; here it reads as zeroes.
  virtual Status trim(ByteRange range, bool fua) = 0;
  // Makes durable every write that completed before the call, on any connection.
  virtual Status flush() = 0;
  // Appends extents that cover `range` from its start; at most `extents_max` of them, at least one.
  virtual Status block_status(ByteRange range, size_t extents_max,
                              std::vector<StatusExtent>& out) = 0;
};

}  // namespace forerun::disk
