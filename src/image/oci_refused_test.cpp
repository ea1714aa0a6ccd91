// Container images that are refused, and why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/component_fixture.h"
#include "image/oci_builder.h"
#include "image/oci_import.h"

namespace forerun::image {
namespace {

using testing::HasSubstr;
using Fixture = OciFixture;

std::string lower() {
  return TarBuilder().directory("etc/").file("etc/a", "one").file("etc/b", "two").end().bytes();
}
std::string upper() { return TarBuilder().file("etc/b", "changed").end().bytes(); }

struct Wrong {
  std::string name;
  Fixture image;
  std::string why;
};
void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.name; }

// An image of one layer whose manifest, configuration or layer is what the caller makes of it.
Fixture with_layer(const std::string& layer) { return Fixture().layout({layer}); }
Fixture with_config(const std::string& config) {
  Fixture image;
  return image.layout_of(Fixture::manifest(image.blob(Fixture::kConfig, config),
                                           {image.blob(Fixture::kTar, lower())}));
}
Fixture with_manifest(const std::string& manifest) { return Fixture().layout_of(manifest); }
Fixture with_index(const std::string& index) { return Fixture().layout_with(index); }
Fixture with_type(std::string_view type) {
  Fixture image;
  return image.layout_of(Fixture::manifest(image.blob(Fixture::kConfig, Fixture::config({lower()})),
                                           {image.blob(type, lower())}));
}
Fixture with_digest(std::string_view digest) {
  return with_index(fmt::format(
      R"({{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{}","size":2}}]}})",
      Fixture::kManifest, digest));
}
Fixture spoilt(const std::string& path, std::string content) {
  Fixture image = with_layer(lower());
  if (!image.files.contains(path)) ADD_FAILURE() << path;
  image.files[path] = std::move(content);
  return image;
}
Fixture without(const std::string& path) {
  Fixture image = with_layer(lower());
  if (image.files.erase(path) != 1) ADD_FAILURE() << path;
  return image;
}
Fixture docker(const std::string& manifest) {
  Fixture image;
  const std::string config = Fixture::config({lower()});
  image.files[sha256(as_bytes(config)).hex() + ".json"] = config;
  image.files["a/layer.tar"] = lower();
  image.files["manifest.json"] = manifest;
  return image;
}
std::string config_name() { return sha256(as_bytes(Fixture::config({lower()}))).hex() + ".json"; }

std::string nested(size_t depth, std::string_view open, std::string_view close) {
  std::string text;
  for (size_t i = 0; i < depth; ++i) text += open;
  text += "0";
  for (size_t i = 0; i < depth; ++i) text += close;
  return text;
}

