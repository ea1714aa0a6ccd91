#include "image/assembler.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/component_files.h"
#include "image/component_tag.h"
#include "image/dependencies.h"
#include "image/merge_by_kind.h"
#include "image/settings.h"

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

// Puts the chunks without asking which are there: they are of this disk alone, as its identity is
// in nearly every block.
Status put_chunks(const ComposedImage& image, repository::Store& store,
                  const AssembleOptions& options) {
  std::vector<Status> done(image.chunks.size());
  const auto put = [&](size_t i) {
    done[i] = store.put(repository::chunk_path(image.chunks[i].ref.id), image.chunks[i].stored);
  };
  if (options.parallel_for) {
    options.parallel_for(done.size(), put);
  } else {
    for (size_t i = 0; i < done.size(); ++i) put(i);
  }
  for (Status& status : done) FR_CHECK(std::move(status));
  return {};
}

// Chunks, index and composition first, the tag last: a crash leaves no tag of missing things.
Result<repository::ImageTag> publish(const ComposedImage& image, const Buffer& metadata,
                                     const Composition& composition, uint64_t stored_bytes,
                                     repository::Store& store, const AssembleOptions& options) {
  FR_CHECK(put_chunks(image, store, options));
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

}  // namespace

Result<AssembledImage> assemble(const Manifest& manifest, repository::Store& store,
                                const AssembleOptions& options) {
  if (!is_valid_name(options.image_name))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name an image", options.image_name));
  FR_TRY(Manifest pinned, pin_manifest(manifest, store, options.parallel_fetch));
  FR_TRY(auto same, reuse(digest_of(pinned), store, options));
  if (same) return std::move(*same);
  // What was added or reordered has an identity of its own; it is known only from the components.
  FR_TRY(auto found, resolve_components(pinned, store, options.parallel_fetch));
  pinned.components.clear();
  for (size_t i = 1; i < found.size(); ++i) pinned.components.push_back(found[i].wish);
  const Digest identity = digest_of(pinned);
  FR_TRY(same, reuse(identity, store, options));
  if (same) return std::move(*same);
  FetchedChunks chunks(store);
  std::vector<ComponentFiles> files;
  for (const ResolvedComponent& component : found) files.emplace_back(component.index, chunks);
  std::vector<std::vector<uint32_t>> sees;  // by component
  for (const ResolvedComponent& component : found) sees.push_back(component.built_on);
  chunks.fetch(chunks_to_merge(files, sees), options.parallel_fetch);
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
  FR_TRY(ComposedImage image, compose(inputs, compose_options));

  AssembledImage assembled;
  const Buffer metadata = repository::serialize(image.metadata);
  assembled.composition = describe_disk(identity, image, sha256(metadata), found);
  assembled.statistics = image.statistics;
  FR_TRY(assembled.tag, publish(image, metadata, assembled.composition,
                                stored_bytes + image.metadata.stored_bytes(), store, options));
  FirstBoot first_boot(assembled.tag.index, assembled.composition, std::move(image.metadata),
                       std::move(image.meanings), std::move(found));
  if (options.foresees == AssembleOptions::Foresees::kNow) {
    FR_TRY(assembled.prior_block_count, first_boot.foresee(store));
  } else if (options.foresees == AssembleOptions::Foresees::kLater) {
    assembled.first_boot = std::make_shared<const FirstBoot>(std::move(first_boot));
  }
  FR_CHECK(store.put(composed_path(identity), as_bytes(repository::serialize(assembled.tag))));
  FR_CHECK(store.flush());
  return assembled;
}

}  // namespace forerun::image
