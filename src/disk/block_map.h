// Which blocks of a disk an overlay holds: two bits a block, in pages of 64 MiB of disk that exist
// only where states differ. A page that is all one state shares a constant page, so a trimmed 10
// TiB disk costs 1.3 MB.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "disk/overlay.h"

namespace forerun::disk {

// Thread-safe. Readers take no lock; changes are serialised by a mutex.
class BlockMap {
 public:
  enum class Mark : uint8_t { kClean, kDirty };

  explicit BlockMap(uint64_t block_count);
  BlockMap(const BlockMap&) = delete;
  BlockMap& operator=(const BlockMap&) = delete;

  uint64_t block_count() const { return block_count_; }
  uint64_t data_blocks() const { return counts_[1].load(std::memory_order_relaxed); }
  uint64_t remote_blocks() const { return counts_[3].load(std::memory_order_acquire); }

  BlockState state(uint64_t block) const {
    const Page* page = page_of(block);
    return page == nullptr ? BlockState::kBase
                           : static_cast<BlockState>((page->word(block) >> shift_of(block)) & 3);
  }
  // Returns the first block of [first, end) that is not in `state`, or end.
  uint64_t run_end(uint64_t first, uint64_t end, BlockState state) const;
  // Returns the first block of [first, end) that is in `state`, or end.
  uint64_t find(uint64_t first, uint64_t end, BlockState state) const;

  // Puts [first, end) into `state`; with kDirty, marks those that were not in it before.
  // REQUIRES: state is not kBase: a block that was written never goes back to the image.
  void set(uint64_t first, uint64_t end, BlockState state, Mark mark);

  // Returns the dirty blocks as runs of their present states, and clears their marks.
  std::vector<BlockRun> take_dirty();
  void mark_dirty(std::span<const BlockRun> runs);

  // Returns the first block from `first` on that is in another state, or block_count().
  uint64_t find_other(uint64_t first, BlockState state) const {
    return run_end(first, block_count_, state);
  }

  // Calls visit(BlockRun) for every run that is not kBase, in order. What changes meanwhile may or
  // may not be seen.
  template <typename Visit>
  void for_each_run(Visit visit) const {
    for (uint64_t block = 0; block < block_count_;) {
      const BlockState now = state(block);
      const uint64_t end = run_end(block, block_count_, now);
      if (now != BlockState::kBase) visit(BlockRun{block, end - block, now});
      block = std::max(end, block + 1);
    }
  }

 private:
  static constexpr uint64_t kWordBlocks = 32;
  static constexpr uint64_t kPageWords = 512;
  static constexpr uint64_t kPageBlocks = kWordBlocks * kPageWords;
  static constexpr uint64_t kLowBits = 0x5555555555555555;

  struct Page {
    std::array<std::atomic<uint64_t>, kPageWords> words{};
    std::array<uint64_t, kPageWords>
        dirty{};  // the low bit of each changed block; guarded by the map's mutex

    uint64_t word(uint64_t block) const {
      return words[(block % kPageBlocks) / kWordBlocks].load(std::memory_order_acquire);
    }
  };
  enum class PageDirty : uint8_t { kNo, kSome, kWhole };

  static uint64_t shift_of(uint64_t block) { return block % kWordBlocks * 2; }
  static uint64_t pattern(BlockState state) { return kLowBits * static_cast<uint64_t>(state); }
  static Page* uniform_page(BlockState state);
  static bool is_uniform(const Page* page);
  static uint64_t count(uint64_t word, BlockState state);
  Page* page_of(uint64_t block) const {
    return pages_[block / kPageBlocks].load(std::memory_order_acquire);
  }
  uint64_t page_end(uint64_t page) const {
    return std::min((page + 1) * kPageBlocks, block_count_);
  }

  Page& own_page(uint64_t page);                                             // under mutex_
  bool set_whole(uint64_t page, BlockState state, Mark mark);                // under mutex_
  void set_part(uint64_t first, uint64_t end, BlockState state, Mark mark);  // under mutex_
  void note_dirty(uint64_t page, PageDirty how);                             // under mutex_
  void append_dirty(uint64_t page, std::vector<BlockRun>& runs);             // under mutex_

  const uint64_t block_count_;
  std::vector<std::atomic<Page*>> pages_;          // null: all kBase
  std::array<std::atomic<uint64_t>, 4> counts_{};  // of blocks by state, but for kBase
  std::mutex mutex_;  // guards what follows, and every change of a page
  std::vector<std::unique_ptr<Page>> owned_;
  std::vector<PageDirty> page_dirty_;
  std::vector<uint64_t> dirty_pages_;
};

}  // namespace forerun::disk
