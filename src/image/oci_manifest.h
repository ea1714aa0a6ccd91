// The JSON documents of a container image: index, manifest, configuration, and what `docker save`
// writes instead of an index. They come from outside: bounded in size and depth, no key twice, and
// of what is read, everything is checked. Pure functions over text.
// SOURCE: OCI image specification 1.1 (image-index, manifest, config, descriptor), Docker image
// specification 1.2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "image/decompress.h"

namespace forerun::image {

inline constexpr size_t kOciJsonBytesMax = 4 * 1024 * 1024;  // of a document, as registries have it
inline constexpr size_t kOciJsonDepthMax = 16;
inline constexpr size_t kOciLayersMax = 127;      // as Docker
inline constexpr size_t kOciManifestsMax = 1024;  // in one index

struct OciPlatform {
  std::string os, architecture, variant;
};

// What points at a blob: always by SHA-256.
struct OciDescriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  OciPlatform platform;   // of a manifest; empty where it is not said
  std::string reference;  // org.opencontainers.image.ref.name: "12-slim"
};

enum class OciKind { kIndex, kManifest, kOther };
OciKind kind_of(const OciDescriptor& descriptor);

struct OciManifest {
  OciDescriptor config;
  std::vector<OciDescriptor> layers;  // the lowest first
};

struct OciConfig {
  OciPlatform platform;
  std::vector<Digest> diff_ids;          // of the unpacked layers
  std::vector<std::string> created_by;   // by layer; empty strings where it is not said
  std::string version, licences, title;  // of its labels
};

// An image in manifest.json of `docker save`.
struct DockerImage {
  std::string config_path;
  std::vector<std::string> layer_paths;
  std::vector<std::string> tags;  // "nginx:1.27"
};

// ERRORS of all: kCorrupt, kTooLarge, kUnsupported (digests that are no SHA-256, layers that may
// not be distributed or are encrypted, artifacts that are no image), saying what is wrong.
Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view json);
Result<OciManifest> parse_oci_manifest(std::string_view json);
Result<OciConfig> parse_oci_config(std::string_view json);
Result<std::vector<DockerImage>> parse_docker_manifest(std::string_view json);
// Checks the version in an `oci-layout` file.
Status check_oci_layout(std::string_view json);

// Returns how a layer of this media type is packed.
Result<Packing> packing_of_layer(std::string_view media_type);

}  // namespace forerun::image
