#include "migrate/page_tables.h"

#include <algorithm>

namespace forerun::migrate {
namespace {

// Bytes alike that end a run of those that differ: fewer cost more to tell than to send.
constexpr size_t kGapMin = 8;

// Returns how many bytes from `at` on are alike.
size_t alike(const PageBytes& before, ByteView after, size_t at) {
  const size_t from = at;
  while (at + sizeof(uint64_t) <= kPageBytes) {
    uint64_t one = 0, other = 0;
    std::memcpy(&one, before.data() + at, sizeof one);
    std::memcpy(&other, after.data() + at, sizeof other);
    if (one != other) break;
    at += sizeof one;
  }
  while (at < kPageBytes && before[at] == after[at]) ++at;
  return at - from;
}

// Returns how many bytes from `at` on differ, gaps that are too short to tell among them.
size_t differing(const PageBytes& before, ByteView after, size_t at) {
  const size_t from = at;
  while (at < kPageBytes) {
    const size_t gap = alike(before, after, at);
    if (gap >= kGapMin || at + gap == kPageBytes) break;
    at += gap + 1;
  }
  return std::min<size_t>(at, kPageBytes) - from;
}

}  // namespace

PageBytes* PageStore::find(PageKey key) {
  const auto found = pages_.find(key);
  return found == pages_.end() ? nullptr : found->second.get();
}

bool PageStore::set(PageKey key, ByteView data) {
  PageBytes* page = find(key);
  if (page == nullptr) {
    if (full()) return false;
    page = pages_.emplace(key, std::make_unique<PageBytes>()).first->second.get();
  }
  std::copy(data.begin(), data.end(), page->begin());
  return true;
}

void PageStore::erase(PageKey key) { pages_.erase(key); }

bool PageStore::take_from(PageStore& other, PageKey key) {
  if (full() && find(key) == nullptr) return false;
  auto page = other.pages_.extract(key);
  if (page.empty()) return false;
  pages_.erase(key);
  pages_.insert(std::move(page));
  return true;
}

void PageStore::clear() { pages_.clear(); }

size_t PageStore::erase_range(uint32_t block, const ByteRange& range) {
  const auto in_range = [&](const auto& page) {
    return page.first.block() == block && range.overlaps({page.first.offset(), kPageBytes});
  };
  if (range.length / kPageBytes > pages_.size()) return std::erase_if(pages_, in_range);
  size_t erased = 0;
  for (uint64_t at = range.offset; at < range.end(); at += kPageBytes)
    erased += pages_.erase(PageKey::of(block, at));
  return erased;
}

std::vector<PageKey> PageStore::keys() const {
  std::vector<PageKey> all;
  all.reserve(pages_.size());
  for (const auto& [key, data] : pages_) all.push_back(key);
  std::sort(all.begin(), all.end());
  return all;
}

void RecentPages::push(ByteView data) {
  if (ring_.empty()) return;
  std::copy(data.begin(), data.end(), ring_[pushed_ % ring_.size()].begin());
  ++pushed_;
}

const PageBytes* RecentPages::back(uint64_t distance) const {
  if (distance == 0 || distance > pushed_ || distance > ring_.size()) return nullptr;
  return &ring_[(pushed_ - distance) % ring_.size()];
}

bool encode_delta(const PageBytes& before, ByteView after, size_t bytes_max, Buffer& out) {
  const size_t begin = out.size();
  for (size_t at = 0; at < kPageBytes;) {
    const size_t same = alike(before, after, at);
    if (at + same == kPageBytes) break;
    at += same;
    const size_t changed = differing(before, after, at);
    put_varint(same, out);
    put_varint(changed, out);
    if (out.size() - begin + changed > bytes_max) {
      out.resize(begin);
      return false;
    }
    const ByteView bytes = after.subspan(at, changed);
    out.insert(out.end(), bytes.begin(), bytes.end());
    at += changed;
  }
  return true;
}

Status apply_delta(ByteView delta, PageBytes& page) {
  size_t at = 0;
  while (!delta.empty()) {
    const auto same = take_varint(delta), changed = take_varint(delta);
#ifndef FORERUN_PLANT_BUG_MEMORY  // set by fuzz/migrate/prove.sh only
    const bool is_within = same && changed && *same <= kPageBytes - at &&
                           *changed <= kPageBytes - at - *same && *changed <= delta.size();
#else
    const bool is_within = same && changed && *changed <= delta.size();
#endif
    if (!is_within || *changed == 0)
      return fail(ErrorCode::kCorrupt, "a page's difference is malformed");
    at += *same;
    std::copy_n(delta.begin(), *changed, page.begin() + static_cast<ptrdiff_t>(at));
    at += *changed;
    delta = delta.subspan(*changed);
  }
  return {};
}

void put_varint(uint64_t value, Buffer& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

std::optional<uint64_t> take_varint(ByteView& in) {
  uint64_t value = 0;
  for (size_t i = 0; i < in.size() && i < 10; ++i) {
    const auto byte = static_cast<uint64_t>(in[i]);
    if (i == 9 && byte > 1) break;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      in = in.subspan(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

}  // namespace forerun::migrate
