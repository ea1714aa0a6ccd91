// Writes container images, right ones and wrong ones: for tests and fuzzers.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "image/oci_blobs.h"
#include "image/tar_builder.h"

namespace forerun::image {

// An image's files, by path.
class OciFixture final : public OciBlobs {
 public:
  Result<std::optional<uint64_t>> size(const std::string& path) override {
    const auto found = files.find(path);
    if (found == files.end()) return std::nullopt;
    return found->second.size();
  }
  Result<ByteStream> open(const std::string& path) override {
    return stream_of(as_bytes(files.at(path)));
  }

  static std::string digest(std::string_view content) {
    return "sha256:" + sha256(as_bytes(content)).hex();
  }
  static std::string path(std::string_view content) {
    return "blobs/sha256/" + sha256(as_bytes(content)).hex();
  }
  // Adds a blob; returns a descriptor of it: a JSON object, `more` in it.
  std::string blob(std::string_view type, const std::string& content, std::string_view more = "") {
    files[path(content)] = content;
    return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}{}}})", type, digest(content),
                       content.size(), more);
  }

  static constexpr std::string_view kIndex = "application/vnd.oci.image.index.v1+json";
  static constexpr std::string_view kManifest = "application/vnd.oci.image.manifest.v1+json";
  static constexpr std::string_view kConfig = "application/vnd.oci.image.config.v1+json";
  static constexpr std::string_view kTar = "application/vnd.oci.image.layer.v1.tar";

  // Returns a configuration of these unpacked layers.
  static std::string config(const std::vector<std::string>& layers,
                            std::string_view architecture = "amd64", std::string_view more = "") {
    std::vector<std::string> ids;
    for (const std::string& layer : layers) ids.push_back(fmt::format("\"{}\"", digest(layer)));
    return fmt::format(R"({{"architecture":"{}","os":"linux","rootfs":{{"type":"layers",)"
                       R"("diff_ids":[{}]}}{}}})",
                       architecture, fmt::join(ids, ","), more);
  }
  static std::string manifest(std::string_view config, const std::vector<std::string>& layers) {
    return fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[{}]}})", config,
                       fmt::join(layers, ","));
  }
  static std::string index(const std::vector<std::string>& manifests) {
    return fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", fmt::join(manifests, ","));
  }
  // Makes it a layout of these plain layers.
  OciFixture& layout(const std::vector<std::string>& layers) {
    std::vector<std::string> descriptors;
    for (const std::string& layer : layers) descriptors.push_back(blob(kTar, layer));
    return layout_of(manifest(blob(kConfig, config(layers)), descriptors));
  }
  OciFixture& layout_of(const std::string& manifest) {
    return layout_with(index({blob(kManifest, manifest)}));
  }
  OciFixture& layout_with(const std::string& index) {
    files["oci-layout"] = R"({"imageLayoutVersion":"1.0.0"})";
    files["index.json"] = index;
    return *this;
  }

  std::string tar() const {
    TarBuilder archive;
    for (const auto& [name, content] : files) archive.file(name, content);
    return archive.end().bytes();
  }

  std::map<std::string, std::string> files;
};

}  // namespace forerun::image
