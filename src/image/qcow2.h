// A strict, read-only reader of qcow2 files, version 2 and 3: what an importer needs, and nothing
// that could lead out of the one file. Imported files come from outside, so every offset and count
// is checked before use, and what it cannot read exactly it refuses, saying so. SOURCE: the qcow2
// specification, docs/interop/qcow2.txt in QEMU.
//
// Reads: clusters of 512 bytes to 2 MiB; plain, zero, unallocated, and zlib or zstd compressed
// clusters; the active state of files with internal snapshots. Refuses: backing files, external
// data files, encryption, extended L2 entries, files marked dirty or corrupt, unknown incompatible
// features, tables outside the file, and tables or clusters that two references claim (so a small
// file cannot stand for a large disk again and again).
#pragma once

#include <list>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "image/disk_reader.h"
#include "repository/image_index.h"

namespace forerun::image {

bool is_qcow2_magic(ByteView head);

struct Qcow2Limits {
  uint64_t disk_size_max = repository::kImageSizeMax;
  uint64_t l1_bytes_max = 32 * kMiB;  // as QEMU
  uint64_t check_bytes_max =
      256 * kMiB;  // the bitmap of clusters that open() checks with, and gives back
  uint64_t cache_bytes_max = 4 * kMiB;  // L2 tables; as much again for unpacked large clusters
};

struct Qcow2Header {
  uint32_t version = 0;
  uint32_t cluster_bits = 0;
  uint64_t size_bytes = 0;  // rounded up to sectors
  uint64_t l1_offset = 0;
  uint32_t l1_entries = 0;
  bool is_zstd = false;  // how clusters are compressed, if any are

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  uint64_t l2_entries() const { return cluster_size() / 8; }
  uint64_t cluster_count() const { return (size_bytes + cluster_size() - 1) >> cluster_bits; }
  uint64_t l1_entries_needed() const { return (cluster_count() + l2_entries() - 1) / l2_entries(); }
};

// Returns the header in `head`, the first 512 bytes of a file of `file_size` bytes.
// ERRORS: kInvalid (not qcow2), kUnsupported (a feature), kCorrupt, kTooLarge.
Result<Qcow2Header> parse_qcow2_header(ByteView head, uint64_t file_size,
                                       const Qcow2Limits& limits);

// Thread-safe if the file is.
class Qcow2Reader final : public DiskReader {
 public:
  // Reads and checks the header and every table of `file`, which stays the caller's.
  // ERRORS: as parse_qcow2_header; kIo.
  static Result<std::unique_ptr<DiskReader>> open(StorageFile& file,
                                                  const Qcow2Limits& limits = {});

  uint64_t size_bytes() const override { return header_.size_bytes; }
  Status read(uint64_t offset, MutableByteView out) override;
  bool known_zero(ByteRange range) override;

 private:
  // What an L2 entry says of its cluster.
  struct Mapping {
    enum class Kind { kZero, kPlain, kCompressed } kind = Kind::kZero;
    uint64_t offset = 0;  // in the file
    uint64_t length = 0;  // of the compressed data, at most
  };
  using L2Table = std::shared_ptr<const std::vector<uint64_t>>;
  using ClusterContent = std::shared_ptr<const Buffer>;

  // A few entries of something costly, oldest out first.
  template <typename Value>
  class SmallCache {
   public:
    explicit SmallCache(size_t capacity) : capacity_(capacity) {}
    Value find(uint64_t key);
    void insert(uint64_t key, Value value);

   private:
    const size_t capacity_;
    std::mutex mutex_;
    std::unordered_map<uint64_t, Value> values_;  // guarded by mutex_
    std::list<uint64_t> order_;                   // guarded by mutex_
  };

  Qcow2Reader(StorageFile& file, uint64_t file_size, Qcow2Header header, const Qcow2Limits& limits);
  Status load_l1();
  Status check_tables();
  Result<std::vector<uint64_t>> read_table(uint64_t offset, uint64_t entries);
  Result<L2Table> l2_table(uint64_t l1_index);
  Result<Mapping> mapping_of(uint64_t cluster);
  Result<Mapping> parse_entry(uint64_t entry, uint64_t cluster) const;
  Status read_in_cluster(uint64_t cluster, uint64_t offset, MutableByteView out);
  Status unpack(const Mapping& mapping, uint64_t cluster, MutableByteView out);

  StorageFile& file_;
  const uint64_t file_size_;
  const Qcow2Header header_;
  std::vector<uint64_t> l1_;  // offsets of L2 tables; 0: none
  SmallCache<L2Table> tables_;
  SmallCache<ClusterContent> clusters_;
};

}  // namespace forerun::image
