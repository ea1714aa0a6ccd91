#include "image/extent_search.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/result.h"

namespace forerun::image {
namespace {

// Pads the last node of a level: greater than every key and every query. Keys are signed because
// AVX2 compares only signed numbers.
constexpr int32_t kPadding = INT32_MAX;
constexpr int32_t kKeyMax = kPadding - 1;
constexpr uint32_t kShiftMax = 62;
// Look-ups that walk down together. Enough to hide a miss of the last-level cache; more gain
// nothing (bench/map).
constexpr size_t kTogether = 32;

// The code is written once, over vectors of one cache line, and compiled per kind of processor:
// everything below is inlined into functions that name their target.
#define FR_INLINE [[gnu::always_inline]] inline
#if defined(__x86_64__)
#define FR_TARGET(...) [[gnu::target(__VA_ARGS__)]]
#endif

// Returns how many of the 16 numbers at `keys`, a cache line, are ≤ `key`.
FR_INLINE uint32_t count_at_most(const int32_t* keys, int32_t key) {
#if defined(__clang__)
  using Line = int32_t __attribute__((ext_vector_type(16)));
  using Hits = bool __attribute__((ext_vector_type(16)));
  const auto* line = reinterpret_cast<const Line*>(__builtin_assume_aligned(keys, 64));
  const Hits hits = __builtin_convertvector(*line <= key, Hits);
  uint16_t bits = 0;
  std::memcpy(&bits, &hits, sizeof bits);
  return static_cast<uint32_t>(__builtin_popcount(bits));
#else
  uint32_t count = 0;
  for (int i = 0; i < 16; ++i) count += keys[i] <= key;
  return count;
#endif
}

// The levels as a kernel sees them.
struct Levels {
  const int32_t* keys;          // the root's; each level begins at a multiple of 16
  const uint32_t* level_begin;  // in nodes
  uint32_t count;

  FR_INLINE const int32_t* node(uint32_t level, size_t number) const {
    return keys + (level_begin[level] + number) * 16;
  }
};

FR_INLINE size_t descend(const Levels& levels, int32_t key) {
  size_t node = 0;
  const uint32_t bottom = levels.count - 1;
  for (uint32_t level = 0; level < bottom; ++level) {
    // At least 1: the parent's key is this node's first.
    node = node * 16 + count_at_most(levels.node(level, node), key) - 1;
  }
  return node * 16 + count_at_most(levels.node(bottom, node), key);
}

// Walks down for kTogether keys level by level, asking for each next line as soon as it is known.
FR_INLINE void descend_together(const Levels& levels, const int32_t* keys, uint32_t* ranks) {
  std::array<uint32_t, kTogether> nodes{};
  const uint32_t bottom = levels.count - 1;
  for (uint32_t level = 0; level < bottom; ++level) {
    for (size_t i = 0; i < kTogether; ++i) {
      nodes[i] = nodes[i] * 16 + count_at_most(levels.node(level, nodes[i]), keys[i]) - 1;
      __builtin_prefetch(levels.node(level + 1, nodes[i]));
    }
  }
  for (size_t i = 0; i < kTogether; ++i) {
    ranks[i] = nodes[i] * 16 + count_at_most(levels.node(bottom, nodes[i]), keys[i]);
  }
}

size_t one_portable(const Levels& levels, int32_t key) { return descend(levels, key); }
void many_portable(const Levels& levels, const int32_t* keys, uint32_t* ranks) {
  descend_together(levels, keys, ranks);
}
#if defined(__x86_64__)
FR_TARGET("avx2,popcnt") size_t one_avx2(const Levels& levels, int32_t key) {
  return descend(levels, key);
}
FR_TARGET("avx2,popcnt")
void many_avx2(const Levels& levels, const int32_t* keys, uint32_t* ranks) {
  descend_together(levels, keys, ranks);
}
FR_TARGET("avx512f,popcnt") size_t one_avx512(const Levels& levels, int32_t key) {
  return descend(levels, key);
}
FR_TARGET("avx512f,popcnt")
void many_avx512(const Levels& levels, const int32_t* keys, uint32_t* ranks) {
  descend_together(levels, keys, ranks);
}
#endif

}  // namespace

struct ExtentSearch::Kernel {
  size_t (*one)(const Levels& levels, int32_t key);
  void (*many)(const Levels& levels, const int32_t* keys, uint32_t* ranks);

