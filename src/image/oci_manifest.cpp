#include "image/oci_manifest.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <set>

#include "image/tar_format.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

namespace json = boost::json;

constexpr size_t kElementsMax = 100'000;  // of one array or object
constexpr size_t kTextBytesMax = 4096;

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}
std::unexpected<Error> unsupported(std::string what) {
  return fail(ErrorCode::kUnsupported, std::move(what));
}

// Two values of one key: readers differ on which counts. Boost.JSON's own parser takes the last.
struct KeyWatch {
  static constexpr size_t max_object_size = kElementsMax;
  static constexpr size_t max_array_size = kElementsMax;
  static constexpr size_t max_key_size = kTextBytesMax;
  static constexpr size_t max_string_size = kOciJsonBytesMax;

  using Code = json::error_code;
  using Text = json::string_view;
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_array_begin(Code&) { return true; }
  bool on_array_end(size_t, Code&) { return true; }
  bool on_object_begin(Code&) {
    keys.emplace_back();
    return true;
  }
  bool on_object_end(size_t, Code&) {
    keys.pop_back();
    return true;
  }
  bool on_key_part(Text text, size_t, Code&) {
    key.append(text.data(), text.size());
    return true;
  }
  bool on_key(Text text, size_t, Code& error) {
    key.append(text.data(), text.size());
    const bool is_new = keys.back().insert(key).second;
    if (!is_new) {
      twice = key;
      error = json::error::exception;
    }
    key.clear();
    return is_new;
  }
  bool on_string_part(Text, size_t, Code&) { return true; }
  bool on_string(Text, size_t, Code&) { return true; }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(int64_t, Text, Code&) { return true; }
  bool on_uint64(uint64_t, Text, Code&) { return true; }
  bool on_double(double, Text, Code&) { return true; }
  bool on_bool(bool, Code&) { return true; }
  bool on_null(Code&) { return true; }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

  std::vector<std::set<std::string>> keys;
  std::string key, twice;
};

Result<json::value> parse_json(std::string_view text) {
  if (text.size() > kOciJsonBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("it has {} bytes; at most {}", text.size(), kOciJsonBytesMax));
  json::parse_options options;
  options.max_depth = kOciJsonDepthMax;
  json::basic_parser<KeyWatch> watch(options);
  json::error_code error;
  watch.write_some(false, text.data(), text.size(), error);
  if (!watch.handler().twice.empty())
    return corrupt(fmt::format("it has the key '{}' twice", printable(watch.handler().twice)));
  if (error) return corrupt(fmt::format("it is no JSON: {}", error.message()));
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return corrupt(fmt::format("it is no JSON: {}", error.message()));
  return value;
}

Result<json::object> parse_object(std::string_view text) {
  FR_TRY(json::value value, parse_json(text));
  if (!value.is_object()) return corrupt("it is no JSON object");
  return std::move(value.get_object());
}

// Returns a string, empty if it is not there.
Result<std::string> text_field(const json::object& fields, std::string_view key) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) return corrupt(fmt::format("'{}' is no string", key));
  const json::string& text = value->get_string();
  if (text.size() > kTextBytesMax) return corrupt(fmt::format("'{}' is too long", key));
  return std::string(text);
}

// Returns an array, or null if it is not there.
Result<const json::array*> array_field(const json::object& fields, std::string_view key,
                                       size_t size_max) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_array()) return corrupt(fmt::format("'{}' is no list", key));
  if (value->get_array().size() > size_max)
    return fail(ErrorCode::kTooLarge, fmt::format("'{}' has {} entries; at most {}", key,
                                                  value->get_array().size(), size_max));
  return &value->get_array();
}

// Returns an object, or null if it is not there.
Result<const json::object*> object_field(const json::object& fields, std::string_view key) {
  const json::value* value = fields.if_contains({key.data(), key.size()});
  if (value == nullptr || value->is_null()) return nullptr;
  if (!value->is_object()) return corrupt(fmt::format("'{}' is no object", key));
  return &value->get_object();
}

Result<Digest> parse_oci_digest(std::string_view text) {
  constexpr std::string_view kAlgorithm = "sha256:";
  if (!text.starts_with(kAlgorithm)) {
    const std::string message = fmt::format("the digest '{}' is no SHA-256", printable(text));
    return text.starts_with("sha512:") ? unsupported(message) : corrupt(message);
  }
  const auto digest = parse_digest(text.substr(kAlgorithm.size()));
  if (!digest) return corrupt(fmt::format("the digest '{}' is no SHA-256", printable(text)));
  return *digest;
}

