#include "disk/virtual_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace forerun::disk {
namespace {

using repository::ChunkPtr;

const std::array<std::byte, 64 * kKiB> kZeroes{};
constexpr uint64_t kStatusWindow = 64 * kMiB;  // of one look-up, so that its answer stays small

void append_zeroes(uint64_t length, ReadSlices& out) {
  while (length > 0) {
    const uint64_t part = std::min<uint64_t>(length, kZeroes.size());
    out.slices.push_back(ByteView(kZeroes).first(part));
    length -= part;
  }
}

void touch(const image::Piece& piece, trace::ServedFrom from, std::vector<Touch>& touches) {
  if (!touches.empty()) {
    Touch& last = touches.back();
    if (last.component == piece.component && last.served_from == from &&
        piece.chunk_index >= last.first_chunk &&
        piece.chunk_index <= last.first_chunk + last.chunk_count) {
      const uint64_t count = piece.chunk_index + 1 - last.first_chunk;
      last.chunk_count = std::max(last.chunk_count, static_cast<uint32_t>(count));
      return;
    }
  }
  touches.push_back({piece.component, piece.chunk_index, 1, from});
}

void add_missing(const image::Piece& piece, std::vector<Missing>& missing) {
  const auto is_listed = [&](const Missing& each) { return each.chunk.id == piece.chunk.id; };
  if (std::ranges::any_of(missing, is_listed)) return;
  missing.push_back({piece.chunk, piece.component, piece.chunk_index});
}

// The chunk is what its id says; that its index tells the right size of it, nobody has checked.
Status check_size(const image::Piece& piece, const repository::Chunk& chunk) {
  if (fits({piece.offset_in_chunk, piece.range.length}, chunk.content.size())) return {};
  return fail(ErrorCode::kCorrupt, fmt::format("chunk {} has {} bytes, but the image's index wants "
                                               "{} at {} of it",
                                               chunk.id.hex(), chunk.content.size(),
                                               piece.range.length, piece.offset_in_chunk));
}

ByteView content_of(const image::Piece& piece, const repository::Chunk& chunk) {
  return ByteView(chunk.content).subspan(piece.offset_in_chunk, piece.range.length);
}

}  // namespace

VirtualDisk::VirtualDisk(image::MappingTable table, std::unique_ptr<Overlay> overlay,
                         tier::Tier& tier, std::string_view tenant)
    : table_(std::move(table)),
      overlay_(std::move(overlay)),
      tier_(tier),
      reader_(tier.add_reader(tenant)) {}

VirtualDisk::~VirtualDisk() { tier_.remove_reader(reader_); }

VirtualDisk::Found VirtualDisk::find(const ChunkId& id, const Pins* pins,
                                     bool allow_tier_file) const {
  if (pins != nullptr) {
    if (const auto pin = pins->find(id); pin != pins->end()) {
      tier_.note_reader(id, reader_);
      return {pin->second, trace::ServedFrom::kRepository};
    }
  }
  if (!allow_tier_file) return {tier_.find_in_memory(id, reader_), trace::ServedFrom::kMemory};
  tier::Level level = tier::Level::kNone;
  ChunkPtr chunk = tier_.find(id, &level, reader_);
  return {std::move(chunk),
          level == tier::Level::kFile ? trace::ServedFrom::kTierFile : trace::ServedFrom::kMemory};
}

Result<bool> VirtualDisk::try_read(ByteRange range, ReadSlices& out, DiskWork& work,
                                   ReadOptions options) {
  work.missing.clear();
  work.remote.clear();
  work.touches.clear();
  const ReadSlices::Mark mark = out.mark();
  if (overlay_ == nullptr) {
    Result<bool> served = serve_image(range, out, work, options);
    if (!served || !*served) out.roll_back(mark);
    return served;
  }
  work.runs.clear();
  overlay_->look_up(range, work.runs);
  bool is_complete = true;
  for (const OverlayRun& run : work.runs) {
    Result<bool> served = true;
    if (run.state == BlockState::kBase) {
      served = serve_image(run.range, out, work, options);
    } else if (run.state == BlockState::kZero) {
      append_zeroes(run.range.length, out);
    } else if (run.state == BlockState::kRemote) {
      work.remote.push_back(whole_blocks(run.range));
      served = false;
    } else if (is_complete) {
      served = serve_overlay(run.range, out);
    }
    if (!served) {
      out.roll_back(mark);
      return served;
    }
    is_complete = is_complete && *served;
    if (!is_complete && !options.list_missing) break;
  }
  if (!is_complete) out.roll_back(mark);
  return is_complete;
}

