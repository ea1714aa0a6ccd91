// A guest's memory and devices between QEMU's stream and a checkpoint: the last that the stream
// said of each page is kept in a file, then as chunks; and a stream is written from them again.
#pragma once

#include <functional>
#include <vector>

#include "core/storage_file.h"
#include "daemon/checkpoint_store.h"
#include "migrate/stream_reader.h"

namespace forerun::daemon {

// One thread at a time.
class MemorySpool final : public migrate::StreamVisitor {
 public:
  // `file` is empty, and outlives this.
  explicit MemorySpool(StorageFile& file) : file_(file) {}

  Status on_command(migrate::Command command, ByteView data) override;
  Status on_blocks(const std::vector<migrate::RamBlock>& blocks) override;
  Status on_page(const migrate::PageRecord& page) override;
  Status on_memory_end() override;
  Status on_bytes(migrate::Piece piece, ByteView bytes) override;

  // Puts what came into `store` and `index`. REQUIRES: the stream has ended, its memory's section
  // was `section`.
  Status store(uint32_t section, CheckpointStore& store, disk::CheckpointIndex& index);

 private:
  StorageFile& file_;
  std::vector<migrate::RamBlock> blocks_;
  std::vector<uint64_t> begins_;  // of each block, in the file
  std::vector<bool> has_data_;    // of each page of the file: other than zeroes stands there
  bool has_ended_ = false;        // the memory
  Buffer head_, tail_;
};

// Writes the stream of a checkpoint, in pieces. ERRORS: of the store, of `write`.
Status write_stream(const disk::CheckpointIndex& index, CheckpointStore& store,
                    const std::function<Status(ByteView)>& write);

}  // namespace forerun::daemon
