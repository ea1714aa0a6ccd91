// The virtual disk without waiting: a mapping table over the tier's chunks, and one VM's overlay
// over both. What is here is served; of what is not, the missing chunks are listed, and the caller
// comes back with them pinned.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "disk/block_device.h"
#include "disk/overlay.h"
#include "image/mapping_table.h"
#include "repository/chunk.h"
#include "tier/tier.h"
#include "trace/access.h"

namespace forerun::disk {

// A chunk that has to be fetched.
struct Missing {
  repository::ChunkRef chunk;
  ComponentId component;
  uint64_t chunk_index = 0;  // in the component
  bool operator==(const Missing&) const = default;
};

// Chunks that the caller holds because it waited for them. They are looked at before the tier, so
// eviction in between cannot make a read wait for ever.
using Pins = std::unordered_map<ChunkId, repository::ChunkPtr>;

// Adjacent chunks of one component that a read touched, for the models to see.
struct Touch {
  ComponentId component;
  uint64_t first_chunk = 0;
  uint32_t chunk_count = 0;
  trace::ServedFrom served_from = trace::ServedFrom::kLocal;
  bool operator==(const Touch&) const = default;
};

// What a call says beside its result, and its scratch. One per thread or connection; reused, it
// allocates nothing.
struct DiskWork {
  std::vector<Missing> missing;   // each chunk once
  std::vector<ByteRange> remote;  // of the overlay, whole blocks: still at another host
  std::vector<Touch> touches;     // of image data and image zeroes; not of the overlay

  std::vector<OverlayRun> runs;
  std::vector<image::Piece> pieces;
};

// Thread-safe. Ranges are checked by the caller: REQUIRES fits(range, size_bytes()).
class VirtualDisk {
 public:
  // `overlay` may be null: then the disk is read-only. `tier` outlives the disk.
  // The disk is one of the tier's readers while it lives, of this tenant.
  VirtualDisk(image::MappingTable table, std::unique_ptr<Overlay> overlay, tier::Tier& tier,
              std::string_view tenant = {});
  ~VirtualDisk();
  VirtualDisk(const VirtualDisk&) = delete;
  VirtualDisk& operator=(const VirtualDisk&) = delete;

  tier::Reader reader() const { return reader_; }
  uint64_t size_bytes() const { return table_.size_bytes(); }
  bool is_read_only() const { return overlay_ == nullptr; }
  Overlay* overlay() const { return overlay_.get(); }

  struct ReadOptions {
    Pins* pins = nullptr;          // held already; what is found is held there from now on
    bool allow_tier_file = false;  // chunks may be read from the tier's file here and now
    bool list_missing = true;      // false: give up at the first, for who will ask again
  };
  // Appends the data of `range` to `out` and returns true; or returns false, leaves `out` as it
  // was, and lists in `work.missing` and `work.remote` what is not here. ERRORS: kIo; kCorrupt: an
  // index tells a wrong size of a chunk.
  Result<bool> try_read(ByteRange range, ReadSlices& out, DiskWork& work, ReadOptions options);

  // Puts the chunks that a write to `range` will need into `pins` (it needs some where it covers a
  // block of the image only in part). Returns whether all are there; `work.missing` lists the
  // others, `work.remote` blocks of the overlay that are covered in part and not here.
  bool prepare_write(ByteRange range, Pins& pins, DiskWork& work, bool allow_tier_file);

  // REQUIRES for each: !is_read_only(), and prepare_write of the range returned true with these
  // pins. With `fua`, durable on return. ERRORS: kNoSpace, kIo, kDenied; kUnavailable if a pin is
  // missing after all.
  Status write(uint64_t offset, ByteView data, const Pins& pins, bool fua);
  Status write_zeroes(ByteRange range, bool may_punch, const Pins& pins, bool fua);
  Status trim(ByteRange range, const Pins& pins, bool fua);
  Status flush();

  // Appends extents that cover `range` from its start, adjacent ones never alike; at least one, at
  // most `extents_max`. Needs no chunk. REQUIRES: extents_max ≥ 1, range is not empty.
  void block_status(ByteRange range, size_t extents_max, std::vector<StatusExtent>& out) const;

 private:
  struct Found {
    repository::ChunkPtr chunk;
    trace::ServedFrom from = trace::ServedFrom::kMemory;
  };
  Found find(const ChunkId& id, const Pins* pins, bool allow_tier_file) const;
  Result<bool> serve_overlay(ByteRange range, ReadSlices& out);
  Result<bool> serve_image(ByteRange range, ReadSlices& out, DiskWork& work,
                           const ReadOptions& options);
  ByteRange whole_blocks(ByteRange range) const;
  void prepare_block(uint64_t block, Pins& pins, DiskWork& work, bool allow_tier_file);
  Status read_image(ByteRange range, MutableByteView out, const Pins& pins) const;
  Overlay::ReadBase base_reader(const Pins& pins) const;
  Status refuse_write() const;

  const image::MappingTable table_;
  const std::unique_ptr<Overlay> overlay_;
  tier::Tier& tier_;
  const tier::Reader reader_;
};

}  // namespace forerun::disk
