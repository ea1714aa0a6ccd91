#include "image/composer.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_set>

namespace forerun::image {
namespace {

using repository::EncodedChunk;
using repository::ImageIndex;

constexpr uint64_t kMeaningUnit = 256;  // bytes: an inode's record

static_assert(SparseBytes::kPieceSize == repository::kChunkSize);

// Packs the pieces that are not zeroes into chunks, one behind the other, and says where on the
// disk they belong.
void pack_metadata(const SparseBytes& metadata, const ComposeOptions& options,
                   ComposedImage& image) {
  std::vector<uint64_t> pieces;
  for (uint64_t i = 0; i < metadata.piece_count(); ++i) {
    const ByteView piece = metadata.find(i);
    if (!piece.empty() && !all_zero(piece)) pieces.push_back(i);
  }
  std::vector<EncodedChunk> packed(pieces.size());
  const auto pack = [&](size_t i) {
    packed[i] = repository::encode_chunk(metadata.find(pieces[i]), options.zstd_level);
    packed[i].stored.shrink_to_fit();  // it has room for what does not compress
  };
  if (options.parallel_for) {
    options.parallel_for(pieces.size(), pack);
  } else {
    for (size_t i = 0; i < pieces.size(); ++i) pack(i);
  }

  image.metadata.size_bytes = pieces.size() * repository::kChunkSize;
  std::unordered_set<ChunkId> seen;
  for (size_t i = 0; i < pieces.size(); ++i) {
    image.metadata.chunks.push_back(packed[i].ref);
    const uint64_t at = pieces[i] * repository::kChunkSize;
    const bool follows = !image.extents.empty() && image.extents.back().range.end() == at;
    if (follows) {
      image.extents.back().range.length += repository::kChunkSize;
    } else {
      image.extents.push_back({{at, repository::kChunkSize}, 0, i * repository::kChunkSize});
    }
    if (!seen.insert(packed[i].ref.id).second) continue;
    image.statistics.stored_bytes += packed[i].ref.stored_size;
    image.chunks.push_back(std::move(packed[i]));
  }
  image.statistics.metadata_bytes = image.metadata.size_bytes;
}

// Puts the names of ranges of the disk into the metadata's chunks, as pack_metadata() numbered
// them.
std::vector<predict::Meaning> meanings_of(const std::vector<NamedRange>& names,
                                          const std::vector<ComposedExtent>& metadata) {
  struct Part {
    uint64_t chunk = 0;
    uint32_t name = 0;
    uint64_t bytes = 0;
    bool is_same(const Part& other) const { return chunk == other.chunk && name == other.name; }
  };
  std::vector<Part> parts;
  parts.reserve(names.size());
  const auto is_before = [](uint64_t offset, const ComposedExtent& extent) {
    return offset < extent.range.end();
  };
  for (const NamedRange& named : names) {
    auto extent = std::upper_bound(metadata.begin(), metadata.end(), named.range.offset, is_before);
    for (; extent != metadata.end() && extent->range.offset < named.range.end(); ++extent) {
      ByteRange left = intersect(extent->range, named.range);
      while (!left.empty()) {
        const uint64_t at = extent->part_offset + (left.offset - extent->range.offset);
        const uint64_t size =
            std::min(left.length, repository::kChunkSize - at % repository::kChunkSize);
        parts.push_back({at / repository::kChunkSize, named.name, size});
        left = {left.offset + size, left.length - size};
      }
    }
  }
  std::ranges::sort(parts, {}, [](const Part& part) { return std::tie(part.chunk, part.name); });
  std::vector<predict::Meaning> meanings;
  for (size_t i = 0; i < parts.size() && meanings.size() < predict::kMeaningsMax;) {
    const Part& part = parts[i];
    uint64_t bytes = 0;
    for (; i < parts.size() && parts[i].is_same(part); ++i) bytes += parts[i].bytes;
    const uint64_t amount = std::clamp<uint64_t>(bytes / kMeaningUnit, 1, UINT8_MAX);
    meanings.push_back({part.chunk, part.name, static_cast<uint8_t>(amount)});
  }
  return meanings;
}

void count(const MergedTree& tree, const Ext4Statistics& file_system,
           ComposeStatistics& statistics) {
  statistics.names = tree.names.size();
  statistics.inodes = tree.inodes.size();
  statistics.directories = file_system.directories;
  statistics.overridden = tree.overridden;
  statistics.erased = tree.erased;
  for (const uint64_t bytes : file_system.component_bytes) {
    statistics.components.push_back({0, bytes});
  }
  for (const MergedInode& inode : tree.inodes) {
    if (inode.component == kGeneratedComponent) {
      ++statistics.generated_files;
    } else {
      ++statistics.components[inode.component].files;
    }
  }
  statistics.generated_bytes = file_system.generated_bytes;
  statistics.copied_bytes = file_system.copied_bytes;
  statistics.free_bytes = file_system.free_bytes;
}

}  // namespace

Result<ComposedImage> compose(std::span<const ComposeInput> inputs, const ComposeOptions& options) {
  std::vector<MergeInput> trees;
  std::vector<uint64_t> sizes;
  for (const ComposeInput& input : inputs) {
    trees.push_back({&input.index->tree, input.index->info.name, input.is_base, input.built_on,
                     input.ids, input.knows_no_base});
    sizes.push_back(input.index->data.size_bytes);
  }
  FR_TRY(const MergedTree tree, merge_trees(trees, options.merge));
  if (!tree.conflicts.empty()) {
    return fail(ErrorCode::kInvalid, describe(tree.conflicts, trees));
  }
  FR_TRY(const Ext4Image file_system, write_ext4(tree, sizes, options.file_system));
  ComposedImage image;
  image.size_bytes = file_system.size_bytes;
  pack_metadata(file_system.metadata, options, image);
  image.meanings = meanings_of(file_system.names, image.extents);
  for (const DataExtent& extent : file_system.extents) {
    image.extents.push_back({extent.range, extent.component + 1, extent.component_offset});
  }
  count(tree, file_system.statistics, image.statistics);
  return image;
}

Result<MappingTable> map_image(const ComposedImage& image, const ComponentPtr& metadata,
                               std::span<const ComponentPtr> components) {
  std::vector<Extent> extents;
  extents.reserve(image.extents.size());
  for (const ComposedExtent& extent : image.extents) {
    if (extent.part > components.size()) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("the disk has a part {} that is not given", extent.part));
    }
    const ComponentPtr& part = extent.part == 0 ? metadata : components[extent.part - 1];
    extents.push_back({extent.range, part, extent.part_offset});
  }
  return MappingTable::create(image.size_bytes, std::move(extents));
}

}  // namespace forerun::image
