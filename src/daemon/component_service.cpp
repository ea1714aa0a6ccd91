// What the API asks about components: imports, lists, composed images. The work is image/'s.
#include <fmt/format.h>

#include "daemon/parallel.h"
#include "daemon/service.h"
#include "image/assembler.h"
#include "image/component_builder.h"
#include "image/decompress.h"
#include "image/manifest.h"
#include "image/tar_import.h"
#include "os/clock.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr size_t kComponentsListedMax = 100'000;

// A file from its beginning to its end.
image::ByteStream stream_of(os::PosixFile& file, uint64_t size) {
  return [&file, size, at = uint64_t{0}](MutableByteView out) mutable -> Result<size_t> {
    const size_t count = std::min<uint64_t>(out.size(), size - at);
    if (count > 0) FR_CHECK(file.read(at, out.first(count)));
    at += count;
    return count;
  };
}

Result<std::string> import(const api::ComponentImportRequest& request, const std::string& folder,
                           repository::Store& store, Operations::Progress& progress) {
  FR_TRY(const auto file, os::PosixFile::open(request.source_path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size, file->size());
  FR_TRY(const auto scratch_folder, os::PosixFolder::open(folder));
  const std::string scratch_name = "scratch-" + request.name;
  FR_TRY(const auto scratch, scratch_folder->open(scratch_name, true));
  image::BuildOptions options;
  options.info.name = request.name;
  options.info.version = request.version;
  options.info.function = request.function;
  options.info.origin = fmt::format("tar {}", request.source_path);
  options.created = os::utc_now();
  options.chunks.parallel_for = on_all_processors;
  options.on_progress = [&](const image::BuildProgress& now) -> Status {
    progress.update(now.content_bytes, 0, fmt::format("{} names", now.names));
    if (progress.should_stop())
      return fail(ErrorCode::kUnavailable, "the daemon is stopping; import again to go on");
    return {};
  };
  const auto build = [&]() -> Result<image::BuiltComponent> {
    FR_TRY(const auto builder,
           image::ComponentBuilder::create(store, *scratch, std::move(options)));
    FR_TRY(auto plain, image::unpacked(stream_of(*file, size)));
    image::TarOptions tar;
    tar.allow_devices = request.allow_devices;
    image::TarReader archive(std::move(plain), tar);
    FR_CHECK(image::add_tar(archive, *builder));
    return builder->publish();
  };
  const auto built = build();
  FR_CHECK(scratch_folder->remove(scratch_name));
  if (!built) return std::unexpected(built.error());
  return fmt::format("component {}: {} names, {} bytes of data, {} stored",
                     built->tag.index.short_hex(), built->tag.names, built->tag.data_bytes,
                     built->tag.stored_bytes);
}

Result<std::string> compose(const image::Manifest& manifest, const std::string& name,
                            repository::Store& store) {
  image::AssembleOptions options;
  options.image_name = name;
  options.created = os::utc_now();
  options.parallel_for = on_all_processors;
  FR_TRY(const auto image, image::assemble(manifest, store, options));
  if (image.is_reused)
    return fmt::format("image {}: composed before", image.tag.index.short_hex());
  return fmt::format(
      "image {}: {} names of {} components, {} bytes made, {} overridden; {} "
      "chunks foreseen for a first boot",
      image.tag.index.short_hex(), image.statistics.names, image.statistics.components.size(),
      image.statistics.metadata_bytes, image.statistics.overridden, image.prior_block_count);
}

}  // namespace

Result<api::OperationInfo> DaemonService::import_component(
    const api::ComponentImportRequest& request) {
  if (parts_.store == nullptr)
    return fail(ErrorCode::kInvalid, "no repository is a folder: components go into one");
  // What is wrong with the file itself is said at once, not by an operation.
  FR_CHECK(os::PosixFile::open(request.source_path, os::PosixFile::Mode::kReadOnly));
  return operations_.start(
      "component_import", request.name,
      [request, folder = parts_.config.state_dir + "/scratch", store = parts_.store](
          Operations::Progress& progress) { return import(request, folder, *store, progress); });
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
                              tag->names, tag->data_bytes, tag->stored_bytes});
        return {};
      }));
  std::sort(components.begin(), components.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return components;
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
