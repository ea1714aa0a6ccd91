// The tier's file level on disk: chunk contents in slots of `data`, one record a slot in `index`
// (docs/format_tier.md). It stores and finds again; what is kept and for how long is the tier's
// business.
//
// Nothing here is flushed in any order: whatever a power cut leaves is found out when a content is
// verified against the id in its record, so the worst outcome is a miss.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "repository/chunk.h"

namespace forerun::tier {

inline constexpr uint32_t kSlotSize = repository::kChunkSize;
inline constexpr uint32_t kSlotRecordSize = 64;

struct SlotRecord {
  ChunkId id;
  uint32_t slot = 0;
  uint32_t size = 0;       // bytes of content, 1 to kSlotSize
  bool probation = false;  // prefetched, and not used when this was written
  uint64_t sequence = 0;   // a later record of the same chunk is the right one

  bool operator==(const SlotRecord&) const = default;
};

// Returns the record's form in the index.
Buffer encode_slot_record(const SlotRecord& record);
// Returns the record of `slot`, or nothing if it was never written, is torn, or belongs to another
// slot.
std::optional<SlotRecord> decode_slot_record(uint32_t slot, ByteView stored);

// Thread-safe where the files are. A slot belongs to who took it until it is released.
class SlotFile {
 public:
  struct Opened;
  // Reads the index. A damaged or foreign one is replaced by an empty one, with a log line; one of
  // another slot count is kept as far as it fits. ERRORS: kIo, kNoSpace.
  static Result<Opened> open(std::unique_ptr<StorageFile> data, std::unique_ptr<StorageFile> index,
                             uint32_t slot_count);

  // Returns a free slot, lowest first in a new file; nothing if there is none.
  std::optional<uint32_t> take();
  void release(uint32_t slot);
  // Releases a slot whose record must not be found again.
  void wipe_and_release(uint32_t slot);

  // Returns `size` bytes of the slot, not verified.
  Result<Buffer> read(uint32_t slot, uint32_t size);
  // Writes the content, then the record.
  Status write(const SlotRecord& record, ByteView content);
  Status write_record(const SlotRecord& record);
  Status flush();

 private:
  SlotFile(std::unique_ptr<StorageFile> data, std::unique_ptr<StorageFile> index)
      : data_(std::move(data)), index_(std::move(index)) {}
  Result<std::vector<SlotRecord>> load(uint32_t slot_count);
  Status start_empty(uint32_t slot_count);

  const std::unique_ptr<StorageFile> data_;
  const std::unique_ptr<StorageFile> index_;
  std::mutex mutex_;
  std::vector<uint32_t> free_slots_;  // guarded by mutex_; the last is the next
};

struct SlotFile::Opened {
  std::unique_ptr<SlotFile> file;
  std::vector<SlotRecord> records;  // oldest first, one for each chunk; their slots are taken
};

}  // namespace forerun::tier
