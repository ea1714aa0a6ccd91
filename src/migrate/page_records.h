// Pages as they travel from sender to receiver: many in one batch, each by the least that tells it:
// one byte that fills it, a content that was sent lately, its difference to what it was before, or
// all of it. docs/format_memory.md.
#pragma once

#include <functional>
#include <optional>
#include <unordered_set>

#include "migrate/known_pages.h"
#include "migrate/page_tables.h"

namespace forerun::migrate {

// How a page is told.
enum class PageForm : uint8_t { kWhole = 0, kFill = 1, kRecent = 2, kDelta = 3, kKnown = 4 };
inline constexpr uint8_t kKeepFlag = 0x10;         // it becomes what a later difference is to
inline constexpr size_t kDeltaBytesMax = 2048;     // a longer one is sent whole
inline constexpr uint64_t kFillPagesMax = 4096;    // of one record
inline constexpr uint64_t kBatchPagesMax = 16384;  // few bytes may fill many pages
inline constexpr size_t kPageTellingMax = 1 + 3 + 6 + 8 + 3 + kPageBytes;  // the longest record

struct TableLimits {
  uint32_t kept_pages = 65536;   // 256 MiB, on either side, if so many are hot
  uint32_t recent_pages = 1024;  // 4 MiB
  bool operator==(const TableLimits&) const = default;
};

// One thread.
class PageEncoder {
 public:
  explicit PageEncoder(TableLimits limits);

  // Appends a page. `keep`: it will be sent again; it is kept if there is room. Returns how it was
  // told, and in how many bytes.
  struct Told {
    PageForm form = PageForm::kWhole;
    size_t bytes = 0;
  };
  Told add(const PageRecord& page, bool keep);
  // Appends a page by its number among those that the target has. It is no base for differences
  // before settle() says that the target could read it. REQUIRES: it was not sent before.
  Told add_known(const PageRecord& page, uint64_t number, bool keep);
  void settle(PageKey key, bool is_there);
  // What was appended since the last clear_batch().
  ByteView batch() const { return batch_; }
  uint64_t batch_pages() const {
    return batch_pages_;
  }  // at most kBatchPagesMax: the caller's care
  uint64_t batch_known() const { return batch_known_; }  // of them; at most kKnownAtOnce
  void clear_batch();
  // Forgets all that both sides keep.
  void reset();
  size_t kept_pages() const { return kept_.size(); }

 private:
  Told add_fill(const PageRecord& page);
  void end_run() {
    fill_.reset();
    known_.reset();
  }
  void put_head(PageForm form, const PageRecord& page, uint8_t flags = 0);

  PageStore kept_;
  RecentPages recent_;
  std::unordered_map<uint64_t, uint64_t> recent_by_hash_;  // its number among those pushed
  Buffer batch_, delta_;
  uint64_t batch_pages_ = 0, batch_known_ = 0;
  // The last record, if it is of pages filled alike: its beginning, and what it says.
  struct Fill {
    size_t at = 0;
    uint32_t block = 0;
    uint64_t offset = 0, pages = 0;
    std::byte fill{0};
  };
  std::optional<Fill> fill_;
  // The same of pages by neighbouring numbers.
  struct Known {
    size_t at = 0;
    uint32_t block = 0;
    uint64_t offset = 0, number = 0, pages = 0;
    uint8_t flags = 0;
  };
  std::optional<Known> known_;
  std::unordered_set<PageKey> unsure_;  // kept here, and there if it could be read
};

// One thread.
class PageDecoder {
 public:
  // `known`: the pages that this side said it has; null: none.
  explicit PageDecoder(TableLimits limits, KnownPages* known = nullptr);

  using OnPage = std::function<Status(const PageRecord&)>;
  // Reads a batch; `on_page` hears each page, whose data is valid meanwhile. ERRORS: kCorrupt:
  // malformed, outside of `blocks`, or not what the sender had; kTooLarge; those of `on_page`.
  Status decode(ByteView batch, const std::vector<RamBlock>& blocks, const OnPage& on_page);
  void reset();
  // How the references of the last batch ended.
  uint32_t known_taken() const { return known_taken_; }
  const std::vector<uint32_t>& known_failed() const { return known_failed_; }

 private:
  Status decode_known(ByteView& in, PageRecord page, const RamBlock& block, bool keep,
                      const OnPage& on_page);
  Status decode_record(ByteView& in, const std::vector<RamBlock>& blocks, const OnPage& on_page);
  Status decode_fill(ByteView& in, PageRecord page, const RamBlock& block, const OnPage& on_page);
  Status decode_delta(ByteView& in, PageRecord page, const OnPage& on_page);

  PageStore kept_;
  RecentPages recent_;
  KnownPages* const known_;
  uint32_t known_taken_ = 0;
  std::vector<uint32_t> known_failed_;
  uint64_t pages_left_ = 0;  // of the batch
};

}  // namespace forerun::migrate
