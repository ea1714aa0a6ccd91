#include "layout_disk.h"

#include <algorithm>
#include <cstring>

#include "image/component_tag.h"

namespace forerun::bench {

Status LayoutDisk::read(uint64_t offset, MutableByteView out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  std::vector<image::Piece> pieces;
  layout_.table.look_up({offset, out.size()}, pieces);
  for (const image::Piece& piece : pieces) {
    if (piece.chunk.is_zero()) continue;
    FR_TRY(const repository::ChunkPtr data, chunk(piece.chunk));
    const size_t at = piece.range.offset - offset;
    const ByteView view{data->content};
    const size_t count = std::min<size_t>(piece.range.length, view.size() - piece.offset_in_chunk);
    std::ranges::copy(view.subspan(piece.offset_in_chunk, count),
                      out.begin() + static_cast<ptrdiff_t>(at));
  }
  return {};
}

Result<repository::ChunkPtr> LayoutDisk::chunk(const repository::ChunkRef& ref) {
  constexpr size_t kKept = 1024;
  if (const auto known = chunks_.find(ref.id); known != chunks_.end()) return known->second;
  if (chunks_.size() >= kKept) chunks_.clear();
  FR_TRY(const repository::ChunkPtr data, repository::fetch_chunk(source_, ref));
  return chunks_[ref.id] = data;
}

void LayoutDisk::each_block(const ByteRange& range, const image::EachBlock& block) const {
  const ByteRange inside = intersect(range, {0, size_bytes()});
  if (inside.empty()) return;
  std::vector<image::Piece> pieces;
  layout_.table.look_up(inside, pieces);
  for (const image::Piece& piece : pieces) {
    if (!piece.chunk.is_zero()) block(piece.component.value, piece.chunk_index);
  }
}

Result<predict::Priors> foresee_again(const daemon::ImageCatalog::Layout& layout,
                                      repository::Source& source) {
  LayoutDisk disk(layout, source);
  uint32_t part_count = 0;
  for (const ComponentId id : layout.components()) part_count = std::max(part_count, id.value + 1);
  const auto found = image::foresee_boot(
      disk, part_count, [&](const ByteRange& range, const image::EachBlock& block) {
        disk.each_block(range, block);
      });
  if (!found) return std::unexpected(found.error());
  predict::Priors priors;
  // What chunks of metadata mean is known only to who made them.
  for (const auto& [component, prior] : layout.priors()) {
    if (!prior->meanings.empty())
      priors[component] =
          image::with_meanings(found->parts[component.value].get(), prior->meanings);
  }
  for (const auto& component : layout.table.components()) {
    const uint32_t part = component->id.value;
    if (part >= part_count || !found->parts[part]) continue;
    const auto index = image::fetch_component_index(source, component->digest);
    priors.try_emplace(component->id, index ? image::with_files(*found->parts[part], index->tree)
                                            : found->parts[part]);
  }
  return priors;
}

}  // namespace forerun::bench
