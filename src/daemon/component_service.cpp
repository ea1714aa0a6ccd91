// What the API asks about components: imports, lists, composed images. The work is image/'s.
#include <fmt/format.h>

#include <set>

#include "daemon/component_import.h"
#include "daemon/parallel.h"
#include "daemon/service.h"
#include "image/assembler.h"
#include "image/component_tag.h"
#include "image/manifest.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

constexpr size_t kComponentsListedMax = 100'000;

Result<std::string> compose(const image::Manifest& manifest, const std::string& name,
                            repository::Store& store) {
  image::AssembleOptions options;
  options.image_name = name;
  options.created = os::utc_now();
  options.parallel_for = on_all_processors;
  options.parallel_fetch = while_waiting;
  FR_TRY(const auto image, image::assemble(manifest, store, options));
  if (image.is_reused) return fmt::format("image {}: composed before", image.tag.index.short_hex());
  return fmt::format(
      "image {}: {} names of {} components, {} bytes made, {} overridden; {} "
      "chunks foreseen for a first boot",
      image.tag.index.short_hex(), image.statistics.names, image.statistics.components.size(),
      image.statistics.metadata_bytes, image.statistics.overridden, image.prior_block_count);
}

// Whether everybody can have the same content: what Debian's archive gives.
bool is_public(api::ComponentSource source) {
  return source == api::ComponentSource::kBase || source == api::ComponentSource::kApt ||
         source == api::ComponentSource::kKernel;
}

api::ComponentInodes count_inodes(const image::FileTree& tree) {
  using image::InodeKind;
  api::ComponentInodes counts;
  uint64_t named = 0;  // names of what may have several
  for (const image::TreeName& name : tree.names)
    named += tree.inodes[name.inode].kind != InodeKind::kDirectory;
  for (const image::TreeInode& inode : tree.inodes) {
    counts.files += inode.kind == InodeKind::kRegular;
    counts.directories += inode.kind == InodeKind::kDirectory;
    counts.symlinks += inode.kind == InodeKind::kSymlink;
    counts.devices += inode.kind == InodeKind::kBlockDevice || inode.kind == InodeKind::kCharDevice;
    counts.fifos += inode.kind == InodeKind::kFifo;
    counts.whiteouts += inode.kind == InodeKind::kWhiteout;
    counts.opaque_directories += inode.is_opaque;
  }
  counts.hard_links = named - (tree.inodes.size() - counts.directories);
  return counts;
}

api::ComponentDetails describe_component(const image::ComponentTag& tag,
                                         const image::ComponentIndex& index) {
  api::ComponentDetails details;
  details.info = {tag.name,  tag.index.hex(), tag.component_version, tag.function,
                  tag.names, tag.data_bytes,  tag.stored_bytes,      false};
  const image::ComponentInfo& info = index.info;
  details.component_name = info.name;
  details.architecture = info.architecture;
  details.origin = info.origin;
  details.licence = info.licence;
  details.created = tag.created;
  details.depends = info.depends;
  details.provides = info.provides;
  for (const image::TreeInode& inode : index.tree.inodes)
    details.content_bytes += inode.kind == image::InodeKind::kRegular ? inode.size : 0;
  details.index_bytes = image::serialize(index).size();
  std::set<ChunkId> distinct;
  for (const repository::ChunkRef& chunk : index.data.chunks)
    if (distinct.insert(chunk.id).second) details.delta_chunk_count += chunk.is_delta;
  details.basis_count = index.data.bases.size();
  for (const repository::ChunkRef& basis : index.data.bases)
    details.basis_stored_bytes += basis.stored_size;
  details.chunk_count = index.data.chunks.size();
  details.distinct_chunk_count = distinct.size();
  details.inodes = count_inodes(index.tree);
  return details;
}

}  // namespace