std::vector<Wrong> wrong_indexes() {
  const std::string zeroes(64, '0');
  Fixture loop;
  std::string index = Fixture::index({});
  for (int i = 0; i < 4; ++i) index = Fixture::index({loop.blob(Fixture::kIndex, index)});
  loop.layout_with(index);
  return {
      {"nothing", {}, "neither index.json nor manifest.json"},
      {"no_layout_file", without("oci-layout"), "oci-layout: it is missing"},
      {"layout_2", spoilt("oci-layout", R"({"imageLayoutVersion":"2.0.0"})"), "version is '2.0.0'"},
      {"no_json", with_index("{"), "index.json: it is no JSON"},
      {"two_documents", with_index("{} {}"), "no JSON"},
      {"no_object", with_index("[]"), "no JSON object"},
      {"empty", with_index(""), "no JSON"},
      {"deep_arrays", with_index(nested(100'000, "[", "]")), "no JSON"},
      {"deep_objects", with_index(nested(20, R"({"a":)", "}")), "no JSON"},
      {"huge", with_index(std::string(kOciJsonBytesMax + 1, ' ')), "at most 4194304"},
      {"bad_utf8", with_index("{\"a\":\"\xff\"}"), "no JSON"},
      {"key_twice", with_index(R"({"schemaVersion":2,"manifests":[],"manifests":[]})"), "twice"},
      {"key_twice_escaped", with_index(R"({"schemaVersion":2,"\u0061":1,"a":1})"), "'a' twice"},
      {"schema_1", with_index(R"({"schemaVersion":1,"manifests":[]})"), "not 2"},
      {"schema_word", with_index(R"({"schemaVersion":"2","manifests":[]})"), "not 2"},
      {"no_manifests", with_index(R"({"schemaVersion":2})"), "names no manifests"},
      {"manifests_word", with_index(R"({"schemaVersion":2,"manifests":"x"})"), "no list"},
      {"no_manifest", with_index(Fixture::index({})), "there is none with a name or platform"},
      {"many", with_index(Fixture::index(std::vector<std::string>(1025, "{}"))), "at most 1024"},
      {"descriptor_number", with_index(Fixture::index({"1"})), "descriptor is missing"},
      {"digest_none", with_digest(""), "no SHA-256"},
      {"digest_path", with_digest("sha256:../../../etc/passwd"), "no SHA-256"},
      {"digest_slash", with_digest("sha256:" + zeroes.substr(1) + "/"), "no SHA-256"},
      {"digest_upper", with_digest("sha256:" + std::string(64, 'A')), "no SHA-256"},
      {"digest_short", with_digest("sha256:00"), "no SHA-256"},
      {"digest_sha512", with_digest("sha512:" + zeroes + zeroes), "no SHA-256"},
      {"digest_unknown", with_digest("../etc:" + zeroes), "no SHA-256"},
      {"digest_absent", with_digest("sha256:" + zeroes), "it is missing"},
      {"size_negative",
       with_index(Fixture::index({R"({"digest":"sha256:)" + zeroes + R"(","size":-1})"})),
       "no proper size"},
      {"size_huge",
       with_index(Fixture::index({R"({"digest":"sha256:)" + zeroes + R"(","size":1e30})"})),
       "no proper size"},
      {"indexes_in_indexes", loop, "over 3 deep"},
      {"annotations_list",
       with_index(
           Fixture::index({R"({"digest":"sha256:)" + zeroes + R"(","size":1,"annotations":[]})"})),
       "'annotations' is no object"},
  };
}

std::vector<Wrong> wrong_manifests() {
  const std::string config = R"({"mediaType":"application/vnd.oci.image.config.v1+json",)"
                             R"("digest":"sha256:)" +
                             std::string(64, '0') + R"(","size":2})";
  return {
      {"no_config", with_manifest(R"({"schemaVersion":2,"layers":[]})"), "descriptor is missing"},
      {"no_layers", with_manifest(Fixture::manifest(config, {})), "no layers"},
      {"layers_word",
       with_manifest(R"({"schemaVersion":2,"config":)" + config + R"(,"layers":"x"})"), "no list"},
      {"many_layers", with_manifest(Fixture::manifest(config, std::vector<std::string>(128, "{}"))),
       "at most 127"},
      {"artifact",
       with_manifest(Fixture::manifest(
           R"({"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:)" +
               std::string(64, '0') + R"(","size":2})",
           {})),
       "it is no image"},
      {"config_absent", without(Fixture::path(Fixture::config({lower()}))), "it is missing"},
      {"layer_absent", without(Fixture::path(lower())), "layer 0: blobs/sha256/"},
      {"foreign", with_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
       "may not be distributed"},
      {"nondistributable",
       with_type("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
       "may not be distributed"},
      {"encrypted", with_type("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
       "is encrypted"},
      {"type_none", with_type(""), "is not known here"},
      {"type_other", with_type("application/vnd.oci.image.layer.v1.squashfs"), "not known here"},
      {"type_bzip2", with_type("application/vnd.oci.image.layer.v1.tar+bzip2"), "not known here"},
      {"plain_as_gzip", with_type("application/vnd.oci.image.layer.v1.tar+gzip"),
       "not packed as its name says"},
      {"rootfs_none", with_config(R"({"architecture":"amd64","os":"linux"})"), "no rootfs"},
      {"rootfs_type", with_config(R"({"rootfs":{"type":"tree","diff_ids":[]}})"), "is 'tree'"},
      {"no_diff_ids", with_config(R"({"rootfs":{"type":"layers"}})"), "1 layers, but its"},
      {"two_diff_ids", with_config(Fixture::config({lower(), upper()})), "configuration 2"},
      {"diff_id_number", with_config(R"({"rootfs":{"type":"layers","diff_ids":[1]}})"),
       "no string"},
      {"diff_id_path", with_config(R"({"rootfs":{"type":"layers","diff_ids":["../x"]}})"),
       "no SHA-256"},
      {"diff_id_wrong", with_config(Fixture::config({upper()})), "its diff_id is not of"},
      {"platform", with_config(Fixture::config({lower()}, "arm64")), "is for linux/arm64, not"},
      {"labels_list",
       with_config(Fixture::config({lower()}, "amd64", R"(,"config":{"Labels":[]})")),
       "'Labels' is no object"},
      {"history_numbers", with_config(Fixture::config({lower()}, "amd64", R"(,"history":[1])")),
       "history is no object"},
  };
}

