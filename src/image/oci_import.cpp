// SOURCE: OCI image specification 1.1: image-layout, layer (whiteouts), config (diff_ids).
#include "image/oci_import.h"

#include <fmt/format.h>

#include "image/content_hasher.h"
#include "image/tar_import.h"

namespace forerun::image {
namespace {

constexpr size_t kIndexDepthMax = 3;  // indexes that name indexes
constexpr std::string_view kBlobs = "blobs/sha256/";

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

std::string blob_path(const Digest& digest) { return fmt::format("{}{}", kBlobs, digest.hex()); }

std::string text_of(const OciPlatform& platform) {
  return fmt::format("{}/{}{}{}", platform.os, platform.architecture,
                     platform.variant.empty() ? "" : "/", platform.variant);
}

// Whether what an image says of itself is what was asked for; what it does not say may be.
bool matches(const OciPlatform& platform, const OciPlatform& wanted) {
  const auto fits = [](const std::string& said, const std::string& asked) {
    return asked.empty() || said.empty() || said == asked;
  };
  return fits(platform.os, wanted.os) && fits(platform.architecture, wanted.architecture) &&
         fits(platform.variant, wanted.variant);
}

Result<std::string> read_text(OciBlobs& blobs, const std::string& path) {
  FR_TRY(const auto size, blobs.size(path));
  if (!size) return fail(ErrorCode::kNotFound, "it is missing");
  if (*size > kOciJsonBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("it has {} bytes; at most {}", *size, kOciJsonBytesMax));
  FR_TRY(const ByteStream stream, blobs.open(path));
  Buffer bytes(*size);
  FR_TRY(const size_t count, read_full(stream, bytes));
  return std::string(as_text(ByteView(bytes).first(count)));
}

// Reads the document at `path` and gives it to parse(); errors say which document.
template <typename Parse>
auto read_document(OciBlobs& blobs, const std::string& path, const Parse& parse)
    -> decltype(parse(std::string_view())) {
  auto text = read_text(blobs, path);
  if (!text) return std::unexpected(std::move(text.error()).within(printable(path)));
  auto parsed = parse(*text);
  if (!parsed) return std::unexpected(std::move(parsed.error()).within(printable(path)));
  return parsed;
}

// The same for one that a digest names.
template <typename Parse>
auto read_blob(OciBlobs& blobs, const OciDescriptor& descriptor, const Parse& parse)
    -> decltype(parse(std::string_view())) {
  return read_document(blobs, blob_path(descriptor.digest),
                       [&](std::string_view text) -> decltype(parse(text)) {
                         if (text.size() != descriptor.size)
                           return corrupt(fmt::format("it has {} bytes, not the {} that are said",
                                                      text.size(), descriptor.size));
                         if (sha256(as_bytes(text)) != descriptor.digest)
                           return corrupt("it is not what its digest says");
                         return parse(text);
                       });
}

class ImageFinder {
 public:
  ImageFinder(OciBlobs& blobs, const OciOptions& options) : blobs_(blobs), options_(options) {}

  Result<OciImage> find() {
    FR_TRY(const auto index, blobs_.size("index.json"));
    if (index) return find_in_layout();
    FR_TRY(const auto manifest, blobs_.size("manifest.json"));
    if (manifest) return find_in_docker();
    return fail(ErrorCode::kNotFound,
                "this is no container image: it has neither index.json nor "
                "manifest.json");
  }

 private:
  Result<OciImage> find_in_layout() {
    FR_CHECK(read_document(blobs_, "oci-layout", check_oci_layout));
    FR_TRY(const auto entries, read_document(blobs_, "index.json", parse_oci_index));
    FR_CHECK(collect(entries, 1));
    if (found_.empty())
      return fail(ErrorCode::kNotFound,
                  fmt::format("no image{}{} of {}; there {}", options_.reference.empty() ? "" : " ",
                              options_.reference, text_of(options_.platform), offered()));
    if (found_.size() > 1)
      return fail(ErrorCode::kInvalid,
                  fmt::format("several images are meant: say which; there {}", offered()));
    FR_TRY(const OciManifest manifest,
           read_blob(blobs_, found_.begin()->second, parse_oci_manifest));
    FR_TRY(OciConfig config, read_blob(blobs_, manifest.config, parse_oci_config));
    OciImage image = begin(manifest.config.digest, config);
    FR_CHECK(check(image, config, manifest.layers.size()));
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const OciDescriptor& layer = manifest.layers[i];
      FR_TRY(const Packing packing, packing_of_layer(layer.media_type));
      FR_CHECK(add_layer({blob_path(layer.digest), layer.digest, layer.size, packing,
                          config.diff_ids[i], config.created_by[i]},
                         image));
    }
    return image;
  }

