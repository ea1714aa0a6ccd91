#include "image/assembler.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "image/boot_prior.h"
#include "image/component_files.h"
#include "image/component_prior.h"
#include "image/component_tag.h"
#include "image/dependencies.h"
#include "image/merge_by_kind.h"
#include "image/settings.h"
#include "repository/fetch.h"

namespace forerun::image {
namespace {

// Of what is generated: a fixed time, so that equal manifests give equal bytes.
constexpr int64_t kMadeAt = 1'735'689'600;  // 2025-01-01

// Returns whether `path` is in the store and stays there while it is relied upon.
bool is_kept(const std::string& path, repository::Store& store) {
  if (!store.contains(path)) return false;
  const Status renewed = store.renew(path);
  return renewed || renewed.error().code == ErrorCode::kUnsupported;
}

// Returns the tag of what was composed of this before, if it is all still there. A note that is
// damaged or leads nowhere is no note.
std::optional<repository::ImageTag> composed_before(const Digest& identity,
                                                    repository::Store& store,
                                                    const AssembleOptions& options) {
  const auto note = store.fetch(composed_path(identity), repository::kTagBytesMax);
  if (!note) return std::nullopt;
  auto tag = repository::parse_tag(as_text(*note));
  if (!tag) return std::nullopt;
  // From now on it is kept, with all it leads to (repository/gc.h), if it was not removed before.
  if (!is_kept(composition_path(tag->index), store)) return std::nullopt;
  const auto composition = store.fetch(composition_path(tag->index), kCompositionBytesMax);
  if (!composition || sha256(*composition) != tag->index) return std::nullopt;
  const auto parsed = parse_composition(*composition);
  if (!parsed || parsed->manifest != identity) return std::nullopt;
  for (const CompositionPart& part : parsed->parts)
    if (!store.contains(object_path(part))) return std::nullopt;
  tag->name = options.image_name;
  tag->created = options.created;
  return std::move(*tag);
}

// Only what was made over something has removals and directories that hide.
bool has_marks(const FileTree& tree) {
  return std::ranges::any_of(tree.inodes, [](const TreeInode& inode) {
    return inode.kind == InodeKind::kWhiteout || inode.is_opaque;
  });
}

IdMap id_map(const AccountMerge::Ids& ids) {
  const auto map = [](const std::map<uint32_t, uint32_t>& moved) {
    return [moved](uint32_t id) {
      const auto found = moved.find(id);
      return found == moved.end() ? id : found->second;
    };
  };
  IdMap out;
  if (!ids.users.empty()) out.user = map(ids.users);
  if (!ids.groups.empty()) out.group = map(ids.groups);
  return out;
}

Composition describe_disk(const Digest& manifest, const ComposedImage& image,
                          const Digest& metadata,
                          const std::vector<ResolvedComponent>& components) {
  Composition composition;
  composition.size_bytes = image.size_bytes;
  composition.manifest = manifest;
  composition.parts.push_back({CompositionPart::Kind::kIndex, metadata, "metadata"});
  for (const ResolvedComponent& found : components)
    composition.parts.push_back(
        {CompositionPart::Kind::kComponent, *found.wish.digest, found.index.info.name});
  for (const ComposedExtent& extent : image.extents)
    composition.extents.push_back({extent.range, extent.part, extent.part_offset});
  return composition;
}

Status put_tag(const repository::ImageTag& tag, repository::Store& store,
               const AssembleOptions& options) {
  if (!options.is_tagged) return {};
  FR_CHECK(store.put(repository::image_path(tag.name), as_bytes(repository::serialize(tag))));
  return store.flush();
}

// Chunks, index and composition first, the tag last: a crash leaves no tag of missing things.
Result<repository::ImageTag> publish(const ComposedImage& image, const Buffer& metadata,
                                     const Composition& composition, uint64_t stored_bytes,
                                     repository::Store& store, const AssembleOptions& options) {
  for (const auto& chunk : image.chunks) {
    const std::string path = repository::chunk_path(chunk.ref.id);
    if (!is_kept(path, store)) FR_CHECK(store.put(path, chunk.stored));
  }
  const Buffer composed = serialize(composition);
  FR_CHECK(store.put(repository::index_path(sha256(metadata)), metadata));
  FR_CHECK(store.flush());
  repository::ImageTag tag{options.image_name, sha256(composed), image.size_bytes, stored_bytes,
                           options.created};
  FR_CHECK(store.put(composition_path(tag.index), composed));
  FR_CHECK(store.flush());
  FR_CHECK(put_tag(tag, store, options));
  return tag;
}

Result<std::optional<AssembledImage>> reuse(const Digest& identity, repository::Store& store,
                                            const AssembleOptions& options) {
  auto tag = composed_before(identity, store, options);
  if (!tag) return std::nullopt;
  FR_CHECK(put_tag(*tag, store, options));
  AssembledImage assembled;
  assembled.tag = std::move(*tag);
  assembled.is_reused = true;
  return assembled;
}

// The composed disk as its repository has it: for the boot graph.
class StoredDisk final : public DiskReader {
 public:
  StoredDisk(const Composition& composition, std::vector<const repository::ImageIndex*> parts,
             repository::Source& source)
      : composition_(composition), parts_(std::move(parts)), source_(source) {}