Result<api::OperationInfo> DaemonService::import_component(
    const api::ComponentImportRequest& request) {
  if (parts_.store == nullptr)
    return fail(ErrorCode::kInvalid, "no repository is a folder: components go into one");
  FR_CHECK(check_import(request));
  if (!request.delta_from.empty()) {
    if (auto tag = image::fetch_component_tag(*parts_.store, request.delta_from); !tag)
      return std::unexpected(
          std::move(tag.error()).within("cannot tell deltas from component " + request.delta_from));
  }
  // Equal content is one component, whoever made it: what is public stays so, unless it is said.
  const auto mark = [this, request](const image::ComponentTag& tag) -> Status {
    if (!request.is_shareable && !is_public(request.source)) return {};
    return mark_digest(tag.index, tag.name, request.is_shareable.value_or(true));
  };
  return operations_.start("component_import", request.name,
                           [request, folder = parts_.config.state_dir + "/scratch",
                            store = parts_.store, mark](Operations::Progress& progress) {
                             return run_import(request, folder, *store, progress, mark);
                           });
}

Status DaemonService::mark_digest(const Digest& digest, const std::string& name,
                                  bool is_shareable) {
  const bool was_shareable = parts_.marks.is_shareable(digest);
  FR_CHECK(parts_.marks.mark(digest, name, is_shareable));
  if (is_shareable && !was_shareable) parts_.histories.share(digest);
  return {};
}

Status DaemonService::mark_component(const std::string& name, bool is_shareable) {
  if (parts_.store != nullptr) {
    const auto tag = image::fetch_component_tag(*parts_.store, name);
    if (tag) return mark_digest(tag->index, name, is_shareable);
    if (tag.error().code != ErrorCode::kNotFound) return std::unexpected(tag.error());
  }
  const auto image = parts_.catalog.open(name);
  if (!image) {
    if (image.error().code != ErrorCode::kNotFound) return std::unexpected(image.error());
    return fail(ErrorCode::kNotFound, fmt::format("no component and no image {}", name));
  }
  return mark_digest(image->tag.index, name, is_shareable);
}

Result<std::vector<api::ComponentInfo>> DaemonService::list_components() {
  std::vector<api::ComponentInfo> components;
  if (parts_.store == nullptr) return components;
  constexpr std::string_view kEnd = ".json";
  FR_CHECK(
      parts_.store->list("component-tags", [&](const repository::ObjectInfo& object) -> Status {
        std::string_view name = object.path;
        name.remove_prefix(std::min(name.rfind('/') + 1, name.size()));
        if (!name.ends_with(kEnd) || components.size() >= kComponentsListedMax) return {};
        name.remove_suffix(kEnd.size());
        const auto tag = image::fetch_component_tag(*parts_.store, name);
        if (!tag) return {};  // removed meanwhile, or damaged: verify says so
        components.push_back({tag->name, tag->index.hex(), tag->component_version, tag->function,
                              tag->names, tag->data_bytes, tag->stored_bytes,
                              parts_.marks.is_shareable(tag->index)});
        return {};
      }));
  std::sort(components.begin(), components.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return components;
}

Result<api::ComponentDetails> DaemonService::get_component(const std::string& name) {
  if (parts_.store == nullptr)
    return fail(ErrorCode::kNotFound,
                fmt::format("no repository is a folder: no component {}", name));
  auto tag = image::fetch_component_tag(*parts_.store, name);
  if (!tag) return std::unexpected(std::move(tag.error()).within("component " + name));
  FR_TRY(const image::ComponentIndex index,
         image::fetch_component_index(*parts_.store, tag->index));
  auto details = describe_component(*tag, index);
  details.info.is_shareable = parts_.marks.is_shareable(tag->index);
  return details;
}

Status DaemonService::remove_component(const std::string& name) {
  if (parts_.store == nullptr)
    return fail(ErrorCode::kNotFound,
                fmt::format("no repository is a folder: no component {}", name));
  FR_TRY(const auto now, parts_.store->now());
  FR_TRY(const bool was_there, parts_.store->remove(image::component_tag_path(name), now));
  if (!was_there) return fail(ErrorCode::kNotFound, fmt::format("no component {}", name));
  return parts_.store->flush();
}

Result<api::OperationInfo> DaemonService::compose_image(const api::ComposeRequest& request) {
  if (parts_.store == nullptr)
    return fail(ErrorCode::kInvalid, "no repository is a folder: images are composed in one");
  FR_TRY(image::Manifest manifest, image::parse_manifest(request.manifest, "manifest"));
  return operations_.start(
      "image_compose", request.name,
      [manifest = std::move(manifest), name = request.name,
       store = parts_.store](Operations::Progress&) { return compose(manifest, name, *store); });
}

}  // namespace forerun::daemon
