#include "migrate/memory_profile.h"

#include <algorithm>

namespace forerun::migrate {
namespace {

// One page of so many is looked at closely.
constexpr uint64_t kSampleEvery = 16;
constexpr uint64_t kPackEvery = 64;
constexpr size_t kPackBytes = 16 * kPageBytes;

uint64_t scattered(PageKey key) { return std::hash<PageKey>{}(key) >> 32; }

}  // namespace

uint64_t MemoryProfile::written_pages() const {
  uint64_t written = 0;
  for (const BlockProfile& block : blocks)
    written += static_cast<uint64_t>(std::count_if(block.rounds_written.begin(),
                                                   block.rounds_written.end(),
                                                   [](uint8_t rounds) { return rounds > 0; }));
  return written;
}

// A round sends what was written while the one before it was sent.
double MemoryProfile::dirty_pages_per_s() const {
  if (rounds.size() < 2) return 0;
  const RoundProfile& last = rounds.back();
  const double before_s = to_seconds(rounds[rounds.size() - 2].took);
  return before_s > 0 ? static_cast<double>(last.pages) / before_s : 0;
}

ProfileSink::ProfileSink(Options options)
    : options_(options), reader_({}, *this), samples_(options.delta_samples_max) {}

Status ProfileSink::feed(Time now, ByteView bytes) {
  if (now_ == Time{}) round_began_ = now;
  now_ = now;
  if (is_enough()) return {};
  return reader_.feed(bytes);
}

Status ProfileSink::on_blocks(const std::vector<RamBlock>& blocks) {
  uint64_t bytes = 0;
  for (const RamBlock& block : blocks) bytes += block.used_bytes;
  if (bytes > options_.ram_bytes_max)
    return fail(ErrorCode::kTooLarge, fmt::format("a guest of {:#x} bytes of memory", bytes));
  for (const RamBlock& block : blocks) {
    const uint64_t pages = block.used_bytes / kPageBytes;
    profile_.blocks.push_back({block, std::vector<uint8_t>(pages, 0)});
    in_round_.emplace_back(pages, false);
    profile_.pages += pages;
  }
  return {};
}

void ProfileSink::begin_round() {
  round_.took = now_ - round_began_;
  profile_.rounds.push_back(round_);
  round_ = {};
  round_began_ = now_;
  for (auto& pages : in_round_) pages.assign(pages.size(), false);
}

Status ProfileSink::on_page(const PageRecord& page) {
  const uint64_t number = page.offset / kPageBytes;
  if (in_round_[page.block][number]) begin_round();
  if (is_enough()) return {};
  in_round_[page.block][number] = true;
  ++round_.pages;
  const bool is_first = profile_.rounds.empty();
  if (!is_first) {
    uint8_t& written = profile_.blocks[page.block].rounds_written[number];
    if (written < 255) ++written;
  }
  if (page.data.empty() || all_zero(page.data)) {
    if (is_first) ++profile_.zero_pages;
    return {};
  }
  sample(page, PageKey::of(page.block, page.offset));
  return {};
}

void ProfileSink::sample(const PageRecord& page, PageKey key) {
  const uint64_t place = scattered(key);
  if (PageBytes* before = samples_.find(key)) {
    Buffer delta;
    const bool is_short = encode_delta(*before, page.data, kPageBytes / 2, delta);
    // One that is as it was had been written before it was sent, and only noticed after.
    const bool is_changed = !is_short || !delta.empty();
    delta_bytes_ += is_short ? delta.size() : kPageBytes;
    profile_.delta_samples += is_changed ? 1 : 0;
    std::copy(page.data.begin(), page.data.end(), before->begin());
  } else if (place % kSampleEvery == 0) {
    samples_.set(key, page.data);
  }
  if (!profile_.rounds.empty() || place % kPackEvery != 0) return;
  packing_.insert(packing_.end(), page.data.begin(), page.data.end());
  if (packing_.size() < kPackBytes) return;
  packed_.clear();
  packer_.pack(packing_, BatchCodec::kFast, packed_);
  plain_bytes_ += packing_.size();
  packed_bytes_ += packed_.size();
  packing_.clear();
}

Status ProfileSink::on_memory_end() {
  if (!is_enough()) begin_round();
  is_complete_ = true;
  return {};
}

MemoryProfile ProfileSink::take() {
  if (plain_bytes_ > 0)
    profile_.packed_ratio = static_cast<double>(packed_bytes_) / static_cast<double>(plain_bytes_);
  if (profile_.delta_samples > 0)
    profile_.delta_ratio = static_cast<double>(delta_bytes_) /
                           (static_cast<double>(profile_.delta_samples) * kPageBytes);
  return std::move(profile_);
}

}  // namespace forerun::migrate
