// Debian packages and container images as components. The work is image/'s.
#include <fmt/format.h>

#include <filesystem>

#include "daemon/component_import.h"
#include "image/deb_import.h"
#include "image/oci_import.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr size_t kMagicSize = 6;

// What the request says goes before what the source says of itself.
void override_info(const api::ComponentImportRequest& request, image::ComponentInfo& info) {
  if (!request.version.empty()) info.version = request.version;
  if (!request.function.empty()) info.function = request.function;
  info.depends.insert(info.depends.end(), request.depends.begin(), request.depends.end());
}

// A layout as it lies on this host.
class FolderBlobs final : public image::OciBlobs {
 public:
  explicit FolderBlobs(std::string path) : path_(std::move(path)) {}

  Result<std::optional<uint64_t>> size(const std::string& path) override {
    std::error_code error;
    const std::filesystem::path whole = std::filesystem::path(path_) / path;
    if (!std::filesystem::is_regular_file(whole, error)) return std::nullopt;
    const uint64_t size = std::filesystem::file_size(whole, error);
    if (error) return fail_errno(fmt::format("tell the size of {}", whole.string()), error.value());
    return size;
  }
  Result<image::ByteStream> open(const std::string& path) override {
    FR_TRY(auto file, os::PosixFile::open(path_ + "/" + path, os::PosixFile::Mode::kReadOnly));
    FR_TRY(const uint64_t size, file->size());
    std::shared_ptr<os::PosixFile> kept = std::move(file);
    return [kept, stream = stream_of(*kept, 0, size)](MutableByteView out) { return stream(out); };
  }

 private:
  const std::string path_;
};

// Reads an archive from a byte on; what is packed, from its beginning each time.
image::ReadFrom reader_of(os::PosixFile& file, uint64_t size, bool is_plain) {
  return [&file, size, is_plain](uint64_t offset) -> Result<image::ByteStream> {
    if (is_plain) return stream_of(file, std::min(offset, size), size);
    FR_TRY(image::ByteStream plain, image::unpacked(stream_of(file, 0, size)));
    Buffer scrap(64 * kKiB);
    while (offset > 0) {
      const MutableByteView part =
          MutableByteView(scrap).first(std::min<uint64_t>(offset, scrap.size()));
      FR_TRY(const size_t count, image::read_full(plain, part));
      if (count < part.size()) return fail(ErrorCode::kCorrupt, "the archive became shorter");
      offset -= count;
    }
    return plain;
  };
}

// Returns "linux/arm64/v8" in its parts; linux/amd64 of nothing.
Result<image::OciPlatform> parse_platform(std::string_view text) {
  image::OciPlatform platform{"linux", "amd64", ""};
  if (text.empty()) return platform;
  std::array<std::string, 3> parts;
  size_t count = 0;
  while (count < parts.size()) {
    const size_t end = text.find('/');
    parts[count++] = std::string(text.substr(0, end));
    if (end == text.npos) break;
    text.remove_prefix(end + 1);
    if (count == parts.size()) return fail(ErrorCode::kInvalid, "a platform has three parts");
  }
  const bool is_valid =
      count >= 2 && std::all_of(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(count),
                                [](const std::string& p) { return is_valid_name(p); });
  if (!is_valid)
    return fail(ErrorCode::kInvalid, "a platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT");
  return image::OciPlatform{parts[0], parts[1], parts[2]};
}

Result<std::string> import_layers(const ImportJob& job, image::OciBlobs& blobs) {
  image::OciOptions options;
  FR_TRY(options.platform, parse_platform(job.request.platform));
  options.reference = job.request.reference;
  options.allow_devices = job.request.allow_devices;
  FR_TRY(const image::OciImage image, image::read_oci_image(blobs, options));
  const std::string last = image::oci_layer_name(job.request.name, image.layers.size() - 1);
  if (!is_valid_name(last))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name a component", last));
  uint64_t names = 0, stored_bytes = 0;
  for (size_t i = 0; i < image.layers.size(); ++i) {
    image::ComponentInfo info = image::describe_oci_layer(image, i, job.request.name);
    override_info(job.request, info);
    auto built = build_component(job, std::move(info), [&](image::ComponentBuilder& builder) {
      return image::add_oci_layer(blobs, image.layers[i], options, builder);
    });
    if (!built)
      return std::unexpected(
          std::move(built.error()).within(fmt::format("layer {} of {}", i, image.layers.size())));
    names += built->tag.names;
    stored_bytes += built->tag.stored_bytes;
  }
  return fmt::format(
      "image {}: {} layers, components {} (the base) to {}: {} names, {} bytes stored",
      image.config.short_hex(), image.layers.size(), image::oci_layer_name(job.request.name, 0),
      last, names, stored_bytes);
}

}  // namespace

Result<std::string> import_deb(const ImportJob& job) {
  FR_TRY(const auto file,
         os::PosixFile::open(job.request.source_path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size, file->size());
  FR_TRY(const auto package, image::DebReader::open(stream_of(*file, 0, size)));
  image::ComponentInfo info = image::describe_deb(package->control(), job.request.name);
  override_info(job.request, info);
  FR_TRY(const auto built, build_component(job, std::move(info), [&](auto& builder) {
           return package->add_to(builder);
         }));
  std::string_view left;
  if (package->state() == image::DebState::kUnpacked)
    left = "; its scripts did not run: dpkg --configure -a in the VM ends that";
  if (package->has_preinst())
    left = "; its scripts did not run, and its preinst cannot later: component build installs it";
  return describe(built) + std::string(left);
}

Result<std::string> import_oci(const ImportJob& job) {
  const std::string& path = job.request.source_path;
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    FolderBlobs blobs(path);
    return import_layers(job, blobs);
  }
  FR_TRY(const auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const uint64_t size, file->size());
  Buffer begun(std::min<uint64_t>(size, kMagicSize));
  FR_CHECK(file->read(0, begun));
  const bool is_plain = image::packing_of(begun) == image::Packing::kPlain;
  FR_TRY(const auto blobs, image::index_oci_archive(reader_of(*file, size, is_plain)));
  return import_layers(job, *blobs);
}

}  // namespace forerun::daemon
