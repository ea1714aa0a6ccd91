// ReplayHistory: merging boots, and the saved form (docs/format_history.md).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/codec.h"
#include "predict/replay.h"

namespace forerun::predict {
namespace {

constexpr std::string_view kMagic = "FRHIST\r\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 8 + 4 + 4 + 4;
constexpr size_t kEntryBytes = 8 + 4 + 4 + 4;
constexpr size_t kDigestBytes = 32;
constexpr float kBootsMax = 1e6f;
constexpr float kRankMax = 1e9f;
constexpr float kTimeMaxS = 1e7f;

// Saved as IEEE bits, so that a saved history merges exactly as the live one.
uint32_t to_bits(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float from_bits(uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

bool in_range(float value, float low, float high) {
  return value >= low && value <= high;
}  // false for NaN

bool earlier(const ReplayEntry& a, const ReplayEntry& b) {
  return a.rank != b.rank ? a.rank < b.rank : a.block < b.block;
}

std::shared_ptr<const ReplaySequence> finish(float boots, std::vector<ReplayEntry> entries) {
  auto sequence = std::make_shared<ReplaySequence>();
  sequence->boots = boots;
  std::sort(entries.begin(), entries.end(), earlier);
  sequence->entries = std::move(entries);
  const auto& ordered = sequence->entries;
  sequence->by_block.resize(ordered.size());
  std::iota(sequence->by_block.begin(), sequence->by_block.end(), 0u);
  std::sort(sequence->by_block.begin(), sequence->by_block.end(),
            [&](uint32_t a, uint32_t b) { return ordered[a].block < ordered[b].block; });
  return sequence;
}

Status check_entry(const ReplayEntry& entry) {
  if (!in_range(entry.support, 0, 1) || !in_range(entry.rank, 0, kRankMax) ||
      !in_range(entry.time_s, 0, kTimeMaxS))
    return fail(ErrorCode::kCorrupt,
                fmt::format("saved history: block {} has a field out of range", entry.block));
  return {};
}

}  // namespace

std::optional<uint32_t> ReplaySequence::find(uint64_t block) const {
  const auto found = std::lower_bound(
      by_block.begin(), by_block.end(), block,
      [&](uint32_t index, uint64_t wanted) { return entries[index].block < wanted; });
  if (found == by_block.end() || entries[*found].block != block) return std::nullopt;
  return *found;
}

ReplayHistory::ReplayHistory() : ReplayHistory(Options{}) {}
ReplayHistory::ReplayHistory(Options options) : options_(options) {}

std::shared_ptr<const ReplaySequence> ReplayHistory::sequence(ComponentId component) const {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  return known == known_.end() ? nullptr : known->second.sequence;
}

// Weights: every boot so far counts `keep` of what it did, the new one 1. Support is a weighted
// share; rank and time are means over the boots that touched the block, so two boots merged in
// either order differ only by their weights.
void ReplayHistory::merge(ComponentId component, const std::vector<FirstTouch>& boot,
                          float observed_s) {
  if (boot.empty()) return;
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  const float old_boots = known == known_.end() ? 0 : known->second.sequence->boots * options_.keep;
  const float boots = std::min(old_boots + 1, kBootsMax);
  std::map<uint64_t, ReplayEntry> merged;
  if (known != known_.end()) {
    for (ReplayEntry entry : known->second.sequence->entries) {
      if (entry.time_s <= observed_s) entry.support *= old_boots / boots;
      merged.emplace(entry.block, entry);
    }
  }
  float rank = 0;  // counts distinct blocks
  std::map<uint64_t, bool> in_boot;
  for (const FirstTouch& touch : boot) {
    if (!in_boot.emplace(touch.block, true).second || in_boot.size() > options_.blocks_max)
      continue;
    ReplayEntry& entry = merged[touch.block];
    const float old_weight = entry.support * boots;
    const float share = 1 / (old_weight + 1);
    entry.block = touch.block;
    entry.rank += (rank - entry.rank) * share;
    entry.time_s += (std::clamp(touch.time_s, 0.0f, kTimeMaxS) - entry.time_s) * share;
    entry.support = std::min(1.0f, (old_weight + 1) / boots);
    rank += 1;
  }
  std::vector<ReplayEntry> entries;
  for (const auto& [block, entry] : merged) {
    if (entry.support >= options_.support_min) entries.push_back(entry);
  }
  if (entries.size() > options_.blocks_max) {
    std::sort(entries.begin(), entries.end(), [](const ReplayEntry& a, const ReplayEntry& b) {
      return a.support != b.support ? a.support > b.support : a.block < b.block;
    });
    entries.resize(options_.blocks_max);
  }
  put(component, finish(boots, std::move(entries)));
}

void ReplayHistory::put(ComponentId component, std::shared_ptr<const ReplaySequence> sequence) {
  known_[component] = {std::move(sequence), ++merges_};
  if (known_.size() <= options_.components_max) return;
  const auto oldest = std::min_element(
      known_.begin(), known_.end(),
      [](const auto& a, const auto& b) { return a.second.merged_at < b.second.merged_at; });
  known_.erase(oldest);
}

void ReplayHistory::forget(ComponentId component) {
  const std::lock_guard lock(mutex_);
  known_.erase(component);
}

Buffer ReplayHistory::save(ComponentId component) const {
  const auto known = sequence(component);
  if (!known) return {};
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kVersion);
  out.u32(to_bits(known->boots));
  out.u32(static_cast<uint32_t>(known->entries.size()));
  for (const ReplayEntry& entry : known->entries) {
    out.u64(entry.block);
    out.u32(to_bits(entry.support));
    out.u32(to_bits(entry.rank));
    out.u32(to_bits(entry.time_s));
  }
  const Digest digest = sha256(out.view());
  out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), digest.bytes.size()});
  return out.take();
}

