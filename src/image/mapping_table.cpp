#include "image/mapping_table.h"

#include <fmt/format.h>

namespace forerun::image {

using repository::ChunkRef;
using repository::kChunkSize;

namespace {

std::unexpected<Error> invalid(const Extent& extent, std::string_view what) {
  return fail(ErrorCode::kInvalid, fmt::format("the extent at {} of {} bytes {}",
                                               extent.range.offset, extent.range.length, what));
}

Status check_extent(const Extent& extent, uint64_t size_bytes, uint64_t previous_end) {
  if (extent.range.empty()) return invalid(extent, "is empty");
  if (!fits(extent.range, size_bytes)) return invalid(extent, "passes the end of the disk");
  if (extent.range.offset < previous_end)
    return invalid(extent, "overlaps or precedes the one before it");
  if (!extent.component) return {};
  const auto& index = extent.component->index;
  if (index.chunks.size() != repository::chunk_count(index.size_bytes)) {
    return invalid(extent, "has a component whose index does not cover its size");
  }
  if (!fits({extent.component_offset, extent.range.length}, index.size_bytes)) {
    return invalid(extent, "passes the end of its component");
  }
  return {};
}

// Appends the pieces of `range`, which lies within `extent`.
void append_pieces(const Extent& extent, ByteRange range, std::vector<Piece>& pieces) {
  if (!extent.component) {
    pieces.push_back({.range = range});
    return;
  }
  const Component& component = *extent.component;
  uint64_t at = extent.component_offset + (range.offset - extent.range.offset);
  while (!range.empty()) {
    const uint64_t number = at / kChunkSize;
    const auto offset_in_chunk = static_cast<uint32_t>(at % kChunkSize);
    const uint64_t length = std::min<uint64_t>(range.length, kChunkSize - offset_in_chunk);
    pieces.push_back({.range = {range.offset, length},
                      .chunk = component.index.chunks[number],
                      .offset_in_chunk = offset_in_chunk,
                      .component = component.id,
                      .chunk_index = number});
    at += length;
    range = {range.offset + length, range.length - length};
  }
}

}  // namespace

Result<MappingTable> MappingTable::create(uint64_t size_bytes, std::vector<Extent> extents) {
  uint64_t previous_end = 0;
  for (const Extent& extent : extents) {
    FR_CHECK(check_extent(extent, size_bytes, previous_end));
    previous_end = extent.range.end();
  }
  MappingTable table;
  table.size_bytes_ = size_bytes;
  table.extents_ = std::move(extents);
  return table;
}

MappingTable MappingTable::whole(ComponentPtr component) {
  FR_ASSERT(component != nullptr);
  const uint64_t size = component->index.size_bytes;
  FR_ASSERT(component->index.chunks.size() == repository::chunk_count(size));
  MappingTable table;
  table.size_bytes_ = size;
  if (size > 0) table.extents_.push_back({{0, size}, std::move(component), 0});
  return table;
}

void MappingTable::look_up(ByteRange range, std::vector<Piece>& pieces) const {
  FR_ASSERT(fits(range, size_bytes_));
  auto extent =
      std::upper_bound(extents_.begin(), extents_.end(), range.offset,
                       [](uint64_t offset, const Extent& e) { return offset < e.range.end(); });
  while (!range.empty()) {
    // Up to the next extent: a gap, which reads as zeroes.
    const uint64_t next =
        extent == extents_.end() ? range.end() : std::min(range.end(), extent->range.offset);
    if (next > range.offset) {
      pieces.push_back({.range = {range.offset, next - range.offset}});
      range = {next, range.end() - next};
      continue;
    }
    const ByteRange common = intersect(range, extent->range);
    append_pieces(*extent, common, pieces);
    range = {common.end(), range.end() - common.end()};
    ++extent;
  }
}

}  // namespace forerun::image
