#include "daemon/kernels.h"

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "image/component_tag.h"
#include "os/file.h"
#include "repository/fetch.h"

namespace forerun::daemon {
namespace {

constexpr uint64_t kFileBytesMax = 512ull << 20;
constexpr size_t kFetchesAtOnce = 8;
constexpr std::string_view kKernelStem = "vmlinuz-", kInitrdStem = "initrd.img-";

// Returns the version of the one kernel there, or nothing.
Result<std::string> kernel_version(const image::ComponentIndex& component) {
  const auto& tree = component.tree;
  const auto boot = tree.find("/boot");
  std::optional<std::string> version;
  for (uint32_t i = 1; boot && i < tree.names.size(); ++i) {
    if (tree.names[i].parent != *boot || !tree.names[i].name.starts_with(kKernelStem)) continue;
    if (version)
      return fail(ErrorCode::kInvalid,
                  fmt::format("component {} holds several kernels, {} and {}: name one with "
                              "--kernel",
                              component.info.name, *version,
                              tree.names[i].name.substr(kKernelStem.size())));
    version = tree.names[i].name.substr(kKernelStem.size());
  }
  if (!version)
    return fail(ErrorCode::kInvalid,
                fmt::format("component {} holds no /boot/vmlinuz-*", component.info.name));
  return *version;
}

// Fetches the content of a file, several chunks at a time: over a far link the way there and back
// counts, not the bytes.
Result<Buffer> fetch_file(const image::ComponentIndex& component, const image::TreeInode& file,
                          repository::Source& source) {
  if (file.kind != image::InodeKind::kRegular || file.size > kFileBytesMax)
    return fail(ErrorCode::kInvalid, "is no file, or too large");
  Buffer content(file.size);
  struct Piece {
    uint64_t file_offset, data_offset, length;
  };
  std::vector<Piece> pieces;
  for (const image::FileExtent& extent : file.extents) {
    for (uint64_t done = 0; done < extent.length;) {
      const uint64_t at = extent.data_offset + done;
      const uint64_t count = std::min<uint64_t>(
          extent.length - done, repository::kChunkSize - at % repository::kChunkSize);
      pieces.push_back({extent.file_offset + done, at, count});
      done += count;
    }
  }
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status status;
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size(); i = next++) {
      const Piece& piece = pieces[i];
      const auto& chunks = component.data.chunks;
      const uint64_t number = piece.data_offset / repository::kChunkSize;
      if (number >= chunks.size() || chunks[number].is_zero()) continue;
      auto chunk = repository::fetch_chunk(source, chunks[number]);
      if (!chunk) {
        const std::lock_guard lock(mutex);
        status = std::unexpected(chunk.error());
        next = pieces.size();
        return;
      }
      const ByteView from =
          ByteView((*chunk)->content).subspan(piece.data_offset % repository::kChunkSize);
      std::copy_n(from.begin(), std::min<uint64_t>(piece.length, from.size()),
                  content.begin() + static_cast<ptrdiff_t>(piece.file_offset));
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < std::min(kFetchesAtOnce, pieces.size()); ++i) helpers.emplace_back(work);
    work();
  }
  FR_CHECK(status);
  if (sha256(content) != file.content)
    return fail(ErrorCode::kCorrupt, "its bytes have another digest than the component says");
  return content;
}

}  // namespace

Result<KernelFiles> Kernels::provide(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  const std::string folder = fmt::format("{}/{}", folder_, digest.hex());
  KernelFiles files{folder + "/vmlinuz", folder + "/initrd.img"};
  // The kernel is written last: where it is, all is.
  if (os::path_exists(files.kernel)) {
    if (!os::path_exists(files.initrd)) files.initrd.clear();
    return files;
  }
  FR_TRY(const auto component, image::fetch_component_index(source_, digest));
  FR_TRY(const std::string version, kernel_version(component));
  FR_CHECK(os::make_folders(folder));
  const auto keep = [&](std::string_view stem, const std::string& path) -> Result<bool> {
    const std::string name = fmt::format("/boot/{}{}", stem, version);
    const auto found = component.tree.find(name);
    if (!found) return false;
    auto content =
        fetch_file(component, component.tree.inodes[component.tree.names[*found].inode], source_);
    if (!content)
      return std::unexpected(
          std::move(content.error())
              .within(fmt::format("{} of component {}", name, component.info.name)));
    FR_CHECK(os::write_file_atomic(path, *content));
    return true;
  };
  FR_TRY(const bool has_initrd, keep(kInitrdStem, files.initrd));
  if (!has_initrd) files.initrd.clear();
  FR_CHECK(keep(kKernelStem, files.kernel));
  return files;
}

Status add_kernel(const ImageCatalog::Layout& layout, const ImageCatalog& catalog, Kernels& kernels,
                  api::RunRequest& request) {
  if (!request.kernel.empty() || request.disk_only || layout.parts.empty()) return {};
  for (const auto& [component, part] : layout.parts) {
    if (part.function != "kernel") continue;
    auto files = kernels.provide(catalog.digest_of(component));
    if (!files)
      return std::unexpected(std::move(files.error()).within("cannot take the disk's kernel"));
    request.kernel = files->kernel;
    if (request.initrd.empty()) request.initrd = files->initrd;
    const bool is_nvme = request.disk_bus == api::DiskBus::kNvme;
    request.append = fmt::format("console=ttyS0 root=/dev/{} rw{}{}", is_nvme ? "nvme0n1" : "vda",
                                 request.append.empty() ? "" : " ", request.append);
    return {};
  }
  return fail(ErrorCode::kInvalid,
              "the disk is composed of components without a kernel among them, and a composed disk "
              "has no boot loader: add a kernel component, or give --kernel");
}

}  // namespace forerun::daemon