Status ReplayHistory::load(ComponentId component, ByteView saved) {
  if (saved.size() < kHeaderBytes + kDigestBytes)
    return fail(ErrorCode::kCorrupt, fmt::format("saved history: only {} bytes", saved.size()));
  if (saved.size() > kHeaderBytes + kDigestBytes + uint64_t{options_.blocks_max} * kEntryBytes)
    return fail(ErrorCode::kTooLarge,
                fmt::format("saved history: {} bytes are over the limit", saved.size()));
  ByteReader in(saved);
  if (as_text(in.bytes(kMagic.size())) != kMagic)
    return fail(ErrorCode::kCorrupt, "saved history: it does not begin with its mark");
  if (const uint32_t version = in.u32(); version != kVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("saved history: version {} is not known", version));
  const size_t body_bytes = saved.size() - kDigestBytes;
  const Digest digest = sha256(saved.first(body_bytes));
  if (std::memcmp(digest.bytes.data(), saved.data() + body_bytes, kDigestBytes) != 0)
    return fail(ErrorCode::kCorrupt, "saved history: its checksum does not match");
  const float boots = from_bits(in.u32());
  const uint32_t count = in.u32();
  if (!in_range(boots, 1, kBootsMax))
    return fail(ErrorCode::kCorrupt, "saved history: its boots are out of range");
  if (body_bytes - kHeaderBytes != uint64_t{count} * kEntryBytes)
    return fail(ErrorCode::kCorrupt,
                fmt::format("saved history: {} entries do not fill it", count));
  std::vector<ReplayEntry> entries(count);
  for (ReplayEntry& entry : entries) {
    entry.block = in.u64();
    entry.support = from_bits(in.u32());
    entry.rank = from_bits(in.u32());
    entry.time_s = from_bits(in.u32());
    FR_CHECK(check_entry(entry));
  }
  auto sequence = finish(boots, std::move(entries));
  for (size_t i = 1; i < sequence->by_block.size(); ++i) {
    const uint64_t block = sequence->entries[sequence->by_block[i]].block;
    if (sequence->entries[sequence->by_block[i - 1]].block == block)
      return fail(ErrorCode::kCorrupt, fmt::format("saved history: block {} stands twice", block));
  }
  const std::lock_guard lock(mutex_);
  put(component, std::move(sequence));
  return {};
}

size_t ReplayHistory::state_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& [component, known] : known_)
    bytes +=
        sizeof known + known.sequence->entries.size() * (sizeof(ReplayEntry) + sizeof(uint32_t));
  return bytes;
}

}  // namespace forerun::predict
