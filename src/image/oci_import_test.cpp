#include "image/oci_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/component_fixture.h"
#include "image/oci_builder.h"
#include "image/packed_text.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Fixture = OciFixture;

std::string lower() {
  return TarBuilder()
      .directory("etc/")
      .file("etc/a", "one")
      .file("etc/b", "two")
      .directory("var/")
      .file("var/x", "x")
      .end()
      .bytes();
}
std::string upper() {
  return TarBuilder()
      .directory("etc/")
      .file("etc/.wh.a")
      .file("etc/b", "changed")
      .directory("var/")
      .file("var/.wh..wh..opq")
      .end()
      .bytes();
}

struct OciImportTest : testing::Test {
  // Imports all layers of the image as "web".
  Result<std::vector<BuiltComponent>> import(OciBlobs& blobs, const OciOptions& options = {}) {
    FR_TRY(const OciImage image, read_oci_image(blobs, options));
    std::vector<BuiltComponent> components;
    for (size_t i = 0; i < image.layers.size(); ++i) {
      BuildOptions build = build_options();
      build.info = describe_oci_layer(image, i, "web");
      FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, build));
      FR_CHECK(add_oci_layer(blobs, image.layers[i], options, *builder));
      FR_TRY(BuiltComponent built, builder->publish());
      components.push_back(std::move(built));
    }
    return components;
  }
  InodeKind kind(const BuiltComponent& built, std::string_view path) {
    const auto name = built.index.tree.find(path);
    return name ? built.index.tree.inodes[built.index.tree.names[*name].inode].kind : InodeKind{};
  }

  repository::MemoryStore store;
  MemoryFile scratch;
};

TEST_F(OciImportTest, OneComponentALayerEachOnTheOneBelow) {
  Fixture image;
  const auto built = import(image.layout({lower(), upper()}));
  ASSERT_TRUE(built) << built.error().message;
  ASSERT_EQ(built->size(), 2u);
  const ComponentInfo& first = (*built)[0].index.info;
  const ComponentInfo& second = (*built)[1].index.info;
  EXPECT_EQ(first.name, "web-0");
  EXPECT_EQ(first.function, "base");
  EXPECT_EQ(first.architecture, "amd64");
  EXPECT_THAT(first.depends, ElementsAre());
  EXPECT_EQ(second.name, "web-1");
  EXPECT_EQ(second.function, "layer");
  EXPECT_THAT(second.depends, ElementsAre("web-0"));
  EXPECT_THAT(second.provides, ElementsAre("web"));
  EXPECT_EQ(read_file(store, (*built)[0].index, "/etc/b").value_or("?"), "two");
  EXPECT_EQ(read_file(store, (*built)[1].index, "/etc/b").value_or("?"), "changed");
  EXPECT_EQ(kind((*built)[1], "/etc/a"), InodeKind::kWhiteout);
  const auto var = (*built)[1].index.tree.find("/var");
  ASSERT_TRUE(var);
  EXPECT_TRUE((*built)[1].index.tree.inodes[(*built)[1].index.tree.names[*var].inode].is_opaque);
}

TEST_F(OciImportTest, PackedLayersAndTheirHistory) {
  Fixture image;
  const std::string config = Fixture::config(
      {lower(), upper(), lower()}, "amd64",
      R"(,"history":[{"created_by":"ADD base"},{"created_by":"ENV","empty_layer":true},)"
      R"({"created_by":"RUN change"},{}],"config":{"Labels":{)"
      R"("org.opencontainers.image.version":"12.5","org.opencontainers.image.licenses":"MIT"}})");
  image.layout_of(Fixture::manifest(
      image.blob(Fixture::kConfig, config),
      {image.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(lower())),
       image.blob("application/vnd.oci.image.layer.v1.tar+zstd", zstd(upper())),
       image.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip(lower()))}));
  const auto built = import(image);
  ASSERT_TRUE(built) << built.error().message;
  ASSERT_EQ(built->size(), 3u);
  EXPECT_EQ((*built)[1].index.info.version, "12.5");
  EXPECT_EQ((*built)[1].index.info.licence, "MIT");
  EXPECT_THAT((*built)[0].index.info.origin, HasSubstr("layer 1 of 3: ADD base"));
  EXPECT_THAT((*built)[1].index.info.origin, HasSubstr("layer 2 of 3: RUN change"));
  EXPECT_EQ(read_file(store, (*built)[2].index, "/etc/a").value_or("?"), "one");
}

TEST_F(OciImportTest, ArchiveOfALayout) {
  Fixture image;
  const std::string tar = image.layout({lower()}).tar();
  const auto blobs = index_oci_archive([&](uint64_t offset) -> Result<ByteStream> {
    return stream_of(as_bytes(tar).subspan(offset));
  });
  ASSERT_TRUE(blobs) << blobs.error().message;
  const auto built = import(**blobs);
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(read_file(store, built->at(0).index, "/etc/a").value_or("?"), "one");
}

