// Fuzzes the reader of container images: builds a layout or a docker archive, then spoils its
// documents, its layers and the tar archive around them.
#include <fuzzer/FuzzedDataProvider.h>

#include "image/component_fixture.h"
#include "image/oci_builder.h"
#include "image/oci_import.h"

using namespace forerun;
using namespace forerun::image;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

std::string build_layer(FuzzedDataProvider& input, bool& is_spoilt) {
  constexpr std::string_view kNames[] = {"a", "a/b", "c", ".wh.a", "c/.wh..wh..opq", "../x"};
  TarBuilder tar;
  for (int i = input.ConsumeIntegralInRange<int>(0, 3); i > 0; --i) {
    const bool is_plain = input.ConsumeBool();
    is_spoilt |= !is_plain;
    is_plain ? tar.file(fmt::format("f{}", i), input.ConsumeRandomLengthString(40))
             : tar.file(std::string(input.PickValueInArray(kNames)), "");
  }
  return tar.end().bytes();
}

// Puts something else in place of part of a document, or into it.
void spoil(std::string& text, FuzzedDataProvider& input) {
  constexpr std::string_view kPieces[] = {
      "null", "[]",      "{}",    "-1",    "1e99",       "\"\"", "sha256:../x",        "[[[[", ",",
      "\"",   "\"a\":1", "linux", "arm64", "+encrypted", "true", "9223372036854775807"};
  if (text.empty()) return;
  const size_t at = input.ConsumeIntegralInRange<size_t>(0, text.size() - 1);
  const size_t count =
      std::min<size_t>(input.ConsumeIntegralInRange<size_t>(0, 90), text.size() - at);
  text.replace(at, count,
               input.ConsumeBool() ? std::string(input.PickValueInArray(kPieces))
                                   : input.ConsumeRandomLengthString(10));
}

struct Built {
  OciFixture image;
  size_t layers = 0;
  bool is_spoilt = false;
};

// A document is spoilt before its digest is taken: what is wrong in it is found by its parser.
Built build(FuzzedDataProvider& input) {
  Built built;
  const auto maybe_spoil = [&](std::string text) {
    if (input.ConsumeProbability<float>() < 0.15f) {
      built.is_spoilt = true;
      spoil(text, input);
    }
    return text;
  };
  std::vector<std::string> layers, ids, descriptors, paths;
  built.layers = input.ConsumeIntegralInRange<size_t>(1, 3);
  for (size_t i = 0; i < built.layers; ++i) {
    layers.push_back(build_layer(input, built.is_spoilt));
    descriptors.push_back(maybe_spoil(built.image.blob(OciFixture::kTar, layers.back())));
    paths.push_back(fmt::format("\"{}\"", OciFixture::path(layers.back())));
  }
  ids = layers;
  if (input.ConsumeProbability<float>() < 0.1f) {
    built.is_spoilt = true;
    ids.resize(input.ConsumeIntegralInRange<size_t>(0, 4), "x");
  }
  const std::string config = maybe_spoil(OciFixture::config(
      ids, "amd64", R"(,"history":[{"created_by":"x"}],"config":{"Labels":{"a":"b"}})"));
  if (input.ConsumeBool()) {
    const std::string manifest = maybe_spoil(OciFixture::manifest(
        maybe_spoil(built.image.blob(OciFixture::kConfig, config)), descriptors));
    built.image.layout_with(
        maybe_spoil(OciFixture::index({built.image.blob(OciFixture::kManifest, manifest)})));
  } else {
    built.image.files[OciFixture::path(config)] = config;
    built.image.files["manifest.json"] =
        maybe_spoil(fmt::format(R"([{{"Config":"{}","RepoTags":["a:1"],"Layers":[{}]}}])",
                                OciFixture::path(config), fmt::join(paths, ",")));
  }
  return built;
}

// Returns how many layers were taken; 0 if the image was refused.
size_t import(OciBlobs& blobs) {
  OciOptions options;
  options.unpack = {.bytes_free = 64 * kKiB, .ratio_max = 10};
  options.layer.content_bytes_max = 256 * kKiB;
  const auto image = read_oci_image(blobs, options);
  if (!image) {
    require(!image.error().message.empty());
    return 0;
  }
  require(!image->layers.empty() && image->layers.size() <= kOciLayersMax);
  repository::MemoryStore store;
  MemoryFile scratch;
  for (size_t i = 0; i < image->layers.size(); ++i) {
    BuildOptions build = build_options();
    build.info = describe_oci_layer(*image, i, "web");
    auto builder = ComponentBuilder::create(store, scratch, build);
    require(builder.has_value());
    const Status added = add_oci_layer(blobs, image->layers[i], options, **builder);
    if (!added) {
      require(!added.error().message.empty());
      return 0;
    }
    require((*builder)->publish().has_value());
  }
  return image->layers.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  Built built = build(input);
  if (input.ConsumeBool()) {
    const size_t layers = import(built.image);
    require(built.is_spoilt || layers == built.layers);
    return 0;
  }
  std::string tar = built.image.tar();
  for (int i = input.ConsumeIntegralInRange<int>(0, 2); i > 0; --i) {
    built.is_spoilt = true;
    spoil(tar, input);
  }
  const auto blobs = index_oci_archive([&](uint64_t offset) -> Result<ByteStream> {
    return stream_of(as_bytes(tar).subspan(std::min<uint64_t>(offset, tar.size())));
  });
  if (!blobs) {
    require(built.is_spoilt && !blobs.error().message.empty());
    return 0;
  }
  const size_t layers = import(**blobs);
  require(built.is_spoilt || layers == built.layers);
  return 0;
}
