// A container image as components, one a layer: an OCI layout, or what `docker save` writes.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "image/component_builder.h"
#include "image/oci_blobs.h"
#include "image/oci_manifest.h"
#include "image/tar_reader.h"

namespace forerun::image {

struct OciOptions {
  OciPlatform platform{"linux", "amd64", ""};  // of several, this one; variant empty: any
  std::string reference;                       // of several images: "12-slim", "nginx:1.27"
  bool allow_devices = false;
  UnpackLimits unpack;
  TarLimits layer;
};

struct OciLayer {
  std::string path;                // of its blob
  std::optional<Digest> digest;    // of the blob; none: told by diff_id alone
  std::optional<uint64_t> size;    // of the blob
  std::optional<Packing> packing;  // none: as it begins
  Digest diff_id;                  // of the unpacked layer
  std::string created_by;
};

struct OciImage {
  Digest config;  // what names the image
  OciPlatform platform;
  std::string version, licences;
  std::vector<OciLayer> layers;  // the lowest first
};

// Finds the image and checks all of it but its layers. ERRORS: kNotFound: no such image, platform
// or blob; kInvalid: several; kCorrupt: a document that is malformed or not what its digest says;
// kUnsupported; kTooLarge.
Result<OciImage> read_oci_image(OciBlobs& blobs, const OciOptions& options);

// Returns the name of a layer's component and tag: "nginx-0" is the lowest.
std::string oci_layer_name(std::string_view image_name, size_t layer);
// What a layer's component says: it depends on the layer below; the topmost one answers to the
// image's name as well.
ComponentInfo describe_oci_layer(const OciImage& image, size_t layer, std::string_view image_name);

// Adds a layer's entries to `builder`, whiteouts as such; checks that the blob and what it unpacks
// to have their digests. ERRORS: those of the blobs and the builder; kCorrupt; kTooLarge.
Status add_oci_layer(OciBlobs& blobs, const OciLayer& layer, const OciOptions& options,
                     ComponentBuilder& builder);

}  // namespace forerun::image