  // Takes down the manifests that are meant.
  Status collect(const std::vector<OciDescriptor>& entries, size_t depth) {
    for (const OciDescriptor& entry : entries) {
      const OciKind kind = kind_of(entry);
      if (kind == OciKind::kOther) continue;
      offer(entry);
      // Names stand at the top only.
      if (depth == 1 && !options_.reference.empty() && entry.reference != options_.reference)
        continue;
      if (kind == OciKind::kManifest) {
        if (matches(entry.platform, options_.platform)) found_.emplace(entry.digest, entry);
        continue;
      }
      if (depth >= kIndexDepthMax)
        return fail(ErrorCode::kTooLarge,
                    fmt::format("indexes name indexes over {} deep", kIndexDepthMax));
      FR_TRY(const auto more, read_blob(blobs_, entry, parse_oci_index));
      if (++indexes_ > kOciManifestsMax)
        return fail(ErrorCode::kTooLarge, "too many indexes name indexes");
      FR_CHECK(collect(more, depth + 1));
    }
    return {};
  }

  void offer(const OciDescriptor& entry) {
    if (!entry.reference.empty()) {
      offered_.push_back(printable(entry.reference));
    } else if (!entry.platform.os.empty()) {
      offered_.push_back(printable(text_of(entry.platform)));
    }
  }

  std::string offered() const {
    constexpr size_t kSaid = 8;
    if (offered_.empty()) return "is none with a name or platform";
    const size_t count = std::min(offered_.size(), kSaid);
    return fmt::format(
        "are: {}{}",
        fmt::join(offered_.begin(), offered_.begin() + static_cast<ptrdiff_t>(count), ", "),
        count < offered_.size() ? ", …" : "");
  }

  Result<OciImage> find_in_docker() {
    FR_TRY(const auto images, read_document(blobs_, "manifest.json", parse_docker_manifest));
    const DockerImage* meant = nullptr;
    for (const DockerImage& image : images) {
      for (const std::string& tag : image.tags) offered_.push_back(printable(tag));
      if (!options_.reference.empty() &&
          std::ranges::find(image.tags, options_.reference) == image.tags.end())
        continue;
      if (meant != nullptr)
        return fail(ErrorCode::kInvalid,
                    fmt::format("several images are meant: say which; there {}", offered()));
      meant = &image;
    }
    if (meant == nullptr)
      return fail(ErrorCode::kNotFound,
                  fmt::format("no image {}; there {}", options_.reference, offered()));
    FR_TRY(const std::string path, plain(meant->config_path));
    FR_TRY(const Digest digest, digest_in(path));
    FR_TRY(const OciConfig config,
           read_document(blobs_, path, [&](std::string_view text) -> Result<OciConfig> {
             if (sha256(as_bytes(text)) != digest) return corrupt("it is not what its name says");
             return parse_oci_config(text);
           }));
    OciImage image = begin(digest, config);
    FR_CHECK(check(image, config, meant->layer_paths.size()));
    for (size_t i = 0; i < meant->layer_paths.size(); ++i) {
      OciLayer layer;
      FR_TRY(layer.path, plain(meant->layer_paths[i]));
      layer.diff_id = config.diff_ids[i];
      layer.created_by = config.created_by[i];
      FR_CHECK(add_layer(std::move(layer), image));
    }
    return image;
  }

  static Result<std::string> plain(const std::string& path) {
    auto plain = plain_path(path);
    if (!plain || plain->empty())
      return corrupt(fmt::format("manifest.json: '{}' is no path in the archive", printable(path)));
    return plain;
  }

  // "<digest>.json" or "blobs/sha256/<digest>".
  static Result<Digest> digest_in(std::string_view path) {
    std::string_view name = path;
    if (name.starts_with(kBlobs)) {
      name.remove_prefix(kBlobs.size());
    } else if (name.ends_with(".json")) {
      name.remove_suffix(5);
    }
    auto digest = parse_digest(name);
    if (!digest)
      return corrupt(fmt::format("manifest.json: the configuration '{}' is not named by its digest",
                                 printable(path)));
    return digest;
  }

