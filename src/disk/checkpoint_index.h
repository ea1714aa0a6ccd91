// What a checkpoint of a VM holds: its memory and its own disk blocks as chunks of 64 KiB, named by
// content, what QEMU said of the rest, and the VM's record. Format: docs/checkpoints.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "disk/overlay.h"
#include "repository/chunk.h"

namespace forerun::disk {

struct CheckpointIndex {
  // A block of the guest's memory. `chunks` cover it in order, the last may be shorter.
  struct Memory {
    std::string name;  // as QEMU's stream names it
    uint64_t used_bytes = 0;
    std::vector<repository::ChunkRef> chunks;
    bool operator==(const Memory&) const = default;
  };
  struct Part {
    uint64_t number = 0;  // 64 KiB each, from the disk's beginning
    repository::ChunkRef chunk;
    bool operator==(const Part&) const = default;
  };

  std::string vm;
  uint64_t number = 0;  // 1 more for each of a VM
  int64_t created_unix_seconds = 0;
  uint64_t pause_us = 0;      // how long the guest stood still for it
  uint64_t stored_bytes = 0;  // that it added to the store
  std::string record;         // the VM's, as vmm::encode_vm_record has it

  Buffer head;  // of QEMU's stream, up to its blocks
  uint32_t section = 0;
  std::vector<Memory> memory;
  Buffer tail;  // behind the memory's end: devices

  uint64_t disk_bytes = 0;
  Digest base;                 // of the image's index
  std::vector<BlockRun> runs;  // of the overlay: kData and kZero
  std::vector<Part> parts;     // all that hold kData, in order

  bool operator==(const CheckpointIndex&) const = default;
};

inline constexpr uint64_t kCheckpointBytesMax = 1ull << 30;

// Calls `visit` with each chunk that is stored.
template <typename Visit>
void for_each_chunk(const CheckpointIndex& index, Visit visit) {
  for (const auto& memory : index.memory) {
    for (const auto& chunk : memory.chunks)
      if (!chunk.is_zero()) visit(chunk);
  }
  for (const auto& part : index.parts)
    if (!part.chunk.is_zero()) visit(part.chunk);
}

Buffer serialize(const CheckpointIndex& index);
// ERRORS: kCorrupt: not what serialize() gave, or damaged; kUnsupported: of another version.
Result<CheckpointIndex> parse_checkpoint_index(ByteView bytes);

}  // namespace forerun::disk
