#include "image/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::image {
namespace {

using testing::HasSubstr;

constexpr std::string_view kWhole = R"(
version = 1
base = "debian-12"
components = ["nginx@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "redis"]
rank = ["/etc/motd", "/usr/share/doc/"]
writable_bytes = 1073741824
hostname = "web-1"
enable = ["nginx.service"]
mask = ["apt-daily.timer"]

[network]
address = "10.0.2.15/24"
gateway = "10.0.2.2"
dns = ["10.0.2.3"]

[[user]]
name = "ada"
groups = ["adm", "sudo"]
ssh_keys = ["ssh-ed25519 AAAA ada"]

[[file]]
path = "/etc/motd"
content = "one\n\"two\"\t\\\u0001"
mode = 0o600
)";

std::string error_of(std::string_view text) {
  const auto manifest = parse_manifest(text, "web.toml");
  return manifest ? "" : manifest.error().message;
}

std::string with(std::string_view line) {
  return fmt::format("version = 1\nbase = \"b\"\n{}\n", line);
}

TEST(Manifest, ReadsEveryField) {
  const auto manifest = parse_manifest(kWhole, "web.toml");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->base.name, "debian-12");
  EXPECT_EQ(manifest->components[0].digest->hex(), std::string(64, 'a'));
  EXPECT_FALSE(manifest->components[1].digest);
  EXPECT_EQ(manifest->writable_bytes, 1u << 30);
  EXPECT_EQ(manifest->network->match, "e*");
  EXPECT_EQ(manifest->users[0].groups[1], "sudo");
  EXPECT_EQ(manifest->files[0].content, "one\n\"two\"\t\\\x01");
  EXPECT_EQ(manifest->files[0].mode, 0600);
}

TEST(Manifest, CanonicalFormSaysTheSame) {
  const auto manifest = parse_manifest(kWhole, "web.toml");
  ASSERT_TRUE(manifest);
  const auto again = parse_manifest(canonical_text(*manifest), "canonical");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *manifest);
  EXPECT_EQ(digest_of(*again), digest_of(*manifest));
}

TEST(Manifest, DigestSeesEveryChangeAndNoOther) {
  const auto digest = [](std::string_view text) {
    return digest_of(parse_manifest(text, "x").value());
  };
  EXPECT_EQ(digest("version = 1\nbase = \"b\"\n"), digest("# why\nbase='b'\n\nversion=1"));
  EXPECT_NE(digest(with("")), digest(with("hostname = \"a\"")));
  EXPECT_NE(digest(with("components = [\"a\", \"b\"]")),
            digest(with("components = [\"b\", \"a\"]")));
}

TEST(Manifest, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(error_of("base = \"b\"\n"), HasSubstr("version = 1 is missing"));
  EXPECT_THAT(error_of("version = 2\nbase = \"b\"\n"), HasSubstr("version 2 is not known"));
  EXPECT_THAT(error_of("version = 1\n"), HasSubstr("base is missing"));
  EXPECT_THAT(error_of("version = \n"), HasSubstr("web.toml:1"));
  EXPECT_THAT(error_of(with("colour = 1")), HasSubstr("web.toml:3: 'colour' is unknown"));
  EXPECT_THAT(error_of(with("components = [\"../x\"]")), HasSubstr("NAME or NAME@DIGEST"));
  EXPECT_THAT(error_of(with("components = [\"x@12\"]")), HasSubstr("NAME or NAME@DIGEST"));
  EXPECT_THAT(error_of(with("components = [\"x\", \"x\"]")), HasSubstr("'x' is given twice"));
  EXPECT_THAT(error_of(with("enable = [\"../x.service\"]")), HasSubstr("a unit's name"));
  EXPECT_THAT(error_of(with("hostname = \"a b\"")), HasSubstr("a host's name"));
  EXPECT_THAT(error_of(with("writable_bytes = -1")), HasSubstr("whole number"));
  EXPECT_THAT(error_of(with("[[user]]\nname = \"a:b\"")), HasSubstr("a user's name"));
  EXPECT_THAT(error_of(with("[network]\ngateway = \"1\\n[Match]\"")), HasSubstr("an address"));
}

