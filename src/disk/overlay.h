// One VM's own writes, over a shared read-only image: a sparse data file at disk offsets, and a map
// of which 4 KiB blocks are here, kept durable by a journal of checksummed records. Format:
// docs/format_overlay.md.
//
// The durability law: what flush() acknowledged survives a crash and a power cut. Order of a flush:
// data file, then journal. Before the journal's record is durable a block may read as old or new;
// never torn below 512 bytes if it was flushed, never as another block's data.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::disk {

inline constexpr uint32_t kOverlayBlockSize = 4096;

enum class BlockState : uint8_t { kBase = 0, kData = 1, kZero = 2 };

struct OverlayRun {
  ByteRange range;
  BlockState state = BlockState::kBase;
};

// Thread-safe: overlapping writes are ordered, others run side by side.
class Overlay {
 public:
  struct Options {
    uint64_t size_bytes = 0;
    Digest base;  // the image's index digest: an overlay belongs to one image
    uint64_t journal_bytes_max = 8ull << 20;  // then the map is rewritten as one snapshot
    uint64_t owner_token = 0;  // fencing: opening with a smaller token than the file's is refused
    // Names the running kernel (a hash of its boot id). If it is the same at the next opening,
    // writes that completed without a flush are found again, so a guest whose server was killed
    // goes on. 0: they are lost with the process. REQUIRES: it differs after anything that can lose
    // un-flushed file writes, but for a failed flush: the next opening then writes all data again.
    uint64_t boot_token = 0;
  };
  // Opens `name` in `folder` or creates it; recovers the map from the journal, dropping what a
  // power cut tore. ERRORS: kCorrupt, kInvalid (another image or size), kDenied (fenced), kIo
  // (also: an earlier flush failed on this kernel, and so did writing its data again), kNoSpace.
  static Result<std::unique_ptr<Overlay>> open(StorageFolder& folder, const std::string& name,
                                               Options options);
  ~Overlay();

  // Appends runs that cover `range` in order, cut at its ends. Runs of kBase are for the caller to
  // fill from the image.
  void look_up(ByteRange range, std::vector<OverlayRun>& runs) const;
  // Reads a range whose blocks are all kData.
  Status read(uint64_t offset, MutableByteView out);

  // Supplies base content for the block-aligned `range` when a write covers a block of kBase only
  // in part.
  using ReadBase = std::function<Status(ByteRange range, MutableByteView out)>;
  Status write(uint64_t offset, ByteView data, const ReadBase& read_base);
  // With `may_punch`, whole blocks become kZero and give their space back; without, zeroes are
  // written as data, so that later writes need no new space.
  Status write_zeroes(ByteRange range, bool may_punch, const ReadBase& read_base);
  // Makes durable every write that completed before the call. Calls that arrive together share one
  // flush of the files. ERRORS: kNoSpace: nothing is lost, try again. kIo, kDenied: the fate of
  // un-flushed writes is unknown, or another owner has opened the overlay; every later flush is
  // refused with that error until the overlay is opened again.
  Status flush();

  uint64_t allocated_bytes() const;

  struct Stats {
    uint64_t flush_calls = 0;    // of flush()
    uint64_t flush_runs = 0;     // that touched the files: calls that arrive together share one
    uint64_t journal_bytes = 0;  // of the map file
    uint64_t rewrites = 0;       // of the map file since opening
  };
  Stats stats() const;

 private:
  struct Impl;
  explicit Overlay(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::disk
