#include "disk/overlay_journal.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "core/codec.h"
#include "core/log.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kHeaderMagic = 0x31764f6e75726546;  // "FerunOv1"
constexpr uint32_t kBatchMagic = 0x42765246;           // "FRvB"
constexpr size_t kHeaderUsed = 96;
constexpr size_t kBatchHeader = 32;
constexpr size_t kRunSize = 12;
constexpr uint32_t kLastPart = 1;

void pad_to_sector(Buffer& buffer) { buffer.resize(round_up(buffer.size(), kJournalSector)); }

struct Batch {
  uint64_t commit = 0;
  uint32_t part = 0;
  bool is_last = false;
  uint64_t stored_bytes = 0;
  Buffer runs;
};

// Returns the batch at `offset`, or nothing if there is no whole and right one.
Result<std::optional<Batch>> read_batch(StorageFile& file, uint64_t offset, uint64_t file_end,
                                        uint64_t generation) {
  if (offset > file_end || file_end - offset < kBatchHeader) return std::nullopt;
  std::array<std::byte, kBatchHeader> head{};
  FR_CHECK(file.read(offset, head));
  ByteReader reader(head);
  const uint32_t magic = reader.u32();
  const uint32_t run_count = reader.u32();
  Batch batch;
  batch.commit = reader.u64();
  batch.part = reader.u32();
  const uint32_t flags = reader.u32();
  const uint64_t checksum = reader.u64();
  if (magic != kBatchMagic || run_count > kBatchRunsMax || flags > kLastPart) return std::nullopt;
  batch.is_last = flags == kLastPart;
  batch.stored_bytes = round_up(kBatchHeader + uint64_t{run_count} * kRunSize, kJournalSector);
  if (batch.stored_bytes > file_end - offset) return std::nullopt;
  batch.runs.resize(uint64_t{run_count} * kRunSize);
  FR_CHECK(file.read(offset + kBatchHeader, batch.runs));
  const uint64_t of_head = XXH3_64bits_withSeed(head.data(), kBatchHeader - 8, generation);
  if (XXH3_64bits_withSeed(batch.runs.data(), batch.runs.size(), of_head) != checksum) {
    return std::nullopt;
  }
  return batch;
}

Status apply(const Batch& batch, BlockMap& map, const std::string& file_name, bool is_pulled) {
  ByteReader reader(batch.runs);
  while (reader.left() > 0) {
    const uint64_t packed = reader.u64();
    const uint64_t count = reader.u32();
    const uint64_t first = packed >> 2;
    const uint64_t state = packed & 3;
    const bool is_known = state == 1 || state == 2 || (state == 3 && is_pulled);
    if (!is_known || count == 0 || first >= map.block_count() ||
        count > map.block_count() - first) {
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("overlay map {}: commit {} names blocks {}+{} in state {} of a disk of "
                      "{} blocks",
                      file_name, batch.commit, first, count, state, map.block_count()));
    }
    map.set(first, first + count, static_cast<BlockState>(state), BlockMap::Mark::kClean);
  }
  return {};
}

}  // namespace

Buffer serialize(const JournalHeader& header) {
  ByteWriter out;
  out.u64(kHeaderMagic);
  out.u32(kJournalVersion);
  out.u32(kOverlayBlockSize);
  out.u64(header.size_bytes);
  out.bytes(std::as_bytes(std::span(header.base.bytes)));
  out.u64(header.owner_token);
  out.u64(header.generation);
  out.u64(header.snapshot_bytes);
  out.u64(header.pull_id);
  out.u64(XXH3_64bits(out.view().data(), out.size()));
  Buffer sector = out.take();
  pad_to_sector(sector);
  return sector;
}