  uint64_t size_bytes() const override { return composition_.size_bytes; }
  bool known_zero(ByteRange) override { return false; }
  Status read(uint64_t offset, MutableByteView out) override {
    std::fill(out.begin(), out.end(), std::byte{0});
    Status status;
    each_piece({offset, out.size()}, [&](uint32_t part, uint64_t at, ByteRange range) {
      if (!status) return;
      const repository::ChunkRef& ref = parts_[part]->chunks[at / repository::kChunkSize];
      const auto chunk = fetch(ref);
      if (!chunk) {
        status = std::unexpected(chunk.error());
        return;
      }
      const ByteView content = ByteView((*chunk)->content).subspan(at % repository::kChunkSize);
      std::copy_n(content.begin(), std::min<uint64_t>(range.length, content.size()),
                  out.begin() + static_cast<ptrdiff_t>(range.offset - offset));
    });
    return status;
  }

  // Calls piece(part, offset in the part, range on the disk) for what of `range` is data: each
  // within one chunk.
  template <typename Piece>
  void each_piece(const ByteRange& range, const Piece& piece) const {
    auto extent = std::upper_bound(
        composition_.extents.begin(), composition_.extents.end(), range.offset,
        [](uint64_t offset, const CompositionExtent& e) { return offset < e.range.end(); });
    for (; extent != composition_.extents.end() && extent->range.offset < range.end(); ++extent) {
      ByteRange left = intersect(extent->range, range);
      while (!left.empty()) {
        const uint64_t at = extent->part_offset + (left.offset - extent->range.offset);
        const uint64_t count =
            std::min(left.length, repository::kChunkSize - at % repository::kChunkSize);
        const auto& chunks = parts_[extent->part]->chunks;
        const uint64_t number = at / repository::kChunkSize;
        if (number < chunks.size() && !chunks[number].is_zero())
          piece(extent->part, at, ByteRange{left.offset, count});
        left = {left.offset + count, left.length - count};
      }
    }
  }

 private:
  Result<repository::ChunkPtr> fetch(const repository::ChunkRef& ref) {
    const auto [entry, is_new] = chunks_.try_emplace(ref.id);
    if (!is_new) return entry->second;
    auto chunk = repository::fetch_chunk(source_, ref);
    if (!chunk || chunks_.size() > kChunksKept) chunks_.clear();
    if (chunk) chunks_[ref.id] = *chunk;
    return chunk;
  }