  static const Kernel* of(SearchKind kind) {
    static constexpr Kernel kPortable{one_portable, many_portable};
#if defined(__x86_64__)
    static constexpr Kernel kAvx2{one_avx2, many_avx2};
    static constexpr Kernel kAvx512{one_avx512, many_avx512};
    if (kind == SearchKind::kAvx2) return &kAvx2;
    if (kind == SearchKind::kAvx512) return &kAvx512;
#endif
    return &kPortable;
  }
};

bool is_supported(SearchKind kind) {
#if defined(__x86_64__)
  if (kind == SearchKind::kAvx2)
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  if (kind == SearchKind::kAvx512)
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("popcnt") != 0;
#endif
  return kind == SearchKind::kPortable;
}

SearchKind best_search_kind() {
  if (is_supported(SearchKind::kAvx512)) return SearchKind::kAvx512;
  return is_supported(SearchKind::kAvx2) ? SearchKind::kAvx2 : SearchKind::kPortable;
}

const char* search_kind_name(SearchKind kind) {
  switch (kind) {
    case SearchKind::kPortable:
      return "portable";
    case SearchKind::kAvx2:
      return "avx2";
    case SearchKind::kAvx512:
      return "avx512";
  }
  return "unknown";
}

ExtentSearch::ExtentSearch(std::span<const uint64_t> offsets, SearchKind kind)
    : size_(offsets.size()), kernel_(Kernel::of(kind)) {
  FR_ASSERT(is_supported(kind));
  FR_ASSERT(size_ <= kCountMax);
  FR_ASSERT(std::ranges::is_sorted(offsets));
  if (offsets.empty()) return;
  FR_ASSERT(offsets.back() <= kOffsetMax);
  uint64_t bits = 0;
  for (const uint64_t offset : offsets) bits |= offset;
  // The largest unit that divides them all; if that is too small for 31 bits, the smallest that is
  // not.
  shift_ = std::min<uint32_t>(static_cast<uint32_t>(std::countr_zero(bits)), kShiftMax);
  if (offsets.back() >> shift_ > kKeyMax) {
    while (offsets.back() >> shift_ > kKeyMax) ++shift_;
    const uint64_t mask = (uint64_t{1} << shift_) - 1;
    remainders_.reserve(size_);
    for (const uint64_t offset : offsets)
      remainders_.push_back(static_cast<uint32_t>(offset & mask));
  }
  build_levels(offsets);
}

void ExtentSearch::build_levels(std::span<const uint64_t> offsets) {
  std::array<size_t, kLevelsMax> node_counts{};  // from the bottom
  size_t nodes = (size_ + kFanOut - 1) / kFanOut;
  size_t total = nodes;
  node_counts[level_count_++] = nodes;
  while (nodes > 1) {
    nodes = (nodes + kFanOut - 1) / kFanOut;
    node_counts[level_count_++] = nodes;
    total += nodes;
  }
  nodes_.resize(total);
  for (Node& node : nodes_) node.keys.fill(kPadding);
  for (size_t level = level_count_, begin = 0; level > 0; --level) {
    level_begin_[level_count_ - level] = static_cast<uint32_t>(begin);
    begin += node_counts[level - 1];
  }
  int32_t* bottom = nodes_[level_begin_[level_count_ - 1]].keys.data();
  for (size_t i = 0; i < size_; ++i) bottom[i] = static_cast<int32_t>(offsets[i] >> shift_);
  for (uint32_t level = level_count_ - 1; level > 0; --level) {
    const Node* below = &nodes_[level_begin_[level]];
    int32_t* above = nodes_[level_begin_[level - 1]].keys.data();
    for (size_t i = 0; i < node_counts[level_count_ - 1 - level]; ++i) above[i] = below[i].keys[0];
    above[0] = INT32_MIN;  // what lies before the first offset goes to the first node too
  }
}

int32_t ExtentSearch::key_of(uint64_t offset) const {
  return static_cast<int32_t>(std::min<uint64_t>(offset >> shift_, kKeyMax));
}

size_t ExtentSearch::rank(uint64_t offset) const {
  if (size_ == 0) return 0;
  if (!remainders_.empty()) return rank_by_remainder(offset);
  return kernel_->one({nodes_[0].keys.data(), level_begin_.data(), level_count_}, key_of(offset));
}

// Offsets of one unit have equal keys and lie side by side; their remainders tell them apart.
size_t ExtentSearch::rank_by_remainder(uint64_t offset) const {
  const Levels levels{nodes_[0].keys.data(), level_begin_.data(), level_count_};
  const uint64_t unit = offset >> shift_;
  if (unit > kKeyMax) return size_;
  const auto key = static_cast<int32_t>(unit);
  const auto begin = remainders_.begin();
  const auto first = begin + static_cast<ptrdiff_t>(key == 0 ? 0 : kernel_->one(levels, key - 1));
  const auto last = begin + static_cast<ptrdiff_t>(kernel_->one(levels, key));
  const uint64_t remainder = offset & ((uint64_t{1} << shift_) - 1);
  return static_cast<size_t>(std::upper_bound(first, last, remainder) - begin);
}

void ExtentSearch::rank(std::span<const uint64_t> offsets, std::span<uint32_t> ranks) const {
  FR_ASSERT(offsets.size() == ranks.size());
  size_t done = 0;
  if (size_ != 0 && remainders_.empty()) {
    const Levels levels{nodes_[0].keys.data(), level_begin_.data(), level_count_};
    std::array<int32_t, kTogether> keys;
    for (; done + kTogether <= offsets.size(); done += kTogether) {
      for (size_t i = 0; i < kTogether; ++i) keys[i] = key_of(offsets[done + i]);
      kernel_->many(levels, keys.data(), ranks.data() + done);
    }
  }
  for (; done < offsets.size(); ++done) ranks[done] = static_cast<uint32_t>(rank(offsets[done]));
}

size_t ExtentSearch::memory_bytes() const {
  return nodes_.size() * sizeof(Node) + remainders_.size() * sizeof(uint32_t);
}

}  // namespace forerun::image