Result<JournalHeader> parse_journal_header(ByteView sector) {
  ByteReader in(sector);
  JournalHeader header;
  if (in.u64() != kHeaderMagic) return fail(ErrorCode::kCorrupt, "no overlay header");
  const uint32_t version = in.u32();
  const uint32_t block_size = in.u32();
  header.size_bytes = in.u64();
  const ByteView base = in.bytes(header.base.bytes.size());
  if (!base.empty()) std::memcpy(header.base.bytes.data(), base.data(), base.size());
  header.owner_token = in.u64();
  header.generation = in.u64();
  header.snapshot_bytes = in.u64();
  header.pull_id = in.u64();
  const uint64_t checksum = in.u64();
  if (!in.good() || XXH3_64bits(sector.data(), kHeaderUsed - 8) != checksum) {
    return fail(ErrorCode::kCorrupt, "the header does not match its checksum");
  }
  if (version != kJournalVersion || block_size != kOverlayBlockSize) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("version {} with blocks of {} bytes; this program knows version {} with {}",
                    version, block_size, kJournalVersion, kOverlayBlockSize));
  }
  return header;
}

void CommitEncoder::add(BlockRun run) {
  while (run.count > 0) {
    if (pending_.size() == kBatchRunsMax) close_batch(false);
    const uint64_t count = std::min<uint64_t>(run.count, UINT32_MAX);
    pending_.push_back({run.first, count, run.state});
    run.first += count;
    run.count -= count;
  }
}

Buffer CommitEncoder::finish() {
  close_batch(true);
  return std::move(out_);
}

void CommitEncoder::close_batch(bool is_last) {
  ByteWriter head;
  head.u32(kBatchMagic);
  head.u32(static_cast<uint32_t>(pending_.size()));
  head.u64(commit_);
  head.u32(part_++);
  head.u32(is_last ? kLastPart : 0);
  ByteWriter runs;
  for (const BlockRun& run : pending_) {
    runs.u64(run.first << 2 | static_cast<uint64_t>(run.state));
    runs.u32(static_cast<uint32_t>(run.count));
  }
  const uint64_t of_head = XXH3_64bits_withSeed(head.view().data(), head.size(), generation_);
  head.u64(XXH3_64bits_withSeed(runs.view().data(), runs.size(), of_head));
  out_.insert(out_.end(), head.view().begin(), head.view().end());
  out_.insert(out_.end(), runs.view().begin(), runs.view().end());
  pad_to_sector(out_);
  pending_.clear();
}

Result<std::unique_ptr<OverlayJournal>> OverlayJournal::open(StorageFolder& folder,
                                                             std::string file_name, Options options,
                                                             BlockMap& map) {
  std::unique_ptr<OverlayJournal> journal(
      new OverlayJournal(folder, std::move(file_name), options));
  if (folder.exists(journal->file_name_)) {
    FR_CHECK(journal->recover(map));
  } else {
    FR_CHECK(journal->rewrite(map));
  }
  return journal;
}

Status OverlayJournal::recover(BlockMap& map) {
  FR_TRY(file_, folder_.open(file_name_, false));
  FR_TRY(header_, read_header(*file_));
  FR_CHECK(check_header(header_));
  pull_id_ = header_.pull_id;
  FR_TRY(const bool is_clean, replay(map));
  if (!is_clean) {
    log::info("overlay map {}: dropped a torn end behind commit {}", file_name_, commit_);
  }
  // Always, since a killed predecessor may have left a commit, or the file's very name, that we can
  // read but that is not durable.
  return rewrite(map);
}

Status OverlayJournal::rewrite(const BlockMap& map) {
  const Buffer snapshot = encode_snapshot(map);
  FR_CHECK(write_snapshot(snapshot));
  return adopt_snapshot();
}

Status OverlayJournal::check_header(const JournalHeader& header) const {
  if (header.base != options_.base || header.size_bytes != options_.size_bytes) {
    return fail(
        ErrorCode::kInvalid,
        fmt::format("overlay map {} belongs to a disk of {} bytes over image {}, not to one of "
                    "{} bytes over {}",
                    file_name_, header.size_bytes, header.base.short_hex(), options_.size_bytes,
                    options_.base.short_hex()));
  }
  if (header.owner_token > options_.owner_token) {
    return fail(ErrorCode::kDenied,
                fmt::format("overlay map {} belongs to the owner with token {}; token {} is older",
                            file_name_, header.owner_token, options_.owner_token));
  }
  return {};
}

Result<JournalHeader> OverlayJournal::read_header(StorageFile& file) const {
  std::array<std::byte, kJournalSector> sector{};
  FR_CHECK(file.read(0, sector));
  auto header = parse_journal_header(sector);
  if (!header) {
    return std::unexpected(
        std::move(header.error()).within(fmt::format("cannot read overlay map {}", file_name_)));
  }
  return header;
}

