// Byte ranges and the buffers that hold them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace forerun {

using Buffer = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
using MutableByteView = std::span<std::byte>;

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// [offset, offset + length), in bytes.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;

  uint64_t end() const { return offset + length; }
  bool empty() const { return length == 0; }
  bool overlaps(const ByteRange& other) const {
    return offset < other.end() && other.offset < end();
  }
  bool operator==(const ByteRange&) const = default;
};

// Returns the common part; length 0 if there is none.
inline ByteRange intersect(const ByteRange& a, const ByteRange& b) {
  const uint64_t begin = std::max(a.offset, b.offset);
  const uint64_t end = std::min(a.end(), b.end());
  return end > begin ? ByteRange{begin, end - begin} : ByteRange{begin, 0};
}

// Returns whether offset + length neither wraps nor passes `size`.
inline bool fits(const ByteRange& range, uint64_t size) {
  return range.offset <= size && range.length <= size - range.offset;
}

inline uint64_t round_down(uint64_t value, uint64_t unit) { return value - value % unit; }
inline uint64_t round_up(uint64_t value, uint64_t unit) {
  return round_down(value + unit - 1, unit);
}

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Returns whether every byte is zero.
inline bool all_zero(ByteView bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::equal(bytes.begin() + 1, bytes.end(), bytes.begin()));
}

}  // namespace forerun