TEST(Manifest, JsonSaysTheSame) {
  const auto manifest = parse_manifest(R"({"version": 1, "base": "debian-12",
    "components": ["nginx@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                   "redis"],
    "rank": ["/etc/motd", "/usr/share/doc/"], "writable_bytes": 1073741824, "hostname": "web-1",
    "enable": ["nginx.service"], "mask": ["apt-daily.timer"],
    "network": {"address": "10.0.2.15/24", "gateway": "10.0.2.2", "dns": ["10.0.2.3"]},
    "user": [{"name": "ada", "groups": ["adm", "sudo"], "ssh_keys": ["ssh-ed25519 AAAA ada"]}],
    "file": [{"path": "/etc/motd", "content": "one\n\"two\"\t\\\u0001", "mode": 384}]})",
                                       "web.json");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(*manifest, parse_manifest(kWhole, "web.toml").value());
}

TEST(Manifest, JsonErrorsHaveTheirLine) {
  const auto error = [](std::string_view text) {
    const auto manifest = parse_manifest(text, "web.json");
    return manifest ? "" : manifest.error().message;
  };
  EXPECT_THAT(error("\n{\"version\": 1,\n \"colour\": 2}"),
              HasSubstr("web.json:3: 'colour' is unknown"));
  EXPECT_THAT(error("{\"version\": 1,\n\n\"version\": 1}"),
              HasSubstr("web.json:3: 'version' is given twice"));
  EXPECT_THAT(error("{\"version\": 1,\n}"), HasSubstr("web.json:2: "));
  EXPECT_THAT(error("{\"version\": 1}\n{}"), HasSubstr("web.json:2: extra data"));
  EXPECT_THAT(error("{\"version\": 1"), HasSubstr("web.json:1: incomplete"));
  std::string many = "{\"version\": 1";
  for (int i = 0; i < 64; ++i) many += fmt::format(", \"f{}\": 1", i);
  EXPECT_THAT(error(many + "}"), HasSubstr("web.json:1: over 64 fields"));
  EXPECT_THAT(error("{\"base\": null}"), HasSubstr("NAME or NAME@DIGEST"));
  EXPECT_THAT(error("{\"version\": 1.5}"), HasSubstr("whole number"));
  EXPECT_THAT(error(std::string(10'000, '{')), HasSubstr("web.json:1: "));
  EXPECT_THAT(error("{\"version\":1,\"base\":" + std::string(1000, '[')), HasSubstr("deep"));
}

TEST(Manifest, GrowthIsPartOfTheIdentity) {
  const auto grows = parse_manifest(with("grow = true"), "x");
  ASSERT_TRUE(grows);
  EXPECT_TRUE(grows->grow);
  EXPECT_EQ(parse_manifest(canonical_text(*grows), "y").value(), *grows);
  EXPECT_NE(digest_of(*grows), digest_of(*parse_manifest(with("grow = false"), "x")));
}

TEST(Manifest, AnotherBaseIsAllowedByName) {
  EXPECT_TRUE(parse_manifest(with("allow_other_base = true"), "x")->allow_other_base);
  EXPECT_THAT(error_of(with("allow_other_base = 1")), HasSubstr("true or false"));
  EXPECT_NE(digest_of(*parse_manifest(with("allow_other_base = true"), "x")),
            digest_of(*parse_manifest(with("allow_other_base = false"), "x")));
}

TEST(Manifest, RefusesPathsThatLeadElsewhere) {
  for (const char* path :
       {"etc/motd", "/", "/etc/../x", "/etc/./x", "/etc//x", "/etc/", "/a\\nb"}) {
    const std::string text = with(fmt::format("[[file]]\npath = \"{}\"", path));
    EXPECT_NE(error_of(text), "") << path;
  }
  EXPECT_EQ(error_of(with("[[file]]\npath = \"/etc/.x..\"")), "");
}

TEST(Manifest, SpoiledTextNeverCrashes) {
  Rng rng(5);
  for (int round = 0; round < 1000; ++round) {
    std::string text(kWhole);
    for (int i = 0; i < 3; ++i) text[rng.below(text.size())] = static_cast<char>(rng.below(256));
    if (const auto manifest = parse_manifest(text, "x")) {
      EXPECT_TRUE(parse_manifest(canonical_text(*manifest), "y"));
    }
  }
}

TEST(Manifest, SpoiledJsonNeverCrashes) {
  constexpr std::string_view kJson =
      R"({"version":1,"base":"b","file":[{"path":"/a","content":"\u00e9\ud83d\ude00"}]})";
  Rng rng(6);
  for (int round = 0; round < 1000; ++round) {
    std::string text(kJson);
    for (int i = 0; i < 3; ++i) text[rng.below(text.size())] = static_cast<char>(rng.below(256));
    if (const auto manifest = parse_manifest(text, "x")) {
      EXPECT_TRUE(parse_manifest(canonical_text(*manifest), "y"));
    }
  }
}

}  // namespace
}  // namespace forerun::image