// Returns whether the file ends behind a whole commit.
Result<bool> OverlayJournal::replay(BlockMap& map) {
  FR_TRY(const uint64_t file_end, file_->size());
  end_ = kJournalSector;
  commit_ = 0;
  uint32_t part = 0;
  while (true) {
    FR_TRY(const auto batch, read_batch(*file_, end_, file_end, header_.generation));
    if (!batch || batch->commit != commit_ || batch->part != part) break;
    FR_CHECK(apply(*batch, map, file_name_, header_.pull_id != 0));
    end_ += batch->stored_bytes;
    part = batch->is_last ? 0 : part + 1;
    commit_ += batch->is_last ? 1 : 0;
  }
  if (end_ - kJournalSector < header_.snapshot_bytes || commit_ == 0) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("overlay map {}: its snapshot is damaged at byte {}", file_name_, end_));
  }
  if (end_ >= file_end && part == 0) return true;
  FR_CHECK(check_no_later_commit(end_, file_end));
  return false;
}

// A power cut tears only the last commit, since one is begun when the one before is durable. A
// later commit behind a damaged one means that the medium lost what was acknowledged: never go on
// silently.
Status OverlayJournal::check_no_later_commit(uint64_t from, uint64_t file_end) {
  for (uint64_t offset = from + kJournalSector; offset < file_end; offset += kJournalSector) {
    FR_TRY(const auto batch, read_batch(*file_, offset, file_end, header_.generation));
    if (batch && batch->commit > commit_) {
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("overlay map {}: commit {} at byte {} is damaged, but commit {} follows",
                      file_name_, commit_, from, batch->commit));
    }
  }
  return {};
}

bool OverlayJournal::is_full() const {
  // A large snapshot is worth a longer journal, so that rewriting costs at most as much as it
  // saves.
  const uint64_t journal_bytes = end_ - kJournalSector - header_.snapshot_bytes;
  return journal_bytes > std::max(options_.bytes_max, header_.snapshot_bytes);
}

Status OverlayJournal::append(std::span<const BlockRun> runs) {
  CommitEncoder encoder(header_.generation, commit_);
  for (const BlockRun& run : runs) encoder.add(run);
  const Buffer batches = encoder.finish();
  FR_CHECK(file_->write(end_, batches));
  appended_end_ = end_ + batches.size();
  return {};
}

Status OverlayJournal::flush() {
  FR_CHECK(file_->flush());
  end_ = appended_end_;
  ++commit_;
  return {};
}

Buffer OverlayJournal::encode_snapshot(const BlockMap& map) const {
  CommitEncoder encoder(header_.generation + 1, 0);
  map.for_each_run([&](const BlockRun& run) { encoder.add(run); });
  return encoder.finish();
}

Status OverlayJournal::write_snapshot(ByteView snapshot) {
  next_header_ = {.size_bytes = options_.size_bytes,
                  .base = options_.base,
                  .owner_token = options_.owner_token,
                  .generation = header_.generation + 1,
                  .snapshot_bytes = snapshot.size(),
                  .pull_id = pull_id_};
  FR_TRY(const auto file, folder_.open(temporary_name(), true));
  FR_CHECK(file->resize(0));
  FR_CHECK(file->write(0, serialize(next_header_)));
  FR_CHECK(file->write(kJournalSector, snapshot));
  return file->flush();
}

Status OverlayJournal::adopt_snapshot() {
  file_ = nullptr;
  FR_CHECK(folder_.replace(temporary_name(), file_name_));
  FR_TRY(file_, folder_.open(file_name_, false));
  header_ = next_header_;
  end_ = kJournalSector + header_.snapshot_bytes;
  commit_ = 1;
  return {};
}

Status OverlayJournal::check_owner() {
  FR_TRY(const auto file, folder_.open(file_name_, false));
  FR_TRY(const JournalHeader now, read_header(*file));
  if (now.owner_token == header_.owner_token) return {};
  return fail(ErrorCode::kDenied,
              fmt::format("overlay map {} was taken over by the owner with token {}; ours is {}",
                          file_name_, now.owner_token, header_.owner_token));
}

}  // namespace forerun::disk
