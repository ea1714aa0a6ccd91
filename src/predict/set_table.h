// What a model keeps per context, in sets of few entries that lie together: a look-up reads one
// set and no more, and a new entry takes the place of its set's least worth. An entry is known by a
// hash of its context; two contexts that meet in one only make a prediction worse.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/codec.h"
#include "core/result.h"
#include "predict/block_table.h"

namespace forerun::predict {

// Returns a hash of a place, never 0.
inline uint32_t hash_of(const BlockKey& key) {
  uint64_t mixed =
      (key.block + 0x9e3779b97f4a7c15 * (key.component.value + 1)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ mixed >> 31) * 0x94d049bb133111eb;
  return static_cast<uint32_t>(mixed >> 32) | 1;
}

// … of two places, one after the other.
inline uint32_t hash_of(uint32_t first, uint32_t second) {
  const uint64_t mixed = (uint64_t{first} << 32 | second) * 0x9e3779b97f4a7c15;
  return static_cast<uint32_t>((mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9 >> 32) | 1;
}

// A request foreseen, in eight bytes: where it begins, its length, how often it was seen.
class PackedRun {
 public:
  static constexpr uint64_t kBlockMax = (uint64_t{1} << 40) - 1;  // others are not kept
  static constexpr uint32_t kCountMax = 255;
  PackedRun() = default;
  PackedRun(uint64_t block, uint32_t block_count, uint32_t count)
      : bits_(block << 24 | std::min(block_count, uint32_t{0xffff}) << 8 | count) {}

  uint64_t block() const { return bits_ >> 24; }
  uint32_t block_count() const { return static_cast<uint32_t>(bits_ >> 8 & 0xffff); }
  uint32_t count() const { return static_cast<uint32_t>(bits_ & 0xff); }  // 0: none
  bool is(uint64_t block) const { return bits_ >> 24 == block && count() > 0; }
  // The saved form; a run that was never seen has none.
  uint64_t bits() const { return count() == 0 ? 0 : bits_; }
  // Returns whether `bits` are some run's, which then this is.
  bool set_bits(uint64_t bits) {
    bits_ = bits;
    return bits == 0 || (count() > 0 && block_count() > 0);
  }
  void set_count(uint32_t count) { bits_ = (bits_ & ~uint64_t{0xff}) | count; }

 private:
  uint64_t bits_ = 0;
};

// `Entry` has `uint32_t hash` (0: free), `uint16_t used_at` (any clock that goes on), and `uint16_t
// worth() const`: by how many ticks of that clock it outlives others. One thread. Holds at most
// entries_max; doubles its room as it grows.
template <typename Entry, size_t kWays>
class SetTable {
 public:
  explicit SetTable(size_t entries_max)
      : sets_max_(std::max<size_t>(1, std::bit_floor(entries_max / kWays))),
        sets_(std::min(sets_max_, kFirstSets)) {}

  size_t size() const { return size_; }
  size_t entries_max() const { return sets_max_ * kWays; }
  size_t state_bytes() const { return sets_.capacity() * sizeof(Set); }
  void prefetch(uint32_t hash) const {
    const auto* set = reinterpret_cast<const std::byte*>(&sets_[index(hash)]);
    for (size_t at = 0; at < sizeof(Set); at += kLine) __builtin_prefetch(set + at);
  }

  // Returns the entry, or null. Valid until the next insert.
  Entry* find(uint32_t hash) {
    for (Entry& one : sets_[index(hash)].entries)
      if (one.hash == hash) return &one;
    return nullptr;
  }
  const Entry* find(uint32_t hash) const { return const_cast<SetTable*>(this)->find(hash); }

  // Returns the entry; if there was none, a fresh one, `now` on that clock.
  Entry& insert(uint32_t hash, uint16_t now) {
    if (Entry* known = find(hash)) return *known;
    while (is_full(sets_[index(hash)]) && sets_.size() < sets_max_ &&
           size_ * 8 > sets_.size() * kWays)
      grow();
    return place(hash, now);
  }

  void clear() {
    sets_.assign(std::min(sets_max_, kFirstSets), {});
    size_ = 0;
  }
  // Calls `each` with every entry.
  template <typename Each>
  void for_each(const Each& each) const {
    for (const Set& set : sets_)
      for (const Entry& one : set.entries)
        if (one.hash != 0) each(one);
  }

  // The saved form: number of sets, number of entries, and each entry, set by set: its hash, when
  // it was used, and what `put` writes.
  template <typename Put>
  void save(ByteWriter& out, const Put& put) const {
    out.u32(static_cast<uint32_t>(sets_.size()));
    out.u32(static_cast<uint32_t>(size_));
    for_each([&](const Entry& one) {
      out.u32(one.hash);
      out.u16(one.used_at);
      put(out, one);
    });
  }
  // Reads it in the place of all that is here. `take` reads what `put` wrote. ERRORS: kCorrupt;
  // kTooLarge for more sets than here may be; of `take`. The table is then as it was.
  template <typename Take>
  Status restore(ByteReader& in, const Take& take);

 private:
  static constexpr size_t kLine = 64;  // of the processor's cache
  static constexpr size_t kFirstSets = 512;
  struct alignas(64) Set {
    std::array<Entry, kWays> entries{};
  };

  static bool is_full(const Set& set) {
    return std::ranges::all_of(set.entries, [](const Entry& one) { return one.hash != 0; });
  }
  size_t index(uint32_t hash) const { return hash >> 1 & (sets_.size() - 1); }

  Entry& place(uint32_t hash, uint16_t now) {
    Entry* least = nullptr;
    int32_t least_left = 0;
    for (Entry& one : sets_[index(hash)].entries) {
      if (one.hash == 0) {
        ++size_;
        least = &one;
        break;
      }
      const int32_t left =
          one.worth() - static_cast<int32_t>(static_cast<uint16_t>(now - one.used_at));
      if (least && left >= least_left) continue;
      least = &one;
      least_left = left;
    }
    *least = {};
    least->hash = hash;
    least->used_at = now;
    return *least;
  }

  void grow() {
    std::vector<Set> old(sets_.size() * 2);
    old.swap(sets_);
    for (const Set& set : old) {
      for (const Entry& one : set.entries) {
        if (one.hash == 0) continue;
        for (Entry& free : sets_[index(one.hash)].entries) {
          if (free.hash != 0) continue;
          free = one;
          break;
        }
      }
    }
  }

  size_t sets_max_;
  size_t size_ = 0;
  std::vector<Set> sets_;
};

template <typename Entry, size_t kWays>
template <typename Take>
Status SetTable<Entry, kWays>::restore(ByteReader& in, const Take& take) {
  const uint32_t sets = in.u32(), entries = in.u32();
  if (sets > sets_max_)
    return fail(ErrorCode::kTooLarge,
                fmt::format("a saved table of {} sets, over {}", sets, sets_max_));
  if (!std::has_single_bit(sets) || sets < std::min(sets_max_, kFirstSets) ||
      entries > sets * kWays)
    return fail(ErrorCode::kCorrupt,
                fmt::format("a saved table of {} entries in {} sets", entries, sets));
  std::vector<Set> table(sets);
  size_t last = 0;
  for (uint32_t i = 0; i < entries; ++i) {
    Entry one;
    one.hash = in.u32();
    one.used_at = in.u16();
    FR_CHECK(take(in, one));
    const size_t at = one.hash >> 1 & (sets - 1);
    auto& set = table[at].entries;
    const auto free = std::find_if(set.begin(), set.end(), [&](const Entry& known) {
      return known.hash == 0 || known.hash == one.hash;
    });
    if (!in.good() || (one.hash & 1) == 0 || at < last || free == set.end() || free->hash != 0)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("a saved table: entry {} ends early or is out of place", i));
    *free = one;
    last = at;
  }
  sets_ = std::move(table);
  size_ = entries;
  return {};
}

}  // namespace forerun::predict