Result<OciPlatform> parse_platform(const json::object& fields) {
  OciPlatform platform;
  FR_TRY(platform.os, text_field(fields, "os"));
  FR_TRY(platform.architecture, text_field(fields, "architecture"));
  FR_TRY(platform.variant, text_field(fields, "variant"));
  return platform;
}

Result<OciDescriptor> parse_descriptor(const json::value* value) {
  if (value == nullptr || !value->is_object()) return corrupt("a descriptor is missing");
  const json::object& fields = value->get_object();
  OciDescriptor descriptor;
  FR_TRY(descriptor.media_type, text_field(fields, "mediaType"));
  FR_TRY(const std::string digest, text_field(fields, "digest"));
  FR_TRY(descriptor.digest, parse_oci_digest(digest));
  const json::value* size = fields.if_contains("size");
  if (size == nullptr || !size->is_int64() || size->get_int64() < 0 ||
      static_cast<uint64_t>(size->get_int64()) > kComponentDataBytesMax)
    return corrupt(fmt::format("{} has no proper size", descriptor.digest.short_hex()));
  descriptor.size = static_cast<uint64_t>(size->get_int64());
  FR_TRY(const json::object* platform, object_field(fields, "platform"));
  if (platform != nullptr) {
    FR_TRY(descriptor.platform, parse_platform(*platform));
  }
  FR_TRY(const json::object* annotations, object_field(fields, "annotations"));
  if (annotations != nullptr) {
    FR_TRY(descriptor.reference, text_field(*annotations, "org.opencontainers.image.ref.name"));
  }
  return descriptor;
}

Status check_schema(const json::object& fields) {
  const json::value* version = fields.if_contains("schemaVersion");
  if (version == nullptr || !version->is_int64() || version->get_int64() != 2)
    return unsupported("its schemaVersion is not 2");
  return {};
}

// Says which layer each entry of the history made.
Result<std::vector<std::string>> parse_history(const json::object& fields, size_t layers) {
  std::vector<std::string> created_by;
  FR_TRY(const json::array* history, array_field(fields, "history", kElementsMax));
  for (size_t i = 0; history != nullptr && i < history->size(); ++i) {
    if (!(*history)[i].is_object()) return corrupt("an entry of its history is no object");
    const json::object& entry = (*history)[i].get_object();
    const json::value* is_empty = entry.if_contains("empty_layer");
    if (is_empty != nullptr && is_empty->is_bool() && is_empty->get_bool()) continue;
    const json::value* text = entry.if_contains("created_by");
    created_by.emplace_back();
    if (text != nullptr && text->is_string()) created_by.back() = printable(text->get_string());
  }
  // The history is optional and of no consequence: one that does not fit says nothing.
  if (created_by.size() != layers) created_by.assign(layers, "");
  return created_by;
}

}  // namespace

OciKind kind_of(const OciDescriptor& descriptor) {
  const std::string_view type = descriptor.media_type;
  if (type == "application/vnd.oci.image.index.v1+json" ||
      type == "application/vnd.docker.distribution.manifest.list.v2+json")
    return OciKind::kIndex;
  if (type == "application/vnd.oci.image.manifest.v1+json" ||
      type == "application/vnd.docker.distribution.manifest.v2+json")
    return OciKind::kManifest;
  return OciKind::kOther;
}

Result<Packing> packing_of_layer(std::string_view media_type) {
  constexpr std::string_view kOci = "application/vnd.oci.image.layer.v1.";
  constexpr std::string_view kDocker = "application/vnd.docker.image.rootfs.diff.";
  if (media_type.find("nondistributable") != media_type.npos ||
      media_type.find("foreign") != media_type.npos)
    return unsupported(fmt::format("a layer of type '{}' may not be distributed: it is not here",
                                   printable(media_type)));
  if (media_type.ends_with("+encrypted"))
    return unsupported(fmt::format("a layer of type '{}' is encrypted", printable(media_type)));
  std::string_view rest;
  if (media_type.starts_with(kOci)) rest = media_type.substr(kOci.size());
  if (media_type.starts_with(kDocker)) rest = media_type.substr(kDocker.size());
  if (rest == "tar") return Packing::kPlain;
  if (rest == "tar+gzip" || rest == "tar.gzip") return Packing::kGzip;
  if (rest == "tar+zstd" || rest == "tar.zstd") return Packing::kZstd;
  return unsupported(fmt::format("a layer of type '{}' is not known here", printable(media_type)));
}

