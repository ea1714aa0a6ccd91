#include "predict/sequence.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/codec.h"
#include "core/id.h"

namespace forerun::predict {
namespace {

constexpr std::string_view kMagic = "FRHIST\r\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 8 + 4 + 4 + 4;
constexpr size_t kEntryBytes = 8 + 4 + 4 + 4;
constexpr size_t kDigestBytes = 32;

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

bool earlier(const SequenceEntry& a, const SequenceEntry& b) {
  return a.rank != b.rank ? a.rank < b.rank : a.block < b.block;
}

Status check_entry(const SequenceEntry& entry) {
  if (!in_range(entry.support, 0, 1) || !in_range(entry.rank, 0, kSequenceRankMax) ||
      !in_range(entry.time_s, 0, kSequenceTimeMaxS))
    return fail(ErrorCode::kCorrupt,
                fmt::format("saved sequence: block {} has a field out of range", entry.block));
  return {};
}

}  // namespace

std::optional<uint32_t> BlockSequence::find(uint64_t block) const {
  const auto found = std::lower_bound(
      by_block.begin(), by_block.end(), block,
      [&](uint32_t index, uint64_t wanted) { return entries[index].block < wanted; });
  if (found == by_block.end() || entries[*found].block != block) return std::nullopt;
  return *found;
}

std::shared_ptr<const BlockSequence> make_block_sequence(float boots,
                                                         std::vector<SequenceEntry> entries) {
  auto sequence = std::make_shared<BlockSequence>();
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

Buffer serialize(const BlockSequence& sequence) {
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kVersion);
  out.u32(to_bits(sequence.boots));
  out.u32(static_cast<uint32_t>(sequence.entries.size()));
  for (const SequenceEntry& entry : sequence.entries) {
    out.u64(entry.block);
    out.u32(to_bits(entry.support));
    out.u32(to_bits(entry.rank));
    out.u32(to_bits(entry.time_s));
  }
  const Digest digest = sha256(out.view());
  out.bytes({reinterpret_cast<const std::byte*>(digest.bytes.data()), digest.bytes.size()});
  return out.take();
}

Result<std::shared_ptr<const BlockSequence>> parse_block_sequence(ByteView saved,
                                                                  uint32_t blocks_max) {
  if (saved.size() < kHeaderBytes + kDigestBytes)
    return fail(ErrorCode::kCorrupt, fmt::format("saved sequence: only {} bytes", saved.size()));
  if (saved.size() > kHeaderBytes + kDigestBytes + uint64_t{blocks_max} * kEntryBytes)
    return fail(ErrorCode::kTooLarge,
                fmt::format("saved sequence: {} bytes are over the limit", saved.size()));
  ByteReader in(saved);
  if (as_text(in.bytes(kMagic.size())) != kMagic)
    return fail(ErrorCode::kCorrupt, "saved sequence: it does not begin with its mark");
  if (const uint32_t version = in.u32(); version != kVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("saved sequence: version {} is not known", version));
  const size_t body_bytes = saved.size() - kDigestBytes;
  const Digest digest = sha256(saved.first(body_bytes));
  if (std::memcmp(digest.bytes.data(), saved.data() + body_bytes, kDigestBytes) != 0)
    return fail(ErrorCode::kCorrupt, "saved sequence: its checksum does not match");
  const float boots = from_bits(in.u32());
  const uint32_t count = in.u32();
  if (!in_range(boots, 1, kSequenceBootsMax))
    return fail(ErrorCode::kCorrupt, "saved sequence: its boots are out of range");
  if (body_bytes - kHeaderBytes != uint64_t{count} * kEntryBytes)
    return fail(ErrorCode::kCorrupt,
                fmt::format("saved sequence: {} entries do not fill it", count));
  std::vector<SequenceEntry> entries(count);
  for (SequenceEntry& entry : entries) {
    entry.block = in.u64();
    entry.support = from_bits(in.u32());
    entry.rank = from_bits(in.u32());
    entry.time_s = from_bits(in.u32());
    FR_CHECK(check_entry(entry));
  }
  auto sequence = make_block_sequence(boots, std::move(entries));
  for (size_t i = 1; i < sequence->by_block.size(); ++i) {
    const uint64_t block = sequence->entries[sequence->by_block[i]].block;
    if (sequence->entries[sequence->by_block[i - 1]].block == block)
      return fail(ErrorCode::kCorrupt, fmt::format("saved sequence: block {} stands twice", block));
  }
  return sequence;
}

}  // namespace forerun::predict
