// One VM's own writes, over a shared read-only image: a sparse data file at disk offsets, and a map
// of which 4 KiB blocks are here, kept durable by a journal of checksummed records. Format:
// docs/format_overlay.md.
//
// The durability law: what flush() acknowledged survives a crash and a power cut. Order of a flush:
// data file, then journal. Before the journal's record is durable a block may read as old or new;
// never torn below 512 bytes if it was flushed, never as another block's data.
//
// A pulled overlay is one whose blocks are still at another host, that it moves from: such a block
// is kRemote until it arrives or the guest overwrites it, whichever is first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::disk {

inline constexpr uint32_t kOverlayBlockSize = 4096;

enum class BlockState : uint8_t { kBase = 0, kData = 1, kZero = 2, kRemote = 3 };

struct BlockRun {
  uint64_t first = 0;  // block number
  uint64_t count = 0;
  BlockState state = BlockState::kBase;

  uint64_t end() const { return first + count; }
  bool operator==(const BlockRun&) const = default;
};

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
  // fill from the image; those of kRemote to wait for.
  void look_up(ByteRange range, std::vector<OverlayRun>& runs) const;
  // Reads a range whose blocks are all kData.
  Status read(uint64_t offset, MutableByteView out);

  // Supplies base content for the block-aligned `range` when a write covers a block of kBase only
  // in part. REQUIRES of every write: no block that it covers in part is kRemote; kUnavailable if
  // one is.
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

  // What is not kBase, in order: kData, kZero, kRemote. REQUIRES for a whole: nobody writes.
  std::vector<BlockRun> runs() const;

  // Takes over the blocks of another host's overlay: `runs`, in order, of its states. What is kData
  // there is kRemote here. Durable on return, all of it or nothing. `pull_id`, not 0, names that
  // overlay as it was frozen. REQUIRES: nobody has written, and none does so meanwhile.
  // ERRORS: kExists: the overlay holds blocks; kInvalid: runs that no overlay of this size has;
  // kIo, kNoSpace.
  Status begin_pull(uint64_t pull_id, std::span<const BlockRun> runs);
  // Not 0: blocks may be at the host that this names; see begin_pull.
  uint64_t pull_id() const;
  uint64_t remote_blocks() const;
  // Returns the first range of kRemote blocks in `range`, whole blocks; empty: there is none. What
  // of `range` is behind the disk's end counts as none: models foresee such blocks, too.
  ByteRange next_remote(ByteRange range) const;
  // Blocks arrived: those still kRemote become kData, others keep what the guest has written since.
  // Durable at the next flush, as a write. REQUIRES: whole blocks. ERRORS: kIo, kNoSpace.
  Status put_remote(uint64_t offset, ByteView data);
  // Everything has come: makes it durable, then forgets where it came from. On return the other
  // host's overlay is not needed any more. REQUIRES: remote_blocks() is 0. ERRORS: as flush.
  Status end_pull();

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
