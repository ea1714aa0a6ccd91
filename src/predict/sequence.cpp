#include "predict/sequence.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kPlainVersion = 1;
constexpr uint32_t kMeaningsVersion = 3;  // 2 is a history's
constexpr uint32_t kFilesVersion = 4;
constexpr size_t kFieldsBytes = 4 + 4;
constexpr size_t kEntryBytes = 8 + 4 + 4 + 4;
constexpr size_t kMeaningBytes = 4 + 4 + 1;
constexpr size_t kFileRunBytes = 4;
constexpr uint32_t kSharedBit = uint32_t{1} << 31;

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

// Of the two versions that hold a sequence.
Result<std::vector<SequenceEntry>> parse_entries(ByteReader& in, uint32_t count) {
  std::vector<SequenceEntry> entries(count);
  for (SequenceEntry& entry : entries) {
    entry.block = in.u64();
    entry.support = from_bits(in.u32());
    entry.rank = from_bits(in.u32());
    entry.time_s = from_bits(in.u32());
    FR_CHECK(check_entry(entry));
  }
  return entries;
}

Result<std::vector<Meaning>> parse_meanings(ByteReader& in, uint32_t count) {
  std::vector<Meaning> meanings(count);
  for (size_t i = 0; i < meanings.size(); ++i) {
    Meaning& meaning = meanings[i];
    meaning.block = in.u32();
    meaning.name = in.u32();
    meaning.amount = in.u8();
    const bool is_next = i == 0 || std::tie(meanings[i - 1].block, meanings[i - 1].name) <
                                       std::tie(meaning.block, meaning.name);
    if (!is_next || meaning.amount == 0)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("saved sequence: a meaning of block {} is out of order or of nothing",
                              meaning.block));
  }
  return meanings;
}

Result<std::vector<FileRun>> parse_file_runs(ByteReader& in, uint32_t count) {
  std::vector<FileRun> runs(count);
  for (size_t i = 0; i < runs.size(); ++i) {
    const uint32_t word = in.u32();
    runs[i] = {word & ~kSharedBit, (word & kSharedBit) != 0};
    if (i > 0 && runs[i].first_block <= runs[i - 1].first_block)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("saved sequence: the run of files at block {} is out of order",
                              runs[i].first_block));
  }
  return runs;
}

uint32_t version_of(const BlockSequence& sequence) {
  return !sequence.meanings.empty()    ? kMeaningsVersion
         : !sequence.file_runs.empty() ? kFilesVersion
                                       : kPlainVersion;
}

// What stands behind the entries in a version.
size_t tail_item_bytes(uint32_t version) {
  return version == kMeaningsVersion ? kMeaningBytes : version == kFilesVersion ? kFileRunBytes : 0;
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
                                                         std::vector<SequenceEntry> entries,
                                                         std::vector<Meaning> meanings,
                                                         std::vector<FileRun> file_runs) {
  auto sequence = std::make_shared<BlockSequence>();
  sequence->boots = boots;
  std::sort(entries.begin(), entries.end(), earlier);
  sequence->entries = std::move(entries);
  const auto& ordered = sequence->entries;
  sequence->by_block.resize(ordered.size());
  std::iota(sequence->by_block.begin(), sequence->by_block.end(), 0u);
  std::sort(sequence->by_block.begin(), sequence->by_block.end(),
            [&](uint32_t a, uint32_t b) { return ordered[a].block < ordered[b].block; });
  std::sort(meanings.begin(), meanings.end());
  sequence->meanings = std::move(meanings);
  sequence->file_runs = std::move(file_runs);
  return sequence;
}

Buffer serialize(const BlockSequence& sequence) {
  const auto& meanings = sequence.meanings;
  const auto& runs = sequence.file_runs;
  FR_ASSERT(meanings.empty() || runs.empty());
  ByteWriter out = begin_saved(SavedKind::kHistory, version_of(sequence));
  out.u32(to_bits(sequence.boots));
  out.u32(static_cast<uint32_t>(sequence.entries.size()));
  for (const SequenceEntry& entry : sequence.entries) {
    out.u64(entry.block);
    out.u32(to_bits(entry.support));
    out.u32(to_bits(entry.rank));
    out.u32(to_bits(entry.time_s));
  }
  if (!meanings.empty()) out.u32(static_cast<uint32_t>(meanings.size()));
  for (const Meaning& meaning : meanings) {
    out.u32(static_cast<uint32_t>(meaning.block));
    out.u32(meaning.name);
    out.u8(meaning.amount);
  }
  if (!runs.empty()) out.u32(static_cast<uint32_t>(runs.size()));
  for (const FileRun& run : runs) out.u32(run.first_block | (run.is_shared ? kSharedBit : 0));
  return seal(std::move(out));
}

Result<std::shared_ptr<const BlockSequence>> parse_block_sequence(ByteView saved,
                                                                  uint32_t blocks_max) {
  const uint64_t bytes_max = kSavedHeadBytes + kFieldsBytes + uint64_t{blocks_max} * kEntryBytes +
                             4 + uint64_t{kMeaningsMax} * kMeaningBytes + kSavedDigestBytes;
  FR_TRY(const OpenedForm form, open_saved(saved, SavedKind::kHistory, bytes_max, kFilesVersion));
  const size_t item_bytes = tail_item_bytes(form.version);
  if (item_bytes == 0 && form.version != kPlainVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("saved sequence: version {} is a history's", form.version));
  ByteReader in(form.body);
  const float boots = from_bits(in.u32());
  const uint32_t count = in.u32();
  if (!in_range(boots, 1, kSequenceBootsMax))
    return fail(ErrorCode::kCorrupt, "saved sequence: its boots are out of range");
  if (count > blocks_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("saved sequence: {} blocks are over the limit", count));
  const uint64_t entries_bytes = uint64_t{count} * kEntryBytes;
  if (!in.good() || (item_bytes > 0 ? in.left() < entries_bytes + 4 : in.left() != entries_bytes))
    return fail(ErrorCode::kCorrupt,
                fmt::format("saved sequence: {} entries do not fill it", count));
  FR_TRY(std::vector<SequenceEntry> entries, parse_entries(in, count));
  const bool has_meanings = form.version == kMeaningsVersion;
  const uint32_t item_count = item_bytes > 0 ? in.u32() : 0;
  if (in.left() != uint64_t{item_count} * item_bytes)
    return fail(ErrorCode::kCorrupt, fmt::format("saved sequence: {} {} do not fill it", item_count,
                                                 has_meanings ? "meanings" : "runs of files"));
  FR_TRY(std::vector<Meaning> meanings, parse_meanings(in, has_meanings ? item_count : 0));
  FR_TRY(std::vector<FileRun> runs, parse_file_runs(in, has_meanings ? 0 : item_count));
  auto sequence =
      make_block_sequence(boots, std::move(entries), std::move(meanings), std::move(runs));
  for (size_t i = 1; i < sequence->by_block.size(); ++i) {
    const uint64_t block = sequence->entries[sequence->by_block[i]].block;
    if (sequence->entries[sequence->by_block[i - 1]].block == block)
      return fail(ErrorCode::kCorrupt, fmt::format("saved sequence: block {} stands twice", block));
  }
  return sequence;
}

}  // namespace forerun::predict
