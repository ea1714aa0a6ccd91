// What sender and receiver of a guest's memory both keep, in step: contents that later pages are
// told by. Nothing in them is ever guessed: the sender compares contents before it refers to one.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "migrate/ram_blocks.h"

namespace forerun::migrate {

using PageBytes = std::array<std::byte, kPageBytes>;

// A page of the guest, as a number: 1024 blocks, 2^34 pages each at most.
struct PageKey {
  uint64_t value = 0;
  static PageKey of(uint32_t block, uint64_t offset) {
    return {uint64_t{block} << 48 | offset / kPageBytes};
  }
  uint32_t block() const { return static_cast<uint32_t>(value >> 48); }
  uint64_t offset() const { return (value & ((uint64_t{1} << 48) - 1)) * kPageBytes; }
  auto operator<=>(const PageKey&) const = default;
};

}  // namespace forerun::migrate

template <>
struct std::hash<forerun::migrate::PageKey> {
  size_t operator()(forerun::migrate::PageKey key) const noexcept {
    return key.value * 0x9e3779b97f4a7c15;
  }
};

namespace forerun::migrate {

// Contents by page, pages_max of them. One thread.
class PageStore {
 public:
  explicit PageStore(size_t pages_max) : pages_max_(pages_max) {}

  // Returns the page's content, or null. It stays where it is until the page is erased.
  PageBytes* find(PageKey key);
  // Sets the page's content. Returns whether it could: false, and nothing happens, where it is new
  // and the store is full.
  bool set(PageKey key, ByteView data);
  void erase(PageKey key);
  // Takes a page of another store's, content and all. Returns false, and nothing happens, where it
  // has none, or this one is full.
  bool take_from(PageStore& other, PageKey key);
  void clear();
  // Removes some page and calls `take` with it. Returns false if there is none.
  template <typename Take>
  bool take_any(Take take) {
    if (pages_.empty()) return false;
    const auto any = pages_.begin();
    const PageKey key = any->first;
    const std::unique_ptr<PageBytes> data = std::move(any->second);
    pages_.erase(any);
    take(key, *data);
    return true;
  }
  // Erases the pages of this range of a block. Returns how many.
  size_t erase_range(uint32_t block, const ByteRange& range);

  // Returns the pages, in their order.
  std::vector<PageKey> keys() const;
  bool full() const { return pages_.size() >= pages_max_; }
  size_t size() const { return pages_.size(); }
  bool empty() const { return pages_.empty(); }

 private:
  const size_t pages_max_;
  std::unordered_map<PageKey, std::unique_ptr<PageBytes>> pages_;
};

// The last contents that were sent whole, a ring. One thread.
class RecentPages {
 public:
  explicit RecentPages(size_t pages) : ring_(pages) {}

  void push(ByteView data);
  // Returns the content pushed `distance` ones ago (1: the last), or null.
  const PageBytes* back(uint64_t distance) const;
  uint64_t pushed() const { return pushed_; }
  size_t capacity() const { return ring_.size(); }
  void clear() { pushed_ = 0; }

 private:
  std::vector<PageBytes> ring_;
  uint64_t pushed_ = 0;
};

// A page's difference to an earlier content: (bytes that stay, bytes that differ and what they
// are)*, as varints and bytes. Appends it; returns false, and appends nothing, where it takes more
// than `bytes_max`.
bool encode_delta(const PageBytes& before, ByteView after, size_t bytes_max, Buffer& out);
// Changes `page` by `delta`. ERRORS: kCorrupt; the page may then be changed in part.
Status apply_delta(ByteView delta, PageBytes& page);

// Integers of seven bits a byte, the lowest first.
void put_varint(uint64_t value, Buffer& out);
// Returns nothing where `in` ends amid one, or it is longer than 64 bits; else takes it from `in`.
std::optional<uint64_t> take_varint(ByteView& in);

}  // namespace forerun::migrate