  static OciImage begin(const Digest& digest, const OciConfig& config) {
    return {digest, config.platform, printable(config.version), printable(config.licences), {}};
  }

  Status check(const OciImage& image, const OciConfig& config, size_t layers) const {
    if (!matches(config.platform, options_.platform))
      return fail(ErrorCode::kNotFound,
                  fmt::format("the image is for {}, not {}", printable(text_of(image.platform)),
                              text_of(options_.platform)));
#ifdef FORERUN_PLANT_BUG_OCI  // set by fuzz/imports/prove.sh only
    const bool has_ids = layers > 0;
#else
    const bool has_ids = config.diff_ids.size() == layers;
#endif
    if (!has_ids)
      return corrupt(fmt::format("the image has {} layers, but its configuration {}", layers,
                                 config.diff_ids.size()));
    return {};
  }

  Status add_layer(OciLayer layer, OciImage& image) {
    const size_t number = image.layers.size();
    FR_TRY(const auto size, blobs_.size(layer.path));
    if (!size)
      return fail(ErrorCode::kNotFound,
                  fmt::format("layer {}: {} is missing", number, printable(layer.path)));
    if (layer.size && *layer.size != *size)
      return corrupt(fmt::format("layer {}: {} has {} bytes, not the {} that are said", number,
                                 printable(layer.path), *size, *layer.size));
    image.layers.push_back(std::move(layer));
    return {};
  }

  OciBlobs& blobs_;
  const OciOptions& options_;
  std::map<Digest, OciDescriptor> found_;
  std::vector<std::string> offered_;
  size_t indexes_ = 0;
};

// Passes a stream on and hashes it.
ByteStream hashed(ByteStream stream, ContentHasher& hasher) {
  return [stream = std::move(stream), &hasher](MutableByteView out) -> Result<size_t> {
    FR_TRY(const size_t count, stream(out));
    hasher.add(out.first(count));
    return count;
  };
}

}  // namespace

Result<OciImage> read_oci_image(OciBlobs& blobs, const OciOptions& options) {
  return ImageFinder(blobs, options).find();
}

std::string oci_layer_name(std::string_view image_name, size_t layer) {
  return fmt::format("{}-{}", image_name, layer);
}

ComponentInfo describe_oci_layer(const OciImage& image, size_t layer, std::string_view image_name) {
  ComponentInfo info;
  info.name = oci_layer_name(image_name, layer);
  info.version = image.version.empty() ? image.config.short_hex() : image.version;
  if (info.version.size() > kVersionBytesMax) info.version = image.config.short_hex();
  info.function = layer == 0 ? "base" : "layer";
  if (is_valid_name(image.platform.architecture)) info.architecture = image.platform.architecture;
  info.licence = image.licences;
  const std::string& by = image.layers[layer].created_by;
  info.origin = fmt::format("oci {} layer {} of {}{}{}", image.config.short_hex(), layer + 1,
                            image.layers.size(), by.empty() ? "" : ": ", by);
  if (layer > 0) info.depends.push_back(oci_layer_name(image_name, layer - 1));
  if (layer + 1 == image.layers.size()) info.provides.emplace_back(image_name);
  return info;
}

Status add_oci_layer(OciBlobs& blobs, const OciLayer& layer, const OciOptions& options,
                     ComponentBuilder& builder) {
  const auto add = [&]() -> Status {
    ContentHasher packed, plain;
    FR_TRY(ByteStream blob, blobs.open(layer.path));
    blob = hashed(std::move(blob), packed);
    FR_TRY(ByteStream tar, layer.packing
                               ? unpacked_as(*layer.packing, std::move(blob), options.unpack)
                               : unpacked(std::move(blob), options.unpack));
    TarOptions tar_options;
    tar_options.whiteouts = TarWhiteouts::kOci;
    tar_options.allow_devices = options.allow_devices;
    tar_options.limits = options.layer;
    TarReader archive(hashed(std::move(tar), plain), tar_options);
    FR_CHECK(add_tar(archive, builder));
    if (layer.digest && packed.finish() != *layer.digest)
      return corrupt("it is not what its digest says");
    if (plain.finish() != layer.diff_id) return corrupt("it unpacks to what its diff_id is not of");
    return {};
  };
  Status status = add();
  if (!status) return std::unexpected(std::move(status.error()).within(printable(layer.path)));
  return status;
}

}  // namespace forerun::image