  static constexpr size_t kChunksKept = 1024;
  const Composition& composition_;
  const std::vector<const repository::ImageIndex*> parts_;
  repository::Source& source_;
  std::unordered_map<ChunkId, repository::ChunkPtr> chunks_;
};

// Whether the store has the components' data, as far as one chunk of each tells.
bool has_data(const std::vector<ResolvedComponent>& components, repository::Store& store) {
  for (const ResolvedComponent& found : components) {
    const auto& chunks = found.index.data.chunks;
    const auto first = std::find_if(chunks.begin(), chunks.end(),
                                    [](const auto& chunk) { return !chunk.is_zero(); });
    if (first != chunks.end() && !store.contains(repository::chunk_path(first->id))) return false;
  }
  return true;
}

// What other compositions of these components foresaw, for those whose data is too far to look at.
PartPriors known_priors(const std::vector<ResolvedComponent>& components,
                        repository::Source& source) {
  PartPriors priors;
  priors.parts.emplace_back();  // what is made here is here
  for (const ResolvedComponent& found : components) {
    auto known = fetch_prior(source, component_prior_path(*found.wish.digest));
    priors.parts.push_back(known ? std::move(*known) : nullptr);
  }
  return priors;
}

// Puts what the first boot of the composed disk is expected to read, a prior for each part. A
// prediction: without one the image is as good as any other.
Result<size_t> put_priors(const AssembledImage& image, const repository::ImageIndex& metadata,
                          const std::vector<ResolvedComponent>& components,
                          repository::Store& store) {
  std::vector<const repository::ImageIndex*> parts{&metadata};
  for (const ResolvedComponent& found : components) parts.push_back(&found.index.data);
  const auto part_count = static_cast<uint32_t>(parts.size());
  StoredDisk disk(image.composition, std::move(parts), store);
  const auto blocks_of = [&](const ByteRange& range, const EachBlock& each) {
    disk.each_piece(range, [&](uint32_t part, uint64_t at, const ByteRange&) {
      each(part, at / repository::kChunkSize);
    });
  };
  const bool is_here = has_data(components, store);
  const auto priors =
      is_here ? foresee_boot(disk, part_count, blocks_of) : known_priors(components, store);
  if (!priors) return 0;
  size_t blocks = 0;
  for (uint32_t part = 0; part < part_count; ++part) {
    const auto& sequence = priors->parts[part];
    if (!sequence) continue;
    blocks += sequence->entries.size();
    FR_CHECK(store.put(part_prior_path(image.tag.index, part), predict::serialize(*sequence)));
    if (is_here && part > 0)
      FR_CHECK(learn_component_prior(*components[part - 1].wish.digest, *sequence, store));
  }
  FR_CHECK(store.flush());
  return blocks;
}

}  // namespace

Result<AssembledImage> assemble(const Manifest& manifest, repository::Store& store,
                                const AssembleOptions& options) {
  if (!is_valid_name(options.image_name))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name an image", options.image_name));
  FR_TRY(Manifest pinned, pin_manifest(manifest, store));
  FR_TRY(auto same, reuse(digest_of(pinned), store, options));
  if (same) return std::move(*same);
  // What was added or reordered has an identity of its own; it is known only from the components.
  FR_TRY(const auto found, resolve_components(pinned, store));
  pinned.components.clear();
  for (size_t i = 1; i < found.size(); ++i) pinned.components.push_back(found[i].wish);
  const Digest identity = digest_of(pinned);
  FR_TRY(same, reuse(identity, store, options));
  if (same) return std::move(*same);
  std::vector<ComponentFiles> files;
  for (const ResolvedComponent& component : found) files.emplace_back(component.index, store);
  std::vector<std::vector<uint32_t>> sees;  // by component
  for (const ResolvedComponent& component : found) sees.push_back(component.built_on);
  FR_TRY(KindMerge merge, merge_by_kind(files, sees));
  FR_CHECK(apply_settings(manifest, files, kMadeAt, merge));

  std::vector<ComposeInput> inputs;
  uint64_t stored_bytes = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    ComposeInput input;
    input.index = &found[i].index;
    input.is_base = i == 0;
    input.built_on = found[i].built_on;
    input.knows_no_base = !found[i].knows_base && !has_marks(found[i].index.tree);
    input.ids = id_map(merge.ids[i]);
    inputs.push_back(std::move(input));
    stored_bytes += found[i].index.data.stored_bytes();
  }
  ComposeOptions compose_options;
  compose_options.file_system.identity = identity;
  compose_options.file_system.time_s = kMadeAt;
  compose_options.file_system.writable_bytes = manifest.writable_bytes;
  compose_options.file_system.can_grow = manifest.grow;
  compose_options.merge.generated = std::move(merge.generated);
  compose_options.merge.last_wins = std::move(merge.last_wins);
  for (const std::string& path : manifest.rank) compose_options.merge.last_wins.push_back(path);
  compose_options.parallel_for = options.parallel_for;
  FR_TRY(const ComposedImage image, compose(inputs, compose_options));

  AssembledImage assembled;
  const Buffer metadata = repository::serialize(image.metadata);
  assembled.composition = describe_disk(identity, image, sha256(metadata), found);
  assembled.statistics = image.statistics;
  FR_TRY(assembled.tag, publish(image, metadata, assembled.composition,
                                stored_bytes + image.metadata.stored_bytes(), store, options));
  FR_TRY(assembled.prior_block_count, put_priors(assembled, image.metadata, found, store));
  FR_CHECK(store.put(composed_path(identity), as_bytes(repository::serialize(assembled.tag))));
  FR_CHECK(store.flush());
  return assembled;
}

}  // namespace forerun::image
