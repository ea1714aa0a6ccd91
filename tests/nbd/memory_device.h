// A disk in memory, in chunks of 64 KiB behind a sharded table: what a warm tier costs, without the
// tier. With knobs that make reads wait or fail.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "disk/block_device.h"

namespace forerun::nbd_test {

struct MemoryDeviceOptions {
  uint64_t size_bytes = 0;
  bool read_only = false;
  unsigned slow_every = 0;  // of how many reads one has to wait; 0: none
  std::chrono::microseconds slow_time{20'000};
  uint64_t failing_from = UINT64_MAX;  // reads and writes that reach here fail
};

// Thread-safe.
class MemoryDevice final : public disk::BlockDevice {
 public:
  explicit MemoryDevice(MemoryDeviceOptions options) : options_(options) {}

  uint64_t size_bytes() const override { return options_.size_bytes; }
  bool is_read_only() const override { return options_.read_only; }
  Result<bool> try_read(ByteRange range, disk::ReadSlices& out) override;
  Status read(ByteRange range, disk::ReadSlices& out) override;
  Status write(uint64_t offset, ByteView data, bool fua) override;
  Status write_zeroes(ByteRange range, bool may_punch, bool fua) override;
  Status trim(ByteRange range, bool fua) override;
  Status flush() override { return {}; }
  Status block_status(ByteRange range, size_t extents_max,
                      std::vector<disk::StatusExtent>& out) override;

 private:
  static constexpr uint64_t kChunk = 64 * kKiB;
  static constexpr size_t kShards = 64;
  using ChunkPtr = std::shared_ptr<Buffer>;
  struct Shard {
    std::mutex mutex;
    std::unordered_map<uint64_t, ChunkPtr> chunks;
  };

  Shard& shard_of(uint64_t index) { return shards_[index % kShards]; }
  ChunkPtr find(uint64_t index);
  void append(ByteRange range, disk::ReadSlices& out);
  Status check(ByteRange range) const;

  const MemoryDeviceOptions options_;
  std::array<Shard, kShards> shards_;
  std::atomic<unsigned> reads_{0};
};

}  // namespace forerun::nbd_test
