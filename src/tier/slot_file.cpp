#include "tier/slot_file.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <unordered_set>

#include "core/codec.h"
#include "core/log.h"

namespace forerun::tier {
namespace {

constexpr uint64_t kMagic = 0x31'52'45'49'54'2d'52'46;  // "FR-TIER1" in the file
constexpr uint32_t kVersion = 1;
constexpr uint32_t kFlagProbation = 1;
constexpr size_t kChecksummed = kSlotRecordSize - sizeof(uint64_t);
constexpr uint32_t kRecordsPerRead = 1024;

uint64_t record_offset(uint32_t slot) { return (uint64_t{slot} + 1) * kSlotRecordSize; }
uint64_t slot_offset(uint32_t slot) { return uint64_t{slot} * kSlotSize; }

Buffer seal(ByteWriter writer) {
  const Buffer padding(kChecksummed - writer.size());
  writer.bytes(padding);
  writer.u64(XXH3_64bits(writer.view().data(), kChecksummed));
  return writer.take();
}

bool is_sealed(ByteView stored) {
  if (stored.size() != kSlotRecordSize) return false;
  ByteReader reader(stored.subspan(kChecksummed));
  return reader.u64() == XXH3_64bits(stored.data(), kChecksummed);
}

Buffer encode_header(uint32_t slot_count) {
  ByteWriter writer;
  writer.u64(kMagic);
  writer.u32(kVersion);
  writer.u32(kSlotSize);
  writer.u32(slot_count);
  return seal(std::move(writer));
}

// Returns the slot count. ERRORS: kCorrupt: not a header of this format and version.
Result<uint32_t> decode_header(ByteView stored) {
  ByteReader reader(stored);
  if (reader.u64() != kMagic) return fail(ErrorCode::kCorrupt, "it is not a tier index");
  if (!is_sealed(stored)) return fail(ErrorCode::kCorrupt, "its header is damaged");
  const uint32_t version = reader.u32();
  const uint32_t slot_size = reader.u32();
  if (version != kVersion || slot_size != kSlotSize) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("it is of version {} with slots of {} bytes", version, slot_size));
  }
  return reader.u32();
}

// Sorts by age and keeps the latest record of each chunk.
void keep_latest(std::vector<SlotRecord>& records) {
  std::sort(records.begin(), records.end(), [](const SlotRecord& a, const SlotRecord& b) {
    return std::pair{b.sequence, b.slot} < std::pair{a.sequence, a.slot};
  });
  std::unordered_set<ChunkId> seen;
  std::erase_if(records, [&](const SlotRecord& record) { return !seen.insert(record.id).second; });
  std::reverse(records.begin(), records.end());
}

}  // namespace

Buffer encode_slot_record(const SlotRecord& record) {
  ByteWriter writer;
  writer.bytes(std::as_bytes(std::span(record.id.bytes)));
  writer.u32(record.slot);
  writer.u32(record.size);
  writer.u64(record.sequence);
  writer.u32(record.probation ? kFlagProbation : 0);
  return seal(std::move(writer));
}

std::optional<SlotRecord> decode_slot_record(uint32_t slot, ByteView stored) {
  if (!is_sealed(stored)) return std::nullopt;
  ByteReader reader(stored);
  SlotRecord record;
  const ByteView id = reader.bytes(record.id.bytes.size());
  std::memcpy(record.id.bytes.data(), id.data(), id.size());
  record.slot = reader.u32();
  record.size = reader.u32();
  record.sequence = reader.u64();
  record.probation = (reader.u32() & kFlagProbation) != 0;
  if (record.slot != slot || record.size == 0 || record.size > kSlotSize) return std::nullopt;
  return record;
}

Status SlotFile::start_empty(uint32_t slot_count) {
  FR_CHECK(index_->resize(0));
  return index_->write(0, encode_header(slot_count));
}

Result<std::vector<SlotRecord>> SlotFile::load(uint32_t slot_count) {
  std::vector<SlotRecord> records;
  FR_TRY(const uint64_t index_size, index_->size());
  if (index_size == 0) {
    FR_CHECK(start_empty(slot_count));
    return records;
  }
  Buffer header(kSlotRecordSize);
  FR_CHECK(index_->read(0, header));
  const Result<uint32_t> stored_count = decode_header(header);
  if (!stored_count) {
    log::warn("tier: the index is dropped and the file level starts empty: {}",
              stored_count.error().message);
    FR_CHECK(start_empty(slot_count));
    return records;
  }
  FR_TRY(const uint64_t data_size, data_->size());
  const uint32_t count = std::min(*stored_count, slot_count);
  Buffer block;
  for (uint32_t first = 0; first < count; first += kRecordsPerRead) {
    const uint32_t here = std::min(kRecordsPerRead, count - first);
    block.resize(size_t{here} * kSlotRecordSize);
    FR_CHECK(index_->read(record_offset(first), block));
    for (uint32_t i = 0; i < here; ++i) {
      const ByteView stored = ByteView(block).subspan(size_t{i} * kSlotRecordSize, kSlotRecordSize);
      auto record = decode_slot_record(first + i, stored);
      if (record && slot_offset(record->slot) + record->size <= data_size) {
        records.push_back(*record);
      }
    }
  }
  if (*stored_count != slot_count) {
    FR_CHECK(index_->write(0, encode_header(slot_count)));
    FR_CHECK(index_->resize(std::min(index_size, record_offset(slot_count))));
    FR_CHECK(data_->resize(std::min(data_size, slot_offset(slot_count))));
  }
  return records;
}

Result<SlotFile::Opened> SlotFile::open(std::unique_ptr<StorageFile> data,
                                        std::unique_ptr<StorageFile> index, uint32_t slot_count) {
  Opened opened;
  opened.file.reset(new SlotFile(std::move(data), std::move(index)));
  FR_TRY(opened.records, opened.file->load(slot_count));
  keep_latest(opened.records);
  std::vector<bool> taken(slot_count);
  for (const SlotRecord& record : opened.records) taken[record.slot] = true;
  for (uint32_t slot = slot_count; slot-- > 0;) {
    if (!taken[slot]) opened.file->free_slots_.push_back(slot);
  }
  return opened;
}

std::optional<uint32_t> SlotFile::take() {
  const std::scoped_lock lock(mutex_);
  if (free_slots_.empty()) return std::nullopt;
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void SlotFile::release(uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  free_slots_.push_back(slot);
}

void SlotFile::wipe_and_release(uint32_t slot) {
  const Buffer nothing(kSlotRecordSize);
  // If this fails, the record is found after a restart, and its content is verified like any other.
  std::ignore = index_->write(record_offset(slot), nothing);
  release(slot);
}

Result<Buffer> SlotFile::read(uint32_t slot, uint32_t size) {
  Buffer content(size);
  FR_CHECK(data_->read(slot_offset(slot), content));
  return content;
}

Status SlotFile::write(const SlotRecord& record, ByteView content) {
  FR_CHECK(data_->write(slot_offset(record.slot), content));
  return write_record(record);
}

Status SlotFile::write_record(const SlotRecord& record) {
  return index_->write(record_offset(record.slot), encode_slot_record(record));
}

Status SlotFile::flush() {
  FR_CHECK(data_->flush());
  return index_->flush();
}

}  // namespace forerun::tier
