// The map file of an overlay: a header, a snapshot of the block map, then one commit a flush, all
// checksummed. Format: docs/format_overlay.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "disk/block_map.h"

namespace forerun::disk {

inline constexpr uint32_t kJournalVersion = 1;
inline constexpr uint64_t kJournalSector = 512;  // header and batches begin at multiples of it
inline constexpr uint32_t kBatchRunsMax =
    32 * 1024;  // so a reader never allocates more than 384 KiB

struct JournalHeader {
  uint64_t size_bytes = 0;
  Digest base;
  uint64_t owner_token = 0;
  uint64_t generation = 0;  // of this file; seeds the checksums of its batches
  uint64_t snapshot_bytes =
      0;  // of batches after the header that were flushed before the file got its name
  uint64_t pull_id = 0;  // see Overlay::pull_id
};
Buffer serialize(const JournalHeader& header);
// ERRORS: kCorrupt, kUnsupported.
Result<JournalHeader> parse_journal_header(ByteView sector);

// Turns runs into the batches of one commit. One use.
class CommitEncoder {
 public:
  CommitEncoder(uint64_t generation, uint64_t commit) : generation_(generation), commit_(commit) {}
  void add(BlockRun run);
  // Returns the batches, padded to whole sectors; the last one says so. At least one, even without
  // runs.
  Buffer finish();

 private:
  void close_batch(bool is_last);
  uint64_t generation_, commit_;
  uint32_t part_ = 0;
  std::vector<BlockRun> pending_;
  Buffer out_;
};

// One thread at a time.
class OverlayJournal {
 public:
  struct Options {
    uint64_t size_bytes = 0;
    Digest base;
    uint64_t bytes_max = 0;
    uint64_t owner_token = 0;
  };
  // Opens or creates `file_name` and replays it into `map`; then rewrites it, so that all of it is
  // durable and names the new owner. ERRORS: kCorrupt, kUnsupported, kInvalid (another image or
  // size), kDenied (fenced), kIo, kNoSpace.
  static Result<std::unique_ptr<OverlayJournal>> open(StorageFolder& folder, std::string file_name,
                                                      Options options, BlockMap& map);

  uint64_t pull_id() const { return header_.pull_id; }
  // From the next snapshot on.
  void set_pull(uint64_t pull_id) { pull_id_ = pull_id; }

  // Returns whether the next commit should be a rewrite.
  bool is_full() const;
  uint64_t bytes() const { return end_; }

  // Writes one commit behind the last. After an error the same place is written again.
  Status append(std::span<const BlockRun> runs);
  // Makes the appended commit durable. ERRORS: kIo: its fate is then unknown.
  Status flush();

  // A rewrite in three steps, so that the map is read before the data file is flushed.
  Buffer encode_snapshot(const BlockMap& map) const;
  Status write_snapshot(
      ByteView snapshot);   // to a new file, flushed; an error leaves the old file in force
  Status adopt_snapshot();  // ERRORS: which file is in force is then unknown

  // ERRORS: kDenied if the file now belongs to an owner with another token.
  Status check_owner();

 private:
  OverlayJournal(StorageFolder& folder, std::string file_name, Options options)
      : folder_(folder), file_name_(std::move(file_name)), options_(options) {}
  Status recover(BlockMap& map);
  Status rewrite(const BlockMap& map);
  Status check_header(const JournalHeader& header) const;
  Result<JournalHeader> read_header(StorageFile& file) const;
  Result<bool> replay(BlockMap& map);
  Status check_no_later_commit(uint64_t from, uint64_t file_end);
  std::string temporary_name() const { return file_name_ + ".new"; }

  StorageFolder& folder_;
  const std::string file_name_;
  const Options options_;
  std::unique_ptr<StorageFile> file_;
  JournalHeader header_;
  JournalHeader next_header_;  // of the snapshot being written
  uint64_t pull_id_ = 0;       // of the next snapshot
  uint64_t end_ = 0;           // where the next commit goes
  uint64_t appended_end_ = 0;  // behind the commit that is not flushed yet
  uint64_t commit_ = 0;        // number of the next commit
};

}  // namespace forerun::disk
