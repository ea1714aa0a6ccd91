// A small open-addressing table keyed by (component, block): what models and the arbiter keep per
// block. Linear probing, deletion by shifting back, so it never fills with tombstones. Its order is
// never iterated: same inputs, same outputs.
#pragma once

#include <cstdint>
#include <vector>

#include "core/id.h"
#include "core/result.h"

namespace forerun::predict {

struct BlockKey {
  ComponentId component;
  uint64_t block = 0;
  bool operator==(const BlockKey&) const = default;
};

// One thread. Holds at most max_size entries; doubles its room as it grows.
template <typename Value>
class BlockTable {
 public:
  explicit BlockTable(size_t max_size) : max_size_(max_size), slots_(kFirstSlots) {}

  size_t size() const { return size_; }
  bool full() const { return size_ >= max_size_; }
  size_t state_bytes() const { return slots_.capacity() * sizeof(Slot); }

  // Returns the value at `key`, or null. Valid until the next insert or erase.
  Value* find(const BlockKey& key) {
    for (size_t i = home(key);; i = next(i)) {
      if (!slots_[i].used) return nullptr;
      if (slots_[i].key == key) return &slots_[i].value;
    }
  }
  const Value* find(const BlockKey& key) const { return const_cast<BlockTable*>(this)->find(key); }
  bool contains(const BlockKey& key) const { return find(key) != nullptr; }

  // Returns the value at `key`, newly made if there was none. REQUIRES: !full() or contains(key).
  Value& insert(const BlockKey& key) {
    if ((size_ + 1) * 3 > slots_.size() * 2) grow();
    for (size_t i = home(key);; i = next(i)) {
      if (slots_[i].used && slots_[i].key == key) return slots_[i].value;
      if (slots_[i].used) continue;
      FR_ASSERT(size_ < max_size_);
      slots_[i] = {.key = key, .used = true};
      ++size_;
      return slots_[i].value;
    }
  }

  void erase(const BlockKey& key) {
    size_t hole = home(key);
    while (slots_[hole].used && !(slots_[hole].key == key)) hole = next(hole);
    if (!slots_[hole].used) return;
    for (size_t i = next(hole); slots_[i].used; i = next(i)) {
      // Move i into the hole unless its home lies cyclically after the hole.
      if (((i - home(slots_[i].key)) & mask()) < ((i - hole) & mask())) continue;
      slots_[hole] = std::move(slots_[i]);
      hole = i;
    }
    slots_[hole] = {};
    --size_;
  }

  void clear() {
    slots_.assign(kFirstSlots, {});
    size_ = 0;
  }

 private:
  static constexpr size_t kFirstSlots = 64;
  struct Slot {
    BlockKey key;
    Value value{};
    bool used = false;
  };

  size_t mask() const { return slots_.size() - 1; }
  size_t next(size_t i) const { return (i + 1) & mask(); }
  size_t home(const BlockKey& key) const {
    uint64_t mixed = key.block + (uint64_t{key.component.value} << 40);
    mixed = (mixed ^ (mixed >> 32)) * 0x9e3779b97f4a7c15;  // Fibonacci hashing
    return (mixed >> 24) & mask();
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (Slot& slot : old) {
      if (!slot.used) continue;
      size_t i = home(slot.key);
      while (slots_[i].used) i = next(i);
      slots_[i] = std::move(slot);
    }
  }

  size_t max_size_;
  size_t size_ = 0;
  std::vector<Slot> slots_;  // a power of two
};

}  // namespace forerun::predict