TEST_F(OciImportTest, DockerArchivesOfBothKinds) {
  const std::string config = Fixture::config({lower(), upper(), lower()});
  const std::string name = sha256(as_bytes(config)).hex();
  const auto manifest = [](std::string_view path, std::string_view a, std::string_view b,
                           std::string_view c) {
    return fmt::format(R"([{{"Config":"{}","RepoTags":["web:1"],"Layers":["{}","{}","{}"]}}])",
                       path, a, b, c);
  };
  // The third layer equals the first: old archives have a link.
  const std::string old = TarBuilder()
                              .file(name + ".json", config)
                              .directory("a/")
                              .file("a/layer.tar", lower())
                              .file("b/layer.tar", gzip(upper()))
                              .symlink("c/layer.tar", "../a/layer.tar")
                              .file("manifest.json", manifest(name + ".json", "a/layer.tar",
                                                              "b/layer.tar", "c/layer.tar"))
                              .end()
                              .bytes();
  const auto blobs = index_oci_archive([&](uint64_t offset) -> Result<ByteStream> {
    return stream_of(as_bytes(old).subspan(offset));
  });
  ASSERT_TRUE(blobs) << blobs.error().message;
  auto built = import(**blobs);
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(built->size(), 3u);
  EXPECT_EQ(read_file(store, built->at(1).index, "/etc/b").value_or("?"), "changed");

  Fixture newer;
  for (const std::string& blob : {config, lower(), upper()})
    newer.files[Fixture::path(blob)] = blob;
  newer.files["manifest.json"] = manifest(Fixture::path(config), Fixture::path(lower()),
                                          Fixture::path(upper()), Fixture::path(lower()));
  built = import(newer);
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(built->size(), 3u);
}

TEST_F(OciImportTest, PicksThePlatformAndTheReference) {
  Fixture image;
  const auto variant = [&](std::string_view architecture, const std::string& layer,
                           std::string_view more) {
    return image.blob(
        Fixture::kManifest,
        Fixture::manifest(image.blob(Fixture::kConfig, Fixture::config({layer}, architecture)),
                          {image.blob(Fixture::kTar, layer)}),
        more);
  };
  const std::string list = Fixture::index(
      {variant("amd64", lower(), R"(,"platform":{"os":"linux","architecture":"amd64"})"),
       variant("arm64", upper(), R"(,"platform":{"os":"linux","architecture":"arm64"})"),
       variant("unknown", upper(), R"(,"platform":{"os":"unknown","architecture":"unknown"})")});
  image.layout_with(Fixture::index(
      {image.blob(Fixture::kIndex, list,
                  R"(,"annotations":{"org.opencontainers.image.ref.name":"12"})"),
       variant("amd64", upper(), R"(,"annotations":{"org.opencontainers.image.ref.name":"13"})"),
       image.blob("application/json", "{}")}));
  OciOptions options;
  EXPECT_THAT(
      read_oci_image(image, options).error().message,
      HasSubstr("several images are meant: say which; there are: 12, linux/amd64, linux/arm64, "
                "unknown/unknown, 13"));
  options.reference = "12";
  auto found = read_oci_image(image, options);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->layers[0].diff_id, sha256(as_bytes(lower())));
  options.platform.architecture = "arm64";
  found = read_oci_image(image, options);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->layers[0].diff_id, sha256(as_bytes(upper())));
  options.platform.architecture = "riscv64";
  EXPECT_THAT(read_oci_image(image, options).error().message,
              HasSubstr("no image 12 of linux/riscv64; there are: 12, linux/amd64, linux/arm64"));
  options.reference = "14";
  EXPECT_EQ(read_oci_image(image, options).error().code, ErrorCode::kNotFound);
}

TEST_F(OciImportTest, BombsRunIntoLimits) {
  Fixture image;
  const std::string zeroes = TarBuilder().file("z", std::string(kMiB, '\0')).end().bytes();
  image.layout_of(
      Fixture::manifest(image.blob(Fixture::kConfig, Fixture::config({zeroes})),
                        {image.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(zeroes))}));
  OciOptions options;
  options.unpack = {.bytes_free = 4096, .ratio_max = 10};
  EXPECT_THAT(import(image, options).error().message, HasSubstr("bomb"));
  options = {};
  options.layer.content_bytes_max = kMiB - 1;
  EXPECT_EQ(import(image, options).error().code, ErrorCode::kTooLarge);
  TarBuilder many;
  for (int i = 0; i < 20; ++i) many.file(fmt::format("{}", i));
  Fixture crowd;
  options = {};
  options.layer.entries_max = 19;
  EXPECT_THAT(import(crowd.layout({many.end().bytes()}), options).error().message,
              HasSubstr("more than 19 entries"));
}

}  // namespace
}  // namespace forerun::image
