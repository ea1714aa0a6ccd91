// The saved form of a component's history: docs/format_history.md, version 2.
#include <algorithm>

#include "predict/component_history.h"
#include "predict/saved_form.h"

namespace forerun::predict {
namespace {

using Kind = ComponentHistory::Kind;
using Entry = ComponentHistory::Entry;

constexpr uint32_t kVersion = 2;
constexpr uint64_t kKindBytesMax = 4 + 4 + 8 * ComponentHistory::kCompanionsMax;
constexpr uint64_t kEntryBytesMax = 8 + 4 + 4 + ComponentHistory::kKindsMax;

template <typename... Args>
std::unexpected<Error> corrupt(fmt::format_string<Args...> text, Args&&... args) {
  return fail(ErrorCode::kCorrupt,
              "saved history: " + fmt::format(text, std::forward<Args>(args)...));
}

Result<Kind> parse_kind(ByteReader& in) {
  Kind kind;
  kind.boots = from_bits(in.u32());
  const uint32_t count = in.u32();
  if (!in_range(kind.boots, 0, kSequenceBootsMax)) return corrupt("its boots are out of range");
  if (count > ComponentHistory::kCompanionsMax || in.left() / 8 < count)
    return corrupt("{} companions are too many", count);
  for (uint32_t i = 0; i < count; ++i) {
    const ComponentName name = in.u64();
    if (i > 0 && name <= kind.companions.back()) return corrupt("companions are out of order");
    kind.companions.push_back(name);
  }
  return kind;
}

Result<Entry> parse_entry(ByteReader& in, size_t kinds) {
  Entry entry;
  entry.block = in.u64();
  entry.rank = from_bits(in.u32());
  entry.time_s = from_bits(in.u32());
  for (size_t k = 0; k < kinds; ++k) entry.share[k] = in.u8();
  if (!in_range(entry.rank, 0, kSequenceRankMax) || !in_range(entry.time_s, 0, kSequenceTimeMaxS))
    return corrupt("block {} has a field out of range", entry.block);
  return entry;
}

// Version 1 knew no companions.
Result<ComponentHistory> from_version_1(ByteView saved, uint32_t blocks_max) {
  FR_TRY(const auto sequence, parse_block_sequence(saved, blocks_max));
  ComponentHistory history;
  history.kinds.push_back({{}, sequence->boots});
  for (const uint32_t index : sequence->by_block) {
    const SequenceEntry& from = sequence->entries[index];
    Entry entry{from.block, from.rank, from.time_s, {}};
    entry.share[0] = static_cast<uint8_t>(from.support * 255 + 0.5f);
    history.entries.push_back(entry);
  }
  return history;
}

}  // namespace

Buffer serialize(const ComponentHistory& history) {
  ByteWriter out = begin_saved(SavedKind::kHistory, kVersion);
  out.u32(static_cast<uint32_t>(history.kinds.size()));
  out.u32(static_cast<uint32_t>(history.entries.size()));
  for (const Kind& kind : history.kinds) {
    out.u32(to_bits(kind.boots));
    out.u32(static_cast<uint32_t>(kind.companions.size()));
    for (const ComponentName name : kind.companions) out.u64(name);
  }
  for (const Entry& entry : history.entries) {
    out.u64(entry.block);
    out.u32(to_bits(entry.rank));
    out.u32(to_bits(entry.time_s));
    for (size_t k = 0; k < history.kinds.size(); ++k) out.u8(entry.share[k]);
  }
  return seal(std::move(out));
}

Result<ComponentHistory> parse_component_history(ByteView saved, uint32_t blocks_max) {
  const uint64_t bytes_max = kSavedHeadBytes + 8 + ComponentHistory::kKindsMax * kKindBytesMax +
                             uint64_t{blocks_max} * kEntryBytesMax + kSavedDigestBytes;
  FR_TRY(const OpenedForm form, open_saved(saved, SavedKind::kHistory, bytes_max, kVersion));
  if (form.version == 1) return from_version_1(saved, blocks_max);
  ByteReader in(form.body);
  const uint32_t kinds = in.u32();
  const uint32_t count = in.u32();
  if (kinds < 1 || kinds > ComponentHistory::kKindsMax) return corrupt("{} kinds of boots", kinds);
  if (count > blocks_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("saved history: {} blocks are over the limit", count));
  ComponentHistory history;
  for (uint32_t k = 0; k < kinds; ++k) {
    FR_TRY(Kind kind, parse_kind(in));
    const bool is_new =
        std::all_of(history.kinds.begin(), history.kinds.end(),
                    [&](const Kind& known) { return known.companions != kind.companions; });
    if (!is_new) return corrupt("one kind of boots stands twice");
    history.kinds.push_back(std::move(kind));
  }
  if (!in.good() || in.left() != uint64_t{count} * (8 + 4 + 4 + kinds))
    return corrupt("{} entries do not fill it", count);
  for (uint32_t i = 0; i < count; ++i) {
    FR_TRY(const Entry entry, parse_entry(in, kinds));
    if (i > 0 && entry.block <= history.entries.back().block)
      return corrupt("block {} is out of order", entry.block);
    history.entries.push_back(entry);
  }
  return history;
}

}  // namespace forerun::predict
