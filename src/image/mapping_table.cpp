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

}  // namespace

// Cuts extents into parts, joins those that continue each other, numbers the components.
class MappingTable::Builder {
 public:
  Status add(const Extent& extent) {
    if (!extent.component) return {};  // as a gap
    FR_CHECK(number(extent.component));
    Extent rest = extent;
    if (continues(rest)) {
      Part& last = parts_.back();
      const uint64_t room = kPartBytesMax - last.length;
      const uint64_t more = std::min(room, rest.range.length);
      last.length += static_cast<uint32_t>(more);
      drop_front(rest, more);
    }
    while (!rest.range.empty()) {
      if (parts_.size() == kExtentsMax)
        return fail(ErrorCode::kTooLarge, fmt::format("a disk of over {} extents", kExtentsMax));
      const uint64_t length = std::min(kPartBytesMax, rest.range.length);
      starts_.push_back(rest.range.offset);
      parts_.push_back({.length = static_cast<uint32_t>(length),
                        .offset_low = static_cast<uint32_t>(rest.component_offset),
                        .offset_high = static_cast<uint16_t>(rest.component_offset >> 32),
                        .component = last_number_});
      drop_front(rest, length);
    }
    return {};
  }

  MappingTable build(uint64_t size_bytes) {
    MappingTable table;
    table.size_bytes_ = size_bytes;
    table.starts_ = ExtentSearch(starts_);
    parts_.shrink_to_fit();
    table.parts_ = std::move(parts_);
    table.components_ = std::move(components_);
    return table;
  }

 private:
  // Sets last_number_ to the number of `component`.
  Status number(const ComponentPtr& component) {
    if (!components_.empty() && components_[last_number_] == component) return {};
    const auto [found, is_new] =
        numbers_.try_emplace(component.get(), static_cast<uint16_t>(components_.size()));
    if (is_new) {
      if (components_.size() == kComponentsMax)
        return fail(ErrorCode::kTooLarge,
                    fmt::format("a disk of over {} components", kComponentsMax));
      components_.push_back(component);
    }
    last_number_ = found->second;
    return {};
  }

  bool continues(const Extent& extent) const {
    if (parts_.empty()) return false;
    const Part& last = parts_.back();
    return last.component == last_number_ && starts_.back() + last.length == extent.range.offset &&
           last.component_offset() + last.length == extent.component_offset;
  }

  static void drop_front(Extent& extent, uint64_t length) {
    extent.range = {extent.range.offset + length, extent.range.length - length};
    extent.component_offset += length;
  }

  std::vector<uint64_t> starts_;
  std::vector<Part> parts_;
  std::vector<ComponentPtr> components_;
  std::unordered_map<const Component*, uint16_t> numbers_;
  uint16_t last_number_ = 0;
};

Result<MappingTable> MappingTable::create(uint64_t size_bytes, std::vector<Extent> extents) {
  if (size_bytes > kSizeMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a disk of {} bytes", size_bytes));
  Builder builder;
  uint64_t previous_end = 0;
  for (const Extent& extent : extents) {
    FR_CHECK(check_extent(extent, size_bytes, previous_end));
    if (extent.component_offset + extent.range.length > kComponentOffsetMax)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("an extent at byte {} of a component", extent.component_offset));
    FR_CHECK(builder.add(extent));
    previous_end = extent.range.end();
  }
  return builder.build(size_bytes);
}

MappingTable MappingTable::whole(ComponentPtr component) {
  FR_ASSERT(component != nullptr);
  const uint64_t size = component->index.size_bytes;
  auto table = create(size, size == 0 ? std::vector<Extent>{}
                                      : std::vector<Extent>{{{0, size}, std::move(component), 0}});
  FR_ASSERT(table.has_value());
  return std::move(*table);
}

MappingTable MappingTable::grown(uint64_t size_bytes) const {
  FR_ASSERT(size_bytes >= size_bytes_ && size_bytes <= kSizeMax);
  MappingTable table = *this;
  table.size_bytes_ = size_bytes;
  return table;
}

std::vector<Extent> MappingTable::extents() const {
  std::vector<Extent> extents;
  extents.reserve(parts_.size());
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    const ComponentPtr& component = components_[part.component];
    if (!extents.empty()) {
      Extent& last = extents.back();
      if (last.component == component && last.range.end() == starts_[i] &&
          last.component_offset + last.range.length == part.component_offset()) {
        last.range.length += part.length;
        continue;
      }
    }
    extents.push_back({{starts_[i], part.length}, component, part.component_offset()});
  }
  return extents;
}

void MappingTable::append_pieces(const Part& part, uint64_t offset_in_part, ByteRange range,
                                 std::vector<Piece>& pieces) const {
  const Component& component = *components_[part.component];
  uint64_t at = part.component_offset() + offset_in_part;
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

void MappingTable::look_up(ByteRange range, std::vector<Piece>& pieces) const {
  FR_ASSERT(fits(range, size_bytes_));
  if (range.empty()) return;
  const uint64_t end = range.end();
  size_t next = starts_.rank(range.offset);  // the first part that begins after `at`
  for (uint64_t at = range.offset; at < end; ++next) {
    if (next > 0) {
      const uint64_t in_part = at - starts_[next - 1];
      const Part& part = parts_[next - 1];
      if (in_part < part.length) {
        const uint64_t length = std::min(part.length - in_part, end - at);
        append_pieces(part, in_part, {at, length}, pieces);
        at += length;
      }
    }
    // Up to the next part: a gap, which reads as zeroes.
    const uint64_t gap_end = next == parts_.size() ? end : std::min(end, starts_[next]);
    if (gap_end > at) {
      pieces.push_back({.range = {at, gap_end - at}});
      at = gap_end;
    }
  }
}

Location MappingTable::locate(uint64_t offset, size_t rank) const {
  if (rank > 0) {
    const Part& part = parts_[rank - 1];
    const uint64_t in_part = offset - starts_[rank - 1];
    if (in_part < part.length) {
      return {.component = components_[part.component].get(),
              .component_offset = part.component_offset() + in_part,
              .length = part.length - in_part};
    }
  }
  return {.length = (rank == parts_.size() ? size_bytes_ : starts_[rank]) - offset};
}

Location MappingTable::locate(uint64_t offset) const {
  FR_ASSERT(offset < size_bytes_);
  return locate(offset, starts_.rank(offset));
}

void MappingTable::locate(std::span<const uint64_t> offsets, std::span<Location> found) const {
  FR_ASSERT(offsets.size() == found.size());
  std::array<uint32_t, 128> ranks;  // few enough that what is asked for is still cached below
  while (!offsets.empty()) {
    const size_t count = std::min(offsets.size(), ranks.size());
    starts_.rank(offsets.first(count), std::span(ranks).first(count));
    for (size_t i = 0; i < count; ++i)
      __builtin_prefetch(parts_.data() + (ranks[i] > 0 ? ranks[i] - 1 : 0));
    for (size_t i = 0; i < count; ++i) {
      FR_ASSERT(offsets[i] < size_bytes_);
      found[i] = locate(offsets[i], ranks[i]);
    }
    offsets = offsets.subspan(count);
    found = found.subspan(count);
  }
}

size_t MappingTable::memory_bytes() const {
  return starts_.memory_bytes() + parts_.size() * sizeof(Part);
}

}  // namespace forerun::image
