#include "predict/sequence.h"

#include <algorithm>
#include <numeric>

#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kVersion = 1;
constexpr size_t kFieldsBytes = 4 + 4;
constexpr size_t kEntryBytes = 8 + 4 + 4 + 4;

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
  ByteWriter out = begin_saved(SavedKind::kHistory, kVersion);
  out.u32(to_bits(sequence.boots));
  out.u32(static_cast<uint32_t>(sequence.entries.size()));
  for (const SequenceEntry& entry : sequence.entries) {
    out.u64(entry.block);
    out.u32(to_bits(entry.support));
    out.u32(to_bits(entry.rank));
    out.u32(to_bits(entry.time_s));
  }
  return seal(std::move(out));
}

Result<std::shared_ptr<const BlockSequence>> parse_block_sequence(ByteView saved,
                                                                  uint32_t blocks_max) {
  const uint64_t bytes_max =
      kSavedHeadBytes + kFieldsBytes + uint64_t{blocks_max} * kEntryBytes + kSavedDigestBytes;
  FR_TRY(const OpenedForm form, open_saved(saved, SavedKind::kHistory, bytes_max, kVersion));
  ByteReader in(form.body);
  const float boots = from_bits(in.u32());
  const uint32_t count = in.u32();
  if (!in_range(boots, 1, kSequenceBootsMax))
    return fail(ErrorCode::kCorrupt, "saved sequence: its boots are out of range");
  if (!in.good() || in.left() != uint64_t{count} * kEntryBytes)
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