Status check_oci_layout(std::string_view text) {
  FR_TRY(const json::object fields, parse_object(text));
  FR_TRY(const std::string version, text_field(fields, "imageLayoutVersion"));
  if (!version.starts_with("1."))
    return unsupported(fmt::format("its version is '{}', not 1", printable(version)));
  return {};
}

Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view text) {
  FR_TRY(const json::object fields, parse_object(text));
  FR_CHECK(check_schema(fields));
  FR_TRY(const json::array* manifests, array_field(fields, "manifests", kOciManifestsMax));
  if (manifests == nullptr) return corrupt("it names no manifests");
  std::vector<OciDescriptor> descriptors;
  for (const json::value& entry : *manifests) {
    FR_TRY(OciDescriptor descriptor, parse_descriptor(&entry));
    descriptors.push_back(std::move(descriptor));
  }
  return descriptors;
}

Result<OciManifest> parse_oci_manifest(std::string_view text) {
  FR_TRY(const json::object fields, parse_object(text));
  FR_CHECK(check_schema(fields));
  OciManifest manifest;
  FR_TRY(manifest.config, parse_descriptor(fields.if_contains("config")));
  const std::string& type = manifest.config.media_type;
  if (type != "application/vnd.oci.image.config.v1+json" &&
      type != "application/vnd.docker.container.image.v1+json")
    return unsupported(
        fmt::format("its configuration is of type '{}': it is no image of a file "
                    "system",
                    printable(type)));
  FR_TRY(const json::array* layers, array_field(fields, "layers", kOciLayersMax));
  if (layers == nullptr || layers->empty()) return corrupt("it has no layers");
  for (const json::value& entry : *layers) {
    FR_TRY(OciDescriptor layer, parse_descriptor(&entry));
    FR_CHECK(packing_of_layer(layer.media_type));
    manifest.layers.push_back(std::move(layer));
  }
  return manifest;
}

Result<OciConfig> parse_oci_config(std::string_view text) {
  FR_TRY(const json::object fields, parse_object(text));
  OciConfig config;
  FR_TRY(config.platform, parse_platform(fields));
  FR_TRY(const json::object* root, object_field(fields, "rootfs"));
  if (root == nullptr) return corrupt("it has no rootfs");
  FR_TRY(const std::string type, text_field(*root, "type"));
  if (type != "layers") return unsupported(fmt::format("its rootfs is '{}'", printable(type)));
  FR_TRY(const json::array* ids, array_field(*root, "diff_ids", kOciLayersMax));
  for (size_t i = 0; ids != nullptr && i < ids->size(); ++i) {
    if (!(*ids)[i].is_string()) return corrupt("a diff_id is no string");
    FR_TRY(const Digest digest, parse_oci_digest((*ids)[i].get_string()));
    config.diff_ids.push_back(digest);
  }
  FR_TRY(config.created_by, parse_history(fields, config.diff_ids.size()));
  FR_TRY(const json::object* run, object_field(fields, "config"));
  if (run == nullptr) return config;
  FR_TRY(const json::object* labels, object_field(*run, "Labels"));
  if (labels == nullptr) return config;
  FR_TRY(config.version, text_field(*labels, "org.opencontainers.image.version"));
  FR_TRY(config.licences, text_field(*labels, "org.opencontainers.image.licenses"));
  FR_TRY(config.title, text_field(*labels, "org.opencontainers.image.title"));
  return config;
}

Result<std::vector<DockerImage>> parse_docker_manifest(std::string_view text) {
  FR_TRY(const json::value value, parse_json(text));
  if (!value.is_array() || value.get_array().size() > kOciManifestsMax)
    return corrupt(fmt::format("it is no list of up to {} images", kOciManifestsMax));
  const auto texts = [](const json::object& fields, std::string_view key,
                        size_t size_max) -> Result<std::vector<std::string>> {
    std::vector<std::string> out;
    FR_TRY(const json::array* list, array_field(fields, key, size_max));
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      if (!(*list)[i].is_string() || (*list)[i].get_string().size() > kTextBytesMax)
        return corrupt(fmt::format("'{}' has an entry that is no proper string", key));
      out.emplace_back((*list)[i].get_string());
    }
    return out;
  };
  std::vector<DockerImage> images;
  for (const json::value& entry : value.get_array()) {
    if (!entry.is_object()) return corrupt("an image in it is no object");
    DockerImage image;
    FR_TRY(image.config_path, text_field(entry.get_object(), "Config"));
    FR_TRY(image.layer_paths, texts(entry.get_object(), "Layers", kOciLayersMax));
    FR_TRY(image.tags, texts(entry.get_object(), "RepoTags", kOciManifestsMax));
    if (image.layer_paths.empty()) return corrupt("an image in it has no layers");
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace forerun::image
