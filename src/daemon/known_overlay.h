// The disk of a VM that comes, where a checkpoint that is here holds parts of it: of those the
// other host says the SHA-256, and what is the same does not cross the link. docs/checkpoints.md.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "daemon/checkpoint_store.h"
#include "disk/overlay_source.h"

namespace forerun::daemon {

inline constexpr uint64_t kDigestsRange = 16 * kMiB;  // whose parts' digests go in one answer

// Reads the digests of the parts (64 KiB) of a range: of their bytes where the overlay had data at
// the freeze, and zeroes elsewhere. REQUIRES: the range is of whole parts, or ends with the disk.
Result<std::vector<Digest>> part_digests(disk::OverlaySource& source,
                                         const disk::OverlayContents& contents, ByteRange range);

// Somebody who can ask for them.
class DigestSource : public disk::OverlaySource {
 public:
  virtual Result<std::vector<Digest>> digests(ByteRange range) = 0;
};

// Thread-safe.
class KnownOverlay final : public disk::OverlaySource {
 public:
  // `store` outlives this.
  KnownOverlay(std::shared_ptr<DigestSource> source, CheckpointStore& store,
               const disk::CheckpointIndex& index);
  ~KnownOverlay() override;

  Result<disk::OverlayContents> contents() override;
  Result<uint64_t> read(ByteRange range, MutableByteView out, iosched::IoClass io_class) override;
  void stop() override { source_->stop(); }

  uint64_t known_bytes() const { return known_bytes_.load(); }  // that did not cross the link

 private:
  bool read_known(ByteRange range, MutableByteView out, bool may_ask);
  // Returns the part's chunk, if it is as it was at the checkpoint.
  const repository::ChunkRef* same_part(uint64_t number, bool may_ask);
  void ask(uint64_t window);

  const std::shared_ptr<DigestSource> source_;
  CheckpointStore& store_;
  const uint64_t disk_bytes_;
  std::map<uint64_t, repository::ChunkRef> parts_;
  std::atomic<uint64_t> pull_id_{0}, known_bytes_{0}, failed_{0};
  std::mutex mutex_;                    // guards all below
  std::set<uint64_t> windows_;          // asked for
  std::map<uint64_t, Digest> digests_;  // by part
};

}  // namespace forerun::daemon
