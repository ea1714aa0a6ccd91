// Pages whose content the target has already, of a checkpoint: what it says it has, by hash, and
// what of it the source told by reference and the target has not confirmed yet. A reference counts
// only once the target has read the page and found its hash right; until then the source keeps the
// page, and sends it whole where the target cannot have it. docs/format_memory.md.
#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "migrate/page_tables.h"

namespace forerun::migrate {

// The first half of a page's SHA-256: nobody makes another page of that hash, not even a guest that
// would like to see a page of its kernel in the place of its own.
struct PageHash {
  std::array<std::byte, 16> bytes{};
  auto operator<=>(const PageHash&) const = default;
};
PageHash hash_of_page(ByteView page);

inline constexpr uint64_t kKnownPagesMax = uint64_t{1} << 26;  // 256 GiB of memory, 1 GiB of hashes
inline constexpr uint64_t kKnownAtOnce = 512;                  // by reference in one batch: 2 MiB

// At the target: the pages it has said it has, by their place in what it said.
class KnownPages {
 public:
  virtual ~KnownPages() = default;
  // Puts the page of that number into `out`. Returns false where it cannot be had, or is not what
  // was said of it.
  virtual bool read(uint64_t number, MutableByteView out) = 0;
};

// At the source. One thread. Memory: 40 bytes for each hash, and Options::unsettled_max pages.
class KnownReferences {
 public:
  struct Options {
    size_t unsettled_max = 16384;  // 64 MiB, while the target reads
  };
  KnownReferences(const std::vector<PageHash>& hashes, Options options);
  explicit KnownReferences(const std::vector<PageHash>& hashes)
      : KnownReferences(hashes, Options{}) {}

  // Returns the number of a page of that content at the target; nothing where it has none, or
  // there is no room for another one that is not settled.
  std::optional<uint64_t> find(ByteView page) const;
  // The page was told by reference. REQUIRES: find() found it just now; it was not before.
  void add(PageKey key, ByteView page);
  // It is told anew, in another way: what was told before is of no matter.
  void forget(PageKey key) { pages_.erase(key); }

  // How a reference ended. `page`: what it was, where the target needs it still; else null.
  struct Settled {
    PageKey key;
    std::unique_ptr<PageBytes> page;
  };
  // Takes the oldest one that is not settled. REQUIRES: there is one.
  Settled settle(bool is_there);
  size_t unsettled() const { return unsettled_.size(); }

 private:
  struct Hasher {
    size_t operator()(const PageHash& hash) const noexcept {
      size_t head = 0;
      std::memcpy(&head, hash.bytes.data(), sizeof head);
      return head;
    }
  };
  std::unordered_map<PageHash, uint32_t, Hasher> numbers_;
  std::deque<PageKey> unsettled_;
  PageStore pages_;
};

}  // namespace forerun::migrate