std::vector<Wrong> wrong_blobs() {
  std::string flipped = lower();
  flipped[1024] ^= 1;  // of a file
  const std::string name = config_name();
  return {
      {"manifest_other",
       spoilt(Fixture::path(Fixture::manifest(
                  fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", Fixture::kConfig,
                              Fixture::digest(Fixture::config({lower()})),
                              Fixture::config({lower()}).size()),
                  {fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", Fixture::kTar,
                               Fixture::digest(lower()), lower().size())})),
              "{}"),
       "not the"},
      {"config_flipped",
       spoilt(Fixture::path(Fixture::config({lower()})), Fixture::config({lower()}, "arm64")),
       "not what its digest says"},
      {"layer_flipped", spoilt(Fixture::path(lower()), flipped), "not what its digest says"},
      {"layer_longer", spoilt(Fixture::path(lower()), lower() + std::string(512, '\0')),
       "bytes, not the"},
      {"layer_cut", with_layer(lower().substr(0, 1000)), "cut off"},
      {"layer_empty", with_layer(""), "cut off"},
      {"layer_text", with_layer(std::string(1024, 'x')), "tar entry"},
      {"layer_up", with_layer(TarBuilder().file("../x", "x").end().bytes()), ".."},
      {"layer_absolute", with_layer(TarBuilder().file("/x", "x").end().bytes()), "absolute"},
      {"layer_link_out", with_layer(TarBuilder().hard_link("a", "../b").end().bytes()),
       "hard link"},
      {"layer_through_link",
       with_layer(TarBuilder().symlink("a", "/etc").file("a/b", "x").end().bytes()),
       "no directory"},
      {"layer_device",
       with_layer(TarBuilder().add({.name = "d", .type = '4', .major = 8}).end().bytes()),
       "device"},
      {"whiteout_full", with_layer(TarBuilder().file(".wh.a", "x").end().bytes()), "no empty file"},
      {"whiteout_up", with_layer(TarBuilder().file("a/.wh...").end().bytes()), "no name"},
      {"whiteout_none", with_layer(TarBuilder().file(".wh.").end().bytes()), "no name"},
      {"whiteout_kept", with_layer(TarBuilder().file(".wh..wh.plnk").end().bytes()), "own keeping"},
      {"docker_object", docker("{}"), "no list"},
      {"docker_none", docker("[]"), "no image"},
      {"docker_two", docker(R"([{"Config":"a","Layers":["b"]},{"Config":"a","Layers":["b"]}])"),
       "several"},
      {"docker_no_layers", docker(R"([{"Config":"a.json"}])"), "no layers"},
      {"docker_number", docker(R"([{"Config":"a","Layers":[1]}])"), "no proper string"},
      {"docker_config_up", docker(R"([{"Config":"../../a","Layers":["b"]}])"), "no path"},
      {"docker_config_name", docker(R"([{"Config":"a.json","Layers":["b"]}])"),
       "not named by its digest"},
      {"docker_layer_up",
       docker(fmt::format(R"([{{"Config":"{}","Layers":["../layer.tar"]}}])", name)), "no path"},
      {"docker_layer_absolute",
       docker(fmt::format(R"([{{"Config":"{}","Layers":["/etc/shadow"]}}])", name)), "no path"},
      {"docker_layer_absent",
       docker(fmt::format(R"([{{"Config":"{}","Layers":["b/layer.tar"]}}])", name)), "is missing"},
      {"docker_layer_count",
       docker(fmt::format(R"([{{"Config":"{}","Layers":["a/layer.tar","a/layer.tar"]}}])", name)),
       "2 layers, but"},
  };
}

