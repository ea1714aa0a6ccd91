// The checkpoints of this host's VMs: their chunks, each once whichever checkpoints hold it, and an
// index for each checkpoint. docs/checkpoints.md.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "disk/checkpoint_index.h"
#include "migrate/known_pages.h"
#include "net/directory_store.h"

namespace forerun::daemon {

// Where checkpoints of a VM stand: this host's own ones, or copies that another host keeps here.
struct CheckpointShelf {
  std::string vm;
  std::string host;  // whose copies; empty: our own
  bool operator==(const CheckpointShelf&) const = default;
};

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
  // Returns the content, verified. ERRORS: kNotFound, kCorrupt, kIo. Of this, get_stored() and
  // page_hashes(), who does not hold() may find chunks gone.
  Result<Buffer> get(const repository::ChunkRef& chunk);
  // Returns it as it is stored: packed, and not verified.
  Result<Buffer> get_stored(const repository::ChunkRef& chunk);
  // The checkpoint exists, durably, once this returns.
  Status save(const disk::CheckpointIndex& index);
  // Returns the numbers of a VM's checkpoints, oldest first.
  Result<std::vector<uint64_t>> list(const CheckpointShelf& shelf);
  Result<std::vector<uint64_t>> list(const std::string& vm) { return list({vm, ""}); }
  Result<disk::CheckpointIndex> load(const CheckpointShelf& shelf, uint64_t number);
  Result<disk::CheckpointIndex> load(const std::string& vm, uint64_t number) {
    return load({vm, ""}, number);
  }
  // Removes checkpoints, then the chunks that no other one holds. ERRORS: kNotFound.
  Status remove(const CheckpointShelf& shelf, const std::vector<uint64_t>& numbers);
  Status remove(const std::string& vm, const std::vector<uint64_t>& numbers) {
    return remove({vm, ""}, numbers);
  }

  // A copy that comes from another host: from begin_copy() on its chunks stay, those that are here
  // and those that are put. Returns those that are not. ERRORS: kNoSpace.
  Result<std::vector<repository::ChunkRef>> begin_copy(const CheckpointShelf& shelf,
                                                       const disk::CheckpointIndex& index);
  // It exists, durably, once this returns; the host's older copies of that VM are gone. ERRORS:
  // kCorrupt: a chunk did not come.
  Status end_copy(const CheckpointShelf& shelf, const disk::CheckpointIndex& index);
  void drop_copy(const CheckpointShelf& shelf);
  // Returns where copies for other hosts are, of all VMs.
  Result<std::vector<CheckpointShelf>> copies();
  // Returns where the newest checkpoint of a VM is, by its time, and its number; copies count.
  struct Newest {
    CheckpointShelf shelf;
    disk::CheckpointIndex index;
  };
  Result<std::optional<Newest>> newest(const std::string& vm);

  // Returns the hashes of a checkpoint's pages of memory: of all pages of all chunks that are no
  // zeroes, in their order. They are kept beside the index.
  Result<std::vector<migrate::PageHash>> page_hashes(const CheckpointShelf& shelf,
                                                     const disk::CheckpointIndex& index);
  // For what is being made: removed by who made it, and at the next opening.
  std::string temporary_path(const std::string& vm) const { return folder_ + "/" + vm + ".tmp"; }

 private:
  CheckpointStore(std::string folder, std::unique_ptr<net::DirectoryStore> chunks)
      : folder_(std::move(folder)), chunks_(std::move(chunks)) {}
  std::string index_folder(const CheckpointShelf& shelf) const;
  std::string index_path(const CheckpointShelf& shelf, uint64_t number) const;
  std::string partial_path(const CheckpointShelf& shelf) const;
  Result<std::vector<CheckpointShelf>> shelves();
  Status sweep();

  const std::string folder_;
  const std::unique_ptr<net::DirectoryStore> chunks_;
  std::mutex mutex_;
};

}  // namespace forerun::daemon