ByteRange VirtualDisk::whole_blocks(ByteRange range) const {
  const uint64_t first = round_down(range.offset, kOverlayBlockSize);
  return intersect({first, round_up(range.end(), kOverlayBlockSize) - first}, {0, size_bytes()});
}

Result<bool> VirtualDisk::serve_overlay(ByteRange range, ReadSlices& out) {
  Buffer& buffer = out.add_buffer(range.length);
  FR_CHECK(overlay_->read(range.offset, buffer));
  out.slices.emplace_back(buffer);
  return true;
}

Result<bool> VirtualDisk::serve_image(ByteRange range, ReadSlices& out, DiskWork& work,
                                      const ReadOptions& options) {
  work.pieces.clear();
  table_.look_up(range, work.pieces);
  bool is_complete = true;
  for (const image::Piece& piece : work.pieces) {
    if (piece.chunk.is_zero()) {
      // Of a gap between components there is nothing to tell.
      if (piece.chunk.size > 0) touch(piece, trace::ServedFrom::kLocal, work.touches);
      append_zeroes(piece.range.length, out);
      continue;
    }
    Found found = find(piece.chunk.id, options.pins, options.allow_tier_file);
    if (found.chunk == nullptr) {
      is_complete = false;
      if (!options.list_missing) return false;
      add_missing(piece, work.missing);
      continue;
    }
    FR_CHECK(check_size(piece, *found.chunk));
    touch(piece, found.from, work.touches);
    // What is missing is waited for; meanwhile a small tier may let go of the rest.
    if (options.pins != nullptr) options.pins->try_emplace(piece.chunk.id, found.chunk);
    out.slices.push_back(content_of(piece, *found.chunk));
    out.owners.push_back(std::move(found.chunk));
  }
  return is_complete;
}

bool VirtualDisk::prepare_write(ByteRange range, Pins& pins, DiskWork& work, bool allow_tier_file) {
  work.missing.clear();
  work.remote.clear();
  if (overlay_ == nullptr || range.empty()) return true;
  const uint64_t first = range.offset / kOverlayBlockSize;
  const uint64_t last = (range.end() - 1) / kOverlayBlockSize;
  const bool is_head_partial = range.offset % kOverlayBlockSize != 0;
  const bool is_tail_partial = range.end() % kOverlayBlockSize != 0 && range.end() != size_bytes();
  if (is_head_partial || (is_tail_partial && first == last)) {
    prepare_block(first, pins, work, allow_tier_file);
  }
  if (is_tail_partial && last != first) prepare_block(last, pins, work, allow_tier_file);
  return work.missing.empty() && work.remote.empty();
}

void VirtualDisk::prepare_block(uint64_t block, Pins& pins, DiskWork& work, bool allow_tier_file) {
  const ByteRange range =
      intersect({block * kOverlayBlockSize, kOverlayBlockSize}, {0, size_bytes()});
  work.runs.clear();
  overlay_->look_up(range, work.runs);
  if (work.runs.front().state == BlockState::kRemote) work.remote.push_back(range);
  // A block never goes back to the image, so what is not needed now is not needed later.
  if (work.runs.front().state != BlockState::kBase) return;
  work.pieces.clear();
  table_.look_up(range, work.pieces);
  for (const image::Piece& piece : work.pieces) {
    if (piece.chunk.is_zero() || pins.contains(piece.chunk.id)) continue;
    Found found = find(piece.chunk.id, nullptr, allow_tier_file);
    if (found.chunk != nullptr) {
      pins.emplace(piece.chunk.id, std::move(found.chunk));
    } else {
      add_missing(piece, work.missing);
    }
  }
}

