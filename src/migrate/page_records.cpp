#include "migrate/page_records.h"

#include <xxhash.h>

namespace forerun::migrate {
namespace {

uint64_t hash_of(ByteView data) { return XXH3_64bits(data.data(), data.size()); }

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}

void put_u64(uint64_t value, Buffer& out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

std::optional<ByteView> take(ByteView& in, size_t count) {
  if (in.size() < count) return std::nullopt;
  const ByteView taken = in.first(count);
  in = in.subspan(count);
  return taken;
}

// Of little-endian machines, which is all that Forerun runs on.
std::optional<uint64_t> take_u64(ByteView& in) {
  const auto bytes = take(in, sizeof(uint64_t));
  if (!bytes) return std::nullopt;
  uint64_t value = 0;
  std::memcpy(&value, bytes->data(), sizeof value);
  return value;
}

}  // namespace

PageEncoder::PageEncoder(TableLimits limits)
    : kept_(limits.kept_pages), recent_(limits.recent_pages) {}

void PageEncoder::put_head(PageForm form, const PageRecord& page, uint8_t flags) {
  batch_.push_back(static_cast<std::byte>(static_cast<uint8_t>(form) | flags));
  put_varint(page.block, batch_);
  put_varint(page.offset / kPageBytes, batch_);
}

PageEncoder::Told PageEncoder::add(const PageRecord& page, bool keep) {
  ++batch_pages_;
  if (page.data.empty()) return add_fill(page);
  end_run();
  const size_t begin = batch_.size();
  const PageKey key = PageKey::of(page.block, page.offset);
  const uint64_t hash = hash_of(page.data);
  if (unsure_.erase(key) > 0) {
    keep = true;  // on both sides, whatever the other has
  } else if (PageBytes* before = kept_.find(key)) {
    delta_.clear();
    if (encode_delta(*before, page.data, kDeltaBytesMax, delta_)) {
      put_head(PageForm::kDelta, page);
      put_u64(hash, batch_);
      put_varint(delta_.size(), batch_);
      batch_.insert(batch_.end(), delta_.begin(), delta_.end());
      std::copy(page.data.begin(), page.data.end(), before->begin());
      return {PageForm::kDelta, batch_.size() - begin};
    }
    keep = true;
  }
  const uint8_t flags = keep && kept_.set(key, page.data) ? kKeepFlag : 0;
  if (const auto known = recent_by_hash_.find(hash); known != recent_by_hash_.end()) {
    const uint64_t distance = recent_.pushed() - known->second;
    const PageBytes* same = recent_.back(distance);
    if (same != nullptr && std::equal(same->begin(), same->end(), page.data.begin())) {
      put_head(PageForm::kRecent, page, flags);
      put_varint(distance, batch_);
      return {PageForm::kRecent, batch_.size() - begin};
    }
  }
  if (recent_.capacity() > 0) {
    if (const PageBytes* oldest = recent_.back(recent_.capacity())) {
      const auto forgotten = recent_by_hash_.find(hash_of(*oldest));
      if (forgotten != recent_by_hash_.end() &&
          forgotten->second == recent_.pushed() - recent_.capacity())
        recent_by_hash_.erase(forgotten);
    }
    recent_by_hash_[hash] = recent_.pushed();
    recent_.push(page.data);
  }
  put_head(PageForm::kWhole, page, flags);
  batch_.insert(batch_.end(), page.data.begin(), page.data.end());
  return {PageForm::kWhole, batch_.size() - begin};
}

PageEncoder::Told PageEncoder::add_known(const PageRecord& page, uint64_t number, bool keep) {
  ++batch_pages_;
  ++batch_known_;
  fill_.reset();
  const size_t before = batch_.size();
  const PageKey key = PageKey::of(page.block, page.offset);
  const uint8_t flags = keep && kept_.set(key, page.data) ? kKeepFlag : 0;
  if (flags != 0) unsure_.insert(key);
  const bool goes_on = known_ && known_->block == page.block && known_->flags == flags &&
                       known_->offset + known_->pages * kPageBytes == page.offset &&
                       known_->number + known_->pages == number;
  if (goes_on)
    batch_.resize(known_->at);
  else
    known_ = Known{before, page.block, page.offset, number, 0, flags};
  ++known_->pages;
  PageRecord first = page;
  first.offset = known_->offset;
  put_head(PageForm::kKnown, first, flags);
  put_varint(known_->number, batch_);
  put_varint(known_->pages, batch_);
  return {PageForm::kKnown, batch_.size() - std::min(before, batch_.size())};
}

void PageEncoder::settle(PageKey key, bool is_there) {
  if (unsure_.erase(key) > 0 && !is_there) kept_.erase(key);
}

PageEncoder::Told PageEncoder::add_fill(const PageRecord& page) {
  known_.reset();
  const size_t before = batch_.size();
  const bool goes_on = fill_ && fill_->block == page.block && fill_->fill == page.fill &&
                       fill_->offset + fill_->pages * kPageBytes == page.offset &&
                       fill_->pages < kFillPagesMax;
  if (goes_on)
    batch_.resize(fill_->at);
  else
    fill_ = Fill{before, page.block, page.offset, 0, page.fill};
  ++fill_->pages;
  PageRecord first = page;
  first.offset = fill_->offset;
  put_head(PageForm::kFill, first);
  batch_.push_back(page.fill);
  put_varint(fill_->pages, batch_);
  return {PageForm::kFill, batch_.size() - before};
}

void PageEncoder::clear_batch() {
  batch_.clear();
  batch_pages_ = batch_known_ = 0;
  end_run();
}

void PageEncoder::reset() {
  clear_batch();
  unsure_.clear();
  kept_.clear();
  recent_.clear();
  recent_by_hash_.clear();
}

PageDecoder::PageDecoder(TableLimits limits, KnownPages* known)
    : kept_(limits.kept_pages), recent_(limits.recent_pages), known_(known) {}

Status PageDecoder::decode(ByteView batch, const std::vector<RamBlock>& blocks,
                           const OnPage& on_page) {
  pages_left_ = kBatchPagesMax;
  known_taken_ = 0;
  known_failed_.clear();
  while (!batch.empty()) FR_CHECK(decode_record(batch, blocks, on_page));
  return {};
}

Status PageDecoder::decode_record(ByteView& in, const std::vector<RamBlock>& blocks,
                                  const OnPage& on_page) {
  const auto head = static_cast<uint8_t>(in.front());
  in = in.subspan(1);
  const auto block_number = take_varint(in), number = take_varint(in);
  if (!block_number || !number) return corrupt("a page that ends amid its number");
  if (*block_number >= blocks.size())
    return corrupt(fmt::format("a page of memory block {}, of {}", *block_number, blocks.size()));
  const RamBlock& block = blocks[*block_number];
  if (*number >= block.used_bytes / kPageBytes)
    return corrupt(
        fmt::format("page {} of {}, which has {:#x} bytes", *number, block.name, block.used_bytes));
  PageRecord page{.block = static_cast<uint32_t>(*block_number), .offset = *number * kPageBytes};
  if (pages_left_-- == 0) return fail(ErrorCode::kTooLarge, "more pages in a batch than are read");
  const auto form = static_cast<PageForm>(head & ~kKeepFlag);
  if (form == PageForm::kFill && (head & kKeepFlag) == 0)
    return decode_fill(in, page, block, on_page);
  if (form == PageForm::kDelta && (head & kKeepFlag) == 0) return decode_delta(in, page, on_page);
  if (form == PageForm::kKnown)
    return decode_known(in, page, block, (head & kKeepFlag) != 0, on_page);
  if (form == PageForm::kWhole) {
    const auto data = take(in, kPageBytes);
    if (!data) return corrupt("a page that ends too soon");
    page.data = *data;
    recent_.push(*data);
  } else if (form == PageForm::kRecent) {
    const auto distance = take_varint(in);
    const PageBytes* same = distance ? recent_.back(*distance) : nullptr;
    if (same == nullptr) return corrupt("a page like one that was not sent lately");
    page.data = *same;
  } else {
    return corrupt(fmt::format("a page of form {:#x}", head));
  }
  if ((head & kKeepFlag) != 0 && !kept_.set(PageKey::of(page.block, page.offset), page.data))
    return fail(ErrorCode::kTooLarge, "more pages are to be kept than was agreed");
  return on_page(page);
}

Status PageDecoder::decode_fill(ByteView& in, PageRecord page, const RamBlock& block,
                                const OnPage& on_page) {
  const auto fill = take(in, 1);
  const auto count = fill ? take_varint(in) : std::nullopt;
  if (!count || *count == 0 || *count > kFillPagesMax ||
      !fits({page.offset, *count * kPageBytes}, block.used_bytes))
    return corrupt(fmt::format("pages of {} that are filled, but are not its own", block.name));
  if (*count - 1 > pages_left_)
    return fail(ErrorCode::kTooLarge, "more pages in a batch than are read");
  pages_left_ -= *count - 1;
  page.fill = fill->front();
  for (uint64_t i = 0; i < *count; ++i, page.offset += kPageBytes) FR_CHECK(on_page(page));
  return {};
}

Status PageDecoder::decode_known(ByteView& in, PageRecord page, const RamBlock& block, bool keep,
                                 const OnPage& on_page) {
  const auto number = take_varint(in);
  const auto count = number ? take_varint(in) : std::nullopt;
  if (known_ == nullptr || !count || *count == 0 || *number > kKnownPagesMax ||
      *count > kKnownAtOnce - known_taken_ ||
      !fits({page.offset, *count * kPageBytes}, block.used_bytes))
    return corrupt(fmt::format("pages of {} that are known, but are not", block.name));
  if (*count - 1 > pages_left_)
    return fail(ErrorCode::kTooLarge, "more pages in a batch than are read");
  pages_left_ -= *count - 1;
  PageBytes content;
  page.data = content;
  for (uint64_t i = 0; i < *count; ++i, page.offset += kPageBytes) {
    const uint32_t place = known_taken_++;
    if (!known_->read(*number + i, content)) {
      known_failed_.push_back(place);
      continue;
    }
    if (keep && !kept_.set(PageKey::of(page.block, page.offset), page.data))
      return fail(ErrorCode::kTooLarge, "more pages are to be kept than was agreed");
    FR_CHECK(on_page(page));
  }
  return {};
}

Status PageDecoder::decode_delta(ByteView& in, PageRecord page, const OnPage& on_page) {
  const auto hash = take_u64(in);
  const auto length = hash ? take_varint(in) : std::nullopt;
  const auto delta = length ? take(in, *length) : std::nullopt;
  if (!delta) return corrupt("a page's difference that ends too soon");
  PageBytes* before = kept_.find(PageKey::of(page.block, page.offset));
  if (before == nullptr) return corrupt("a difference to a page that was not kept");
  FR_CHECK(apply_delta(*delta, *before));
  if (hash_of(*before) != *hash)
    return corrupt(fmt::format("the page at {:#x} is not what was sent", page.offset));
  page.data = *before;
  return on_page(page);
}

void PageDecoder::reset() {
  kept_.clear();
  recent_.clear();
}

}  // namespace forerun::migrate
