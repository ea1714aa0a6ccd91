#include "disk/block_map.h"

#include <algorithm>

namespace forerun::disk {
namespace {

// Bits [2 × first, 2 × end) of a word of 32 blocks. REQUIRES: first < end ≤ 32.
uint64_t block_mask(uint64_t first, uint64_t end) {
  const uint64_t width = (end - first) * 2;
  return (width == 64 ? ~0ull : (1ull << width) - 1) << (first * 2);
}

void append_run(std::vector<BlockRun>& runs, uint64_t block, uint64_t count, BlockState state) {
  if (!runs.empty() && runs.back().end() == block && runs.back().state == state) {
    runs.back().count += count;
  } else {
    runs.push_back({block, count, state});
  }
}

}  // namespace

BlockMap::BlockMap(uint64_t block_count)
    : block_count_(block_count),
      pages_((block_count + kPageBlocks - 1) / kPageBlocks),
      page_dirty_(pages_.size(), PageDirty::kNo) {}

BlockMap::Page* BlockMap::uniform_page(BlockState state) {
  static const std::unique_ptr<std::array<Page, 4>> pages = [] {
    auto made = std::make_unique<std::array<Page, 4>>();
    for (size_t i = 0; i < made->size(); ++i) {
      for (auto& word : (*made)[i].words) word = pattern(static_cast<BlockState>(i));
    }
    return made;
  }();
  return &(*pages)[static_cast<size_t>(state)];
}

bool BlockMap::is_uniform(const Page* page) {
  return page == uniform_page(BlockState::kData) || page == uniform_page(BlockState::kZero) ||
         page == uniform_page(BlockState::kRemote);
}

uint64_t BlockMap::count(uint64_t word, BlockState state) {
  const uint64_t differing = word ^ pattern(state);
  return static_cast<uint64_t>(std::popcount(~(differing | differing >> 1) & kLowBits));
}

uint64_t BlockMap::find(uint64_t first, uint64_t end, BlockState state) const {
  while (first < end) {
    const BlockState now = this->state(first);
    if (now == state) return first;
    first = std::max(run_end(first, end, now), first + 1);
  }
  return end;
}

uint64_t BlockMap::run_end(uint64_t first, uint64_t end, BlockState state) const {
  while (first < end) {
    const Page* page = page_of(first);
    if (page == nullptr) {
      if (state != BlockState::kBase) return first;
      first = (first / kPageBlocks + 1) * kPageBlocks;
      continue;
    }
    const uint64_t differing = (page->word(first) ^ pattern(state)) >> shift_of(first);
    if (differing != 0) {
      return std::min(end, first + static_cast<uint64_t>(std::countr_zero(differing)) / 2);
    }
    first = (first / kWordBlocks + 1) * kWordBlocks;
  }
  return end;
}

void BlockMap::set(uint64_t first, uint64_t end, BlockState state, Mark mark) {
  FR_ASSERT(state != BlockState::kBase && end <= block_count_);
  const std::lock_guard lock(mutex_);
  while (first < end) {
    const uint64_t page = first / kPageBlocks;
    const uint64_t stop = std::min(end, page_end(page));
    const bool covers = first == page * kPageBlocks && stop == page_end(page);
    if (!covers || !set_whole(page, state, mark)) set_part(first, stop, state, mark);
    first = stop;
  }
}

bool BlockMap::set_whole(uint64_t page, BlockState state, Mark mark) {
  const Page* now = pages_[page].load(std::memory_order_relaxed);
  if (now != nullptr && !is_uniform(now)) return false;
  if (now == uniform_page(state)) return true;
  const uint64_t blocks = page_end(page) - page * kPageBlocks;
  counts_[static_cast<size_t>(state)] += blocks;
  if (now != nullptr) counts_[static_cast<size_t>(this->state(page * kPageBlocks))] -= blocks;
  pages_[page].store(uniform_page(state), std::memory_order_release);
  if (mark == Mark::kDirty) note_dirty(page, PageDirty::kWhole);
  return true;
}

void BlockMap::set_part(uint64_t first, uint64_t end, BlockState state, Mark mark) {
  const uint64_t page_index = first / kPageBlocks;
  Page& page = own_page(page_index);
  uint64_t any_changed = 0;
  while (first < end) {
    const uint64_t word_index = first % kPageBlocks / kWordBlocks;
    const uint64_t stop = std::min(end, (first / kWordBlocks + 1) * kWordBlocks);
    const uint64_t begin_bit = first % kWordBlocks;
    const uint64_t mask = block_mask(begin_bit, begin_bit + (stop - first));
    const uint64_t old_word = page.words[word_index].load(std::memory_order_relaxed);
    const uint64_t new_word = (old_word & ~mask) | (pattern(state) & mask);
    const uint64_t differing = old_word ^ new_word;
    const uint64_t changed = (differing | differing >> 1) & kLowBits;
    page.words[word_index].store(new_word, std::memory_order_release);
    if (mark == Mark::kDirty) page.dirty[word_index] |= changed;
    any_changed |= changed;
    for (const BlockState each : {BlockState::kData, BlockState::kZero, BlockState::kRemote}) {
      const uint64_t more = count(new_word, each) - count(old_word, each);
      if (more != 0) counts_[static_cast<size_t>(each)] += more;
    }
    first = stop;
  }
  if (mark == Mark::kDirty && any_changed != 0) note_dirty(page_index, PageDirty::kSome);
}

BlockMap::Page& BlockMap::own_page(uint64_t page) {
  Page* now = pages_[page].load(std::memory_order_relaxed);
  if (now != nullptr && !is_uniform(now)) return *now;
  auto made = std::make_unique<Page>();
  if (now != nullptr) {
    for (size_t i = 0; i < kPageWords; ++i) made->words[i] = now->words[i].load();
  }
  if (page_dirty_[page] == PageDirty::kWhole) {
    made->dirty.fill(kLowBits);
    page_dirty_[page] = PageDirty::kSome;
  }
  pages_[page].store(made.get(), std::memory_order_release);
  owned_.push_back(std::move(made));
  return *owned_.back();
}

void BlockMap::note_dirty(uint64_t page, PageDirty how) {
  if (page_dirty_[page] == PageDirty::kNo) dirty_pages_.push_back(page);
  page_dirty_[page] = how;
}

std::vector<BlockRun> BlockMap::take_dirty() {
  std::vector<uint64_t> pages;
  {
    const std::lock_guard lock(mutex_);
    pages.swap(dirty_pages_);
  }
  std::ranges::sort(pages);
  std::vector<BlockRun> runs;
  for (const uint64_t page : pages) {
    // A lock a page, so that writers never wait for the whole map.
    const std::lock_guard lock(mutex_);
    append_dirty(page, runs);
    page_dirty_[page] = PageDirty::kNo;
  }
  return runs;
}

void BlockMap::append_dirty(uint64_t page_index, std::vector<BlockRun>& runs) {
  Page& page = *pages_[page_index].load(std::memory_order_relaxed);
  const uint64_t page_first = page_index * kPageBlocks;
  if (page_dirty_[page_index] == PageDirty::kWhole) {
    append_run(runs, page_first, page_end(page_index) - page_first, state(page_first));
    return;
  }
  for (uint64_t i = 0; i < kPageWords; ++i) {
    uint64_t dirty = page.dirty[i];
    page.dirty[i] = 0;
    while (dirty != 0) {
      const uint64_t block =
          page_first + i * kWordBlocks + static_cast<uint64_t>(std::countr_zero(dirty)) / 2;
      dirty &= dirty - 1;
      if (block < block_count_) append_run(runs, block, 1, state(block));
    }
  }
}

void BlockMap::mark_dirty(std::span<const BlockRun> runs) {
  const std::lock_guard lock(mutex_);
  for (const BlockRun& run : runs) {
    for (uint64_t first = run.first; first < run.end();) {
      const uint64_t page_index = first / kPageBlocks;
      Page& page = own_page(page_index);
      const uint64_t stop = std::min(run.end(), (first / kWordBlocks + 1) * kWordBlocks);
      const uint64_t begin_bit = first % kWordBlocks;
      page.dirty[first % kPageBlocks / kWordBlocks] |=
          block_mask(begin_bit, begin_bit + (stop - first)) & kLowBits;
      note_dirty(page_index, PageDirty::kSome);
      first = stop;
    }
  }
}

}  // namespace forerun::disk
