#include "image/flatten.h"

#include <fmt/format.h>

#include "image/component_tag.h"
#include "image/tree_limits.h"
#include "repository/fetch.h"

namespace forerun::image {
namespace {

constexpr uint64_t kItemBytes = kMiB;  // of the disk, for one call
constexpr size_t kItemsPerBatch = 64;  // between two reports

// Writes what of `content` is not zeroes, in runs of whole blocks of the disk.
Status write_data(StorageFile& out, uint64_t offset, ByteView content, uint64_t& written) {
  const auto block_at = [&](size_t at) {
    const size_t size = kBlockSize - (offset + at) % kBlockSize;
    return content.subspan(at, std::min(size, content.size() - at));
  };
  for (size_t at = 0; at < content.size();) {
    size_t end = at;
    while (end < content.size() && !all_zero(block_at(end))) end += block_at(end).size();
    if (end > at) FR_CHECK(out.write(offset + at, content.subspan(at, end - at)));
    written += end - at;
    at = end < content.size() ? end + block_at(end).size() : end;
  }
  return {};
}

Result<uint64_t> copy(const MappingTable& table, const ByteRange& range, repository::Source& source,
                      StorageFile& out) {
  std::vector<Piece> pieces;
  table.look_up(range, pieces);
  repository::ChunkPtr chunk;  // the last one: pieces of one chunk often follow each other
  uint64_t written = 0;
  for (const Piece& piece : pieces) {
    if (piece.chunk.is_zero()) continue;
    if (!chunk || chunk->id != piece.chunk.id) {
      FR_TRY(chunk, repository::fetch_chunk(source, piece.chunk));
    }
    const ByteView content = ByteView(chunk->content).subspan(piece.offset_in_chunk);
    FR_CHECK(write_data(out, piece.range.offset, content.first(piece.range.length), written));
  }
  return written;
}

std::vector<ByteRange> items_of(const MappingTable& table) {
  std::vector<ByteRange> items;
  for (const Extent& extent : table.extents()) {
    for (uint64_t at = 0; at < extent.range.length; at += kItemBytes)
      items.push_back({extent.range.offset + at, std::min(kItemBytes, extent.range.length - at)});
  }
  return items;
}

}  // namespace

Result<uint64_t> flatten(const MappingTable& table, repository::Source& source, StorageFile& out,
                         const FlattenOptions& options) {
  FR_CHECK(out.resize(0));
  FR_CHECK(out.resize(table.size_bytes()));
  const std::vector<ByteRange> items = items_of(table);
  uint64_t total = 0;
  for (const ByteRange& item : items) total += item.length;
  uint64_t done = 0, written = 0;
  for (size_t first = 0; first < items.size(); first += kItemsPerBatch) {
    const size_t count = std::min(kItemsPerBatch, items.size() - first);
    std::vector<Result<uint64_t>> outcomes(count);
    const auto body = [&](size_t i) { outcomes[i] = copy(table, items[first + i], source, out); };
    if (options.parallel_for) {
      options.parallel_for(count, body);
    } else {
      for (size_t i = 0; i < count; ++i) body(i);
    }
    for (size_t i = 0; i < count; ++i) {
      if (!outcomes[i]) return std::unexpected(std::move(outcomes[i].error()));
      written += *outcomes[i];
      done += items[first + i].length;
    }
    if (options.on_progress) FR_CHECK(options.on_progress(done, total));
  }
  return written;
}

Result<MappingTable> map_composition(const Composition& composition, repository::Source& source) {
  std::vector<ComponentPtr> parts;
  for (const CompositionPart& part : composition.parts) {
    auto component = std::make_shared<Component>();
    component->id = ComponentId{static_cast<uint32_t>(parts.size())};
    component->digest = part.digest;
    if (part.kind == CompositionPart::Kind::kIndex) {
      FR_TRY(component->index, repository::fetch_index(source, part.digest));
    } else {
      FR_TRY(auto index, fetch_component_index(source, part.digest));
      component->index = std::move(index.data);
    }
    parts.push_back(std::move(component));
  }
  std::vector<Extent> extents;
  for (const CompositionExtent& extent : composition.extents)
    extents.push_back({extent.range, parts[extent.part], extent.part_offset});
  return MappingTable::create(composition.size_bytes, std::move(extents));
}

Result<Composition> fetch_composition(repository::Source& source, const Digest& digest) {
  FR_TRY(const Buffer bytes, source.fetch(composition_path(digest), kCompositionBytesMax));
  if (sha256(bytes) != digest)
    return fail(ErrorCode::kCorrupt,
                fmt::format("composition {} has other bytes", digest.short_hex()));
  return parse_composition(bytes);
}

}  // namespace forerun::image
