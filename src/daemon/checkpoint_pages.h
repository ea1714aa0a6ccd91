// The pages of a checkpoint that is here, for a VM that comes: what need not cross the link. And
// how checkpoints get from host to host. docs/checkpoints.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/checkpoint_store.h"
#include "migrate/known_pages.h"

namespace forerun::daemon {

// One thread. Keeps the chunks that were read last, 64 KiB each.
class CheckpointPages final : public migrate::KnownPages {
 public:
  static constexpr size_t kChunksKept = 16;

  // Of the newest checkpoint of the VM; null: there is none. `store` outlives this.
  static Result<std::unique_ptr<CheckpointPages>> open(CheckpointStore& store,
                                                       const std::string& vm);

  const std::vector<migrate::PageHash>& hashes() const { return hashes_; }
  // Returns which checkpoint it is, for people.
  std::string words() const;
  CheckpointStore& store() const { return store_; }
  const disk::CheckpointIndex& index() const { return newest_.index; }

  bool read(uint64_t number, MutableByteView out) override;

 private:
  struct Place {
    uint64_t first = 0;  // number of the chunk's first page
    repository::ChunkRef chunk;
  };
  CheckpointPages(CheckpointStore& store, CheckpointStore::Newest newest)
      : store_(store), newest_(std::move(newest)) {}
  const Buffer& content_of(const Place& place);

  CheckpointStore& store_;
  const CheckpointStore::Newest newest_;
  std::vector<migrate::PageHash> hashes_;
  std::vector<Place> places_;
  struct Kept {
    uint64_t first = UINT64_MAX;
    Buffer content;  // empty: it cannot be had
  };
  std::vector<Kept> kept_ = std::vector<Kept>(kChunksKept);
  size_t next_kept_ = 0;
};

}  // namespace forerun::daemon