Status VirtualDisk::read_image(ByteRange range, MutableByteView out, const Pins& pins) const {
  std::vector<image::Piece> pieces;
  table_.look_up(range, pieces);
  for (const image::Piece& piece : pieces) {
    const MutableByteView part = out.subspan(piece.range.offset - range.offset, piece.range.length);
    if (piece.chunk.is_zero()) {
      std::ranges::fill(part, std::byte{0});
      continue;
    }
    const Found found = find(piece.chunk.id, &pins, true);
    if (found.chunk == nullptr) {
      return fail(ErrorCode::kUnavailable,
                  fmt::format("chunk {} is not here, and a write to part of a block needs it",
                              piece.chunk.id.hex()));
    }
    FR_CHECK(check_size(piece, *found.chunk));
    std::ranges::copy(content_of(piece, *found.chunk), part.begin());
  }
  return {};
}

Overlay::ReadBase VirtualDisk::base_reader(const Pins& pins) const {
  return
      [this, &pins](ByteRange range, MutableByteView out) { return read_image(range, out, pins); };
}

Status VirtualDisk::refuse_write() const {
  return fail(ErrorCode::kDenied, "the disk is read-only");
}

Status VirtualDisk::write(uint64_t offset, ByteView data, const Pins& pins, bool fua) {
  if (overlay_ == nullptr) return refuse_write();
  FR_CHECK(overlay_->write(offset, data, base_reader(pins)));
  return fua ? overlay_->flush() : Status{};
}

Status VirtualDisk::write_zeroes(ByteRange range, bool may_punch, const Pins& pins, bool fua) {
  if (overlay_ == nullptr) return refuse_write();
  FR_CHECK(overlay_->write_zeroes(range, may_punch, base_reader(pins)));
  return fua ? overlay_->flush() : Status{};
}

Status VirtualDisk::trim(ByteRange range, const Pins& pins, bool fua) {
  return write_zeroes(range, true, pins, fua);
}

Status VirtualDisk::flush() { return overlay_ == nullptr ? Status{} : overlay_->flush(); }

namespace {

// Collects extents, joins those that are alike, and stops at a limit.
class StatusList {
 public:
  StatusList(size_t extents_max, std::vector<StatusExtent>& out)
      : out_(out), begin_(out.size()), end_(out.size() + extents_max) {}

  // Returns false once no more fits.
  bool add(uint64_t length, bool is_zero) {
    const StatusExtent extent{.length = length, .is_hole = is_zero, .is_zero = is_zero};
    if (out_.size() > begin_ && out_.back().is_zero == is_zero) {
      out_.back().length += length;
      return true;
    }
    if (out_.size() == end_) return false;
    out_.push_back(extent);
    return true;
  }

 private:
  std::vector<StatusExtent>& out_;
  const size_t begin_, end_;
};

}  // namespace

void VirtualDisk::block_status(ByteRange range, size_t extents_max,
                               std::vector<StatusExtent>& out) const {
  StatusList list(extents_max, out);
  std::vector<OverlayRun> runs;
  std::vector<image::Piece> pieces;
  for (ByteRange left = range; !left.empty();) {
    const ByteRange window{left.offset, std::min(left.length, kStatusWindow)};
    left = {window.end(), left.end() - window.end()};
    runs.clear();
    if (overlay_ != nullptr) {
      overlay_->look_up(window, runs);
    } else {
      runs.push_back({window, BlockState::kBase});
    }
    for (const OverlayRun& run : runs) {
      if (run.state != BlockState::kBase) {
        if (!list.add(run.range.length, run.state == BlockState::kZero)) return;
        continue;
      }
      pieces.clear();
      table_.look_up(run.range, pieces);
      for (const image::Piece& piece : pieces) {
        if (!list.add(piece.range.length, piece.chunk.is_zero())) return;
      }
    }
  }
}

}  // namespace forerun::disk