class OciRefused : public testing::TestWithParam<Wrong> {};

TEST_P(OciRefused, IsSaidWhy) {
  repository::MemoryStore store;
  MemoryFile scratch;
  Fixture blobs = GetParam().image;
  const auto import = [&]() -> Status {
    FR_TRY(const OciImage image, read_oci_image(blobs, {}));
    FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, build_options()));
    return add_oci_layer(blobs, image.layers.at(0), {}, *builder);
  };
  const Status status = import();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr(GetParam().why));
}

std::string name_of(const testing::TestParamInfo<Wrong>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Indexes, OciRefused, testing::ValuesIn(wrong_indexes()), name_of);
INSTANTIATE_TEST_SUITE_P(Manifests, OciRefused, testing::ValuesIn(wrong_manifests()), name_of);
INSTANTIATE_TEST_SUITE_P(Blobs, OciRefused, testing::ValuesIn(wrong_blobs()), name_of);

struct WrongArchive {
  std::string name, bytes, why;
};
void PrintTo(const WrongArchive& wrong, std::ostream* out) { *out << wrong.name; }
class OciArchiveRefused : public testing::TestWithParam<WrongArchive> {};

TEST_P(OciArchiveRefused, IsSaidWhy) {
  const auto blobs = index_oci_archive([](uint64_t offset) -> Result<ByteStream> {
    return stream_of(as_bytes(GetParam().bytes).subspan(offset));
  });
  ASSERT_FALSE(blobs);
  EXPECT_THAT(blobs.error().message, HasSubstr(GetParam().why));
}

INSTANTIATE_TEST_SUITE_P(
    Archives, OciArchiveRefused,
    testing::Values(
        WrongArchive{"empty", "", "cut off"},
        WrongArchive{"cut", Fixture().layout({lower()}).tar().substr(0, 2000), "cut off"},
        WrongArchive{"name_twice",
                     TarBuilder().file("index.json").file("./index.json").end().bytes(), "twice"},
        WrongArchive{"up", TarBuilder().file("../index.json").end().bytes(), ".."},
        WrongArchive{"link_out", TarBuilder().symlink("a/b", "../../etc/x").end().bytes(),
                     "link out of the archive"},
        WrongArchive{"link_absolute", TarBuilder().symlink("a", "/etc/passwd").end().bytes(),
                     "link out of the archive"},
        WrongArchive{"link_up_later", TarBuilder().symlink("a/b", "c/../../x").end().bytes(),
                     "link out of the archive"},
        WrongArchive{"fifo", TarBuilder().add({.name = "f", .type = '6'}).end().bytes(),
                     "no file that an image may have"},
        WrongArchive{"device", TarBuilder().add({.name = "d", .type = '3'}).end().bytes(),
                     "device"}),
    [](const auto& info) { return info.param.name; });

TEST(OciArchive, LinksLeadOneStepOnly) {
  const std::string tar = TarBuilder()
                              .symlink("a", "b")
                              .symlink("b", "c")
                              .symlink("self", "self")
                              .file("c", "x")
                              .end()
                              .bytes();
  const auto blobs = index_oci_archive([&](uint64_t offset) -> Result<ByteStream> {
    return stream_of(as_bytes(tar).subspan(offset));
  });
  ASSERT_TRUE(blobs);
  EXPECT_EQ((*blobs)->size("a").value(), std::nullopt);
  EXPECT_EQ((*blobs)->size("b").value(), 1u);
  EXPECT_EQ((*blobs)->size("self").value(), std::nullopt);
}

}  // namespace
}  // namespace forerun::image
