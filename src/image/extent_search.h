// Which of a million sorted offsets is the last at or before x: a static B-tree that fits caches.
//
// The offsets are kept as 31-bit numbers of a common unit, sixteen to a cache line. The bottom
// level is all of them in order; each level above holds the first of every sixteen below, so the
// path needs no pointers: the children of key i are keys 16·i … 16·i + 15 of the next level. A
// look-up compares one line per level at once: 5 lines for a million offsets, where a binary search
// takes 20 steps. SOURCE: Khuong and Morin, "Array layouts for comparison-based searching" (2017),
// and Slotin, "Static B-trees" (Algorithms for Modern Hardware); here the inner levels repeat keys
// (fan-out 16, not 17), so that a position is a plain number.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace forerun::image {

// What of the processor a search uses. The answers are the same.
enum class SearchKind : uint8_t { kPortable, kAvx2, kAvx512 };
bool is_supported(SearchKind kind);  // by this processor
SearchKind best_search_kind();
const char* search_kind_name(SearchKind kind);

// Immutable after construction; thread-safe.
class ExtentSearch {
 public:
  static constexpr uint64_t kOffsetMax = uint64_t{1} << 62;
  static constexpr size_t kCountMax = size_t{1} << 31;

  ExtentSearch() = default;  // of no offsets
  // REQUIRES: `offsets` ascend, are ≤ kOffsetMax and at most kCountMax; is_supported(kind).
  explicit ExtentSearch(std::span<const uint64_t> offsets, SearchKind kind = best_search_kind());

  size_t size() const { return size_; }
  // Returns offset number i. REQUIRES: i < size().
  uint64_t operator[](size_t i) const {
    const uint64_t unit = static_cast<uint32_t>(keys()[i]);
    return (unit << shift_) + (remainders_.empty() ? 0 : remainders_[i]);
  }
  // Returns how many of the offsets are ≤ `offset`, as std::upper_bound's distance from the start.
  size_t rank(uint64_t offset) const;
  // The same for many offsets that do not wait for each other: several times the look-ups per
  // second, for their cache misses overlap. REQUIRES: ranks.size() == offsets.size().
  void rank(std::span<const uint64_t> offsets, std::span<uint32_t> ranks) const;

  // 4.27 bytes per offset, and up to 1 KiB; 8.27 where kept remainders are needed: offsets that
  // share no unit in which the last is below 2^31 (of 1 TiB: those that are no multiple of 512).
  size_t memory_bytes() const;

 private:
  static constexpr size_t kFanOut = 16;
  static constexpr size_t kLevelsMax = 8;  // 16^8 = 2^32
  struct alignas(64) Node {
    std::array<int32_t, kFanOut> keys;
  };
  struct Kernel;

  const int32_t* keys() const { return nodes_[level_begin_[level_count_ - 1]].keys.data(); }
  int32_t key_of(uint64_t offset) const;
  void build_levels(std::span<const uint64_t> offsets);
  size_t rank_by_remainder(uint64_t offset) const;

  size_t size_ = 0;
  uint32_t shift_ = 0;                              // the unit is 2^shift_ bytes
  uint32_t level_count_ = 0;                        // 0 if there are no offsets
  std::array<uint32_t, kLevelsMax> level_begin_{};  // in nodes_, the root first
  std::vector<Node> nodes_;
  std::vector<uint32_t> remainders_;  // offset modulo the unit; empty if all are zero
  const Kernel* kernel_ = nullptr;
};

}  // namespace forerun::image
