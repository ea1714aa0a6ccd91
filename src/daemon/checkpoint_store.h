// The checkpoints of this host's VMs: their chunks, each once whichever checkpoints hold it, and an
// index for each checkpoint. docs/checkpoints.md.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/result.h"
#include "disk/checkpoint_index.h"
#include "net/directory_store.h"

namespace forerun::daemon {

// Thread-safe.
class CheckpointStore {
 public:
  // Opens or creates the store in `folder`.
  static Result<std::unique_ptr<CheckpointStore>> open(const std::string& folder);

  // Held while a checkpoint is made, read or removed: what one puts, no other removes.
  std::unique_lock<std::mutex> hold() { return std::unique_lock(mutex_); }

  // Stores a chunk of at most kChunkSize bytes, unless it is there and sound; zeroes need no place.
  // Adds to `stored_bytes` what it took. REQUIRES of this and all below: hold().
  Result<repository::ChunkRef> put(ByteView content, uint64_t& stored_bytes);
  // Returns the content, verified. ERRORS: kNotFound, kCorrupt, kIo.
  Result<Buffer> get(const repository::ChunkRef& chunk);
  // The checkpoint exists, durably, once this returns.
  Status save(const disk::CheckpointIndex& index);
  // Returns the numbers of a VM's checkpoints, oldest first.
  Result<std::vector<uint64_t>> list(const std::string& vm);
  Result<disk::CheckpointIndex> load(const std::string& vm, uint64_t number);
  // Removes checkpoints, then the chunks that no other one holds. ERRORS: kNotFound.
  Status remove(const std::string& vm, const std::vector<uint64_t>& numbers);
  // For what is being made: removed by who made it, and at the next opening.
  std::string temporary_path(const std::string& vm) const { return folder_ + "/" + vm + ".tmp"; }

 private:
  CheckpointStore(std::string folder, std::unique_ptr<net::DirectoryStore> chunks)
      : folder_(std::move(folder)), chunks_(std::move(chunks)) {}
  std::string index_folder(const std::string& vm) const { return folder_ + "/vms/" + vm; }
  std::string index_path(const std::string& vm, uint64_t number) const;
  Status sweep();

  const std::string folder_;
  const std::unique_ptr<net::DirectoryStore> chunks_;
  std::mutex mutex_;
};

}  // namespace forerun::daemon
