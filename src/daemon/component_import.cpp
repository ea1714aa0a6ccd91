#include "daemon/component_import.h"

#include "daemon/component_build.h"
#include "daemon/folder_capture.h"
#include "daemon/parallel.h"
#include "image/component_tag.h"
#include "image/decompress.h"
#include "image/tar_import.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/walk.h"

namespace forerun::daemon {
namespace {

using api::ComponentSource;

constexpr int kRemoveTries = 20;
constexpr Nanos kRemoveWait = std::chrono::milliseconds(100);

Result<std::string> import_of_kind(const ImportJob& job) {
  switch (job.request.source) {
    case ComponentSource::kTar:
      return import_tar(job);
    case ComponentSource::kDir:
      return import_dir(job);
    case ComponentSource::kBase:
      return build_base(job);
    case ComponentSource::kApt:
      return build_apt(job);
    case ComponentSource::kKernel:
      return build_kernel(job);
    case ComponentSource::kDeb:
      return import_deb(job);
    case ComponentSource::kOci:
      return import_oci(job);
    default:
      return fail(ErrorCode::kUnsupported, "components of this source cannot be made");
  }
}

// Reads the component that this one is to be told by.
Result<std::shared_ptr<const image::BasisFinder>> find_bases(const ImportJob& job) {
  job.progress.update(0, 0, fmt::format("reading {}", job.request.delta_from));
  FR_TRY(const auto tag, image::fetch_component_tag(job.store, job.request.delta_from));
  FR_TRY(const auto index, image::fetch_component_index(job.store, tag.index));
  auto finder = image::BasisFinder::create(job.store, index, on_all_processors);
  if (!finder)
    return std::unexpected(
        std::move(finder.error()).within(fmt::format("component {}", job.request.delta_from)));
  return std::shared_ptr<const image::BasisFinder>(std::move(*finder));
}

}  // namespace

image::ComponentInfo info_of(const api::ComponentImportRequest& request) {
  image::ComponentInfo info;
  info.name = request.name;
  info.version = request.version;
  info.function = request.function.empty() ? "service" : request.function;
  info.depends = request.depends;
  return info;
}

image::ByteStream stream_of(os::PosixFile& file, uint64_t offset, uint64_t size) {
  return [&file, size, at = offset](MutableByteView out) mutable -> Result<size_t> {
    const size_t count = std::min<uint64_t>(out.size(), size - at);
    if (count > 0) FR_CHECK(file.read(at, out.first(count)));
    at += count;
    return count;
  };
}

Result<image::BuiltComponent> build_component(const ImportJob& job, image::ComponentInfo info,
                                              const FillComponent& fill) {
  FR_TRY(const auto scratch_folder, os::PosixFolder::open(job.scratch));
  const std::string scratch_name = "data-" + info.name;
  FR_TRY(const auto scratch, scratch_folder->open(scratch_name, true));
  image::BuildOptions options;
  options.info = std::move(info);
  options.created = os::utc_now();
  options.chunks.parallel_for = on_all_processors;
  if (!job.request.delta_from.empty()) {
    FR_TRY(options.chunks.delta_from, find_bases(job));
  }
  options.on_progress = [&](const image::BuildProgress& now) -> Status {
    job.progress.update(now.content_bytes, 0, fmt::format("{} names", now.names));
    if (job.progress.should_stop())
      return fail(ErrorCode::kUnavailable, "the daemon is stopping; import again to go on");
    return {};
  };
  FR_TRY(const auto builder,
         image::ComponentBuilder::create(job.store, *scratch, std::move(options)));
  FR_CHECK(fill(*builder));
  FR_TRY(auto built, builder->publish());
  if (job.on_published) FR_CHECK(job.on_published(built.tag));
  FR_CHECK(scratch_folder->remove(scratch_name));
  return built;
}

std::string describe(const image::BuiltComponent& built) {
  std::string text = fmt::format("component {}: {} names, {} bytes of data, {} stored",
                                 built.tag.index.short_hex(), built.tag.names, built.tag.data_bytes,
                                 built.tag.stored_bytes);
  const repository::ImageIndex& data = built.index.data;
  if (!data.bases.empty()) {
    text += fmt::format(", {} of {} chunks as deltas of {} others",
                        std::ranges::count_if(data.chunks, &repository::ChunkRef::is_delta),
                        data.chunks.size(), data.bases.size());
  }
  return text;
}

Result<std::string> import_tar(const ImportJob& job) {
  FR_TRY(const auto file,
         os::PosixFile::open(job.request.source_path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size, file->size());
  image::ComponentInfo info = info_of(job.request);
  info.origin = fmt::format("tar {}", job.request.source_path);
  FR_TRY(const auto built,
         build_component(job, std::move(info), [&](image::ComponentBuilder& builder) -> Status {
           FR_TRY(auto plain, image::unpacked(stream_of(*file, 0, size)));
           image::TarOptions options;
           options.allow_devices = job.request.allow_devices;
           image::TarReader archive(std::move(plain), options);
           return image::add_tar(archive, builder);
         }));
  return describe(built);
}

Result<std::string> import_dir(const ImportJob& job) {
  image::ComponentInfo info = info_of(job.request);
  info.origin = fmt::format("dir {}", job.request.source_path);
  CaptureOptions options;
  options.allow_devices = job.request.allow_devices;
  options.is_overlay = job.request.is_overlay;
  FR_TRY(const auto built,
         build_component(job, std::move(info), [&](image::ComponentBuilder& builder) {
           return capture_folder(job.request.source_path, options, builder);
         }));
  return describe(built);
}

Status check_import(const api::ComponentImportRequest& request) {
  if (!api::has_source_path(request.source)) return check_build(request);
  FR_CHECK(os::PosixFile::open(request.source_path, os::PosixFile::Mode::kReadOnly));
  return {};
}

Result<std::string> run_import(const api::ComponentImportRequest& request,
                               const std::string& scratch_folder, repository::Store& store,
                               Operations::Progress& progress,
                               std::function<Status(const image::ComponentTag&)> on_published) {
  // One job per name at a time (operations.h): what is there is a dead one's.
  const std::string scratch = fmt::format("{}/component-{}", scratch_folder, request.name);
  FR_CHECK(os::remove_tree(scratch));
  FR_CHECK(os::make_folders(scratch));
  auto outcome = import_of_kind({request, scratch, store, progress, std::move(on_published)});
  // What was killed may take a moment to be gone.
  Status removed = os::remove_tree(scratch);
  for (int tries = 0; !removed && tries < kRemoveTries; ++tries) {
    std::this_thread::sleep_for(kRemoveWait);
    removed = os::remove_tree(scratch);
  }
  if (outcome && !removed) return std::unexpected(removed.error());
  return outcome;
}

}  // namespace forerun::daemon
