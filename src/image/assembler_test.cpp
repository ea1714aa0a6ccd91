#include "image/assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/boot_prior.h"
#include "image/certificate_fixture.h"
#include "image/disk_reader.h"
#include "image/ext4.h"
#include "image/path_finder.h"
#include "image/stored_components.h"
#include "image/trusted_store.h"
#include "repository/fetch.h"
#include "repository/layered_store.h"

namespace forerun::image {
namespace {

using repository::kChunkSize;
using repository::MemoryStore;
using testing::HasSubstr;

// The composed disk, through the store alone.
class StoredDisk final : public DiskReader {
 public:
  StoredDisk(MemoryStore& store, const Composition& composition)
      : store_(store), composition_(composition) {
    for (const CompositionPart& part : composition.parts) {
      parts_.push_back(part.kind == CompositionPart::Kind::kIndex
                           ? repository::fetch_index(store, part.digest).value()
                           : fetch_component_index(store, part.digest).value().data);
    }
  }
  uint64_t size_bytes() const override { return composition_.size_bytes; }
  bool known_zero(ByteRange) override { return false; }
  Status read(uint64_t offset, MutableByteView out) override {
    std::fill(out.begin(), out.end(), std::byte{0});
    for (const CompositionExtent& extent : composition_.extents) {
      ByteRange left = intersect(extent.range, {offset, out.size()});
      while (!left.empty()) {
        const uint64_t at = extent.part_offset + (left.offset - extent.range.offset);
        const auto& ref = parts_[extent.part].chunks.at(at / kChunkSize);
        const uint64_t count = std::min(left.length, kChunkSize - at % kChunkSize);
        if (!ref.is_zero()) {
          FR_TRY(const auto chunk, repository::fetch_chunk(store_, ref));
          std::copy_n(chunk->content.begin() + static_cast<ptrdiff_t>(at % kChunkSize), count,
                      out.begin() + static_cast<ptrdiff_t>(left.offset - offset));
        }
        left = {left.offset + count, left.length - count};
      }
    }
    return {};
  }

 private:
  MemoryStore& store_;
  const Composition& composition_;
  std::vector<repository::ImageIndex> parts_;
};

struct AssemblerTest : testing::Test {
  AssemblerTest() {
    add("debian-12", "base",
        {{"/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"},
         {"/etc/group", "root:x:0:\nadm:x:4:\n"},
         {"/etc/shadow", "root:*:19700:0:99999:7:::\n"},
         {"/etc/gshadow", "root:*::\nadm:*::\n"},
         {"/etc/ld.so.cache", "cache"},
         {"/var/lib/dpkg/status", "Package: libc6\nVersion: 1\n\n"}});
    add_service("redis", 101, 106);
    add_service("memcached", 101, 106);
  }

  void add_service(const std::string& name, uint32_t uid, uint32_t gid) {
    add(name, "service",
        {{"/etc/passwd", fmt::format("root:x:0:0:root:/root:/bin/bash\n{}:x:{}:{}::/:/bin/false\n",
                                     name, uid, gid)},
         {"/etc/group", fmt::format("root:x:0:\nadm:x:4:\n{}:x:{}:\n", name, gid)},
         {"/etc/shadow", fmt::format("root:*:19700:0:99999:7:::\n{}:!:19700::::::\n", name)},
         {"/etc/gshadow", fmt::format("root:*::\nadm:*::\n{}:!::\n", name)},
         {"/var/lib/dpkg/status",
          fmt::format("Package: libc6\nVersion: 1\n\nPackage: {}\nVersion: 2\n\n", name)},
         {"/usr/bin/" + name, std::string(100'000, name[0])},
         {fmt::format("/usr/lib/systemd/system/{}.service", name),
          "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n"},
         {"/var/lib/" + name + "/data", "data", uid, gid}});
  }

  void add(const std::string& name, const std::string& function,
           const std::vector<StoredEntry>& entries, std::vector<std::string> depends = {}) {
    put_component(store, {.name = name, .function = function, .depends = std::move(depends)},
                  entries);
  }

  Result<AssembledImage> assemble_text(std::string_view text) {
    FR_TRY(const Manifest manifest, parse_manifest(text, "m.toml"));
    return assemble(manifest, store, {.image_name = "web", .created = "2026-11-21T02:40:00Z"});
  }

  // Returns a file's content on the composed disk; "?" and why if there is none.
  std::string text_on(const AssembledImage& image, const char* path) {
    StoredDisk disk(store, image.composition);
    const auto files = open_ext4(disk, {0, disk.size_bytes()});
    if (!files) return "?" + files.error().message;
    const auto found = PathFinder(**files).find(path);
    if (!found) return "?" + found.error().message;
    return std::string(as_text((*files)->read(found->file, 0, kMiB).value()));
  }

  // Returns the low half of a file's owner on the composed disk; -1 if there is none.
  int owner_on(const AssembledImage& image, const char* path) {
    StoredDisk disk(store, image.composition);
    const auto files = open_ext4(disk, {0, disk.size_bytes()}).value();
    const auto found = PathFinder(*files).find(path);
    if (!found) return -1;
    Buffer uid(2);
    disk.read(files->record_range(found->file).value().offset + 2, uid).value();
    return std::to_integer<int>(uid[0]) | std::to_integer<int>(uid[1]) << 8;
  }

  MemoryStore store;
};

constexpr std::string_view kBoth = R"(
version = 1
base = "debian-12"
components = ["redis", "memcached"]
writable_bytes = 16777216
hostname = "web-1"
enable = ["redis.service"]
mask = ["memcached.service"]
[network]
[[user]]
name = "ada"
groups = ["adm"]
ssh_keys = ["ssh-ed25519 AAAA ada"]
[[file]]
path = "/var/lib/redis/extra"
content = "mine"
owner = "redis"
group = "redis"
)";

TEST_F(AssemblerTest, ComponentsBuiltApartBecomeOneSystem) {
  const auto image = assemble_text(kBoth);
  ASSERT_TRUE(image) << image.error().message;
  StoredDisk disk(store, image->composition);
  const auto files = open_ext4(disk, {0, disk.size_bytes()});
  ASSERT_TRUE(files) << files.error().message;
  PathFinder finder(**files);
  const auto text = [&](const char* path) {
    const auto found = finder.find(path);
    if (!found) return "?" + found.error().message;
    return std::string(as_text((*files)->read(found->file, 0, kMiB).value()));
  };
  EXPECT_THAT(text("/etc/passwd"), HasSubstr("redis:x:101:106:"));
  EXPECT_THAT(text("/etc/passwd"), HasSubstr("memcached:x:100:100:"));
  EXPECT_THAT(text("/etc/passwd"), HasSubstr("ada:x:1000:1000::/home/ada:/bin/bash"));
  EXPECT_THAT(text("/etc/group"), HasSubstr("adm:x:4:ada\n"));
  EXPECT_THAT(text("/var/lib/dpkg/status"), HasSubstr("Package: redis"));
  EXPECT_THAT(text("/var/lib/dpkg/status"), HasSubstr("Package: memcached"));
  EXPECT_EQ(text("/usr/bin/memcached"), std::string(100'000, 'm'));
  EXPECT_EQ(text("/etc/hostname"), "web-1\n");
  EXPECT_EQ(text("/home/ada/.ssh/authorized_keys"), "ssh-ed25519 AAAA ada\n");
  EXPECT_THAT(text("/etc/systemd/network/10-forerun.network"), HasSubstr("DHCP=yes"));
  EXPECT_THAT(text("/etc/systemd/system/multi-user.target.wants/redis.service"),
              HasSubstr("ExecStart=/x"));
  EXPECT_FALSE(finder.find("/etc/ld.so.cache"));
}

TEST_F(AssemblerTest, SameManifestSameImage) {
  const auto first = assemble_text(kBoth);
  const auto objects = store.objects();
  const auto second = assemble_text(kBoth);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->tag, second->tag);
  EXPECT_EQ(store.objects(), objects);
}

TEST_F(AssemblerTest, WhatWasComposedBeforeIsFoundAgain) {
  const auto first = assemble_text(kBoth);
  const auto second = assemble_text(std::string(kBoth) + "# a comment\n");
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(first->is_reused);
  EXPECT_TRUE(second->is_reused);
  add_service("redis", 150, 150);  // another component of that name
  const auto third = assemble_text(kBoth);
  ASSERT_TRUE(third);
  EXPECT_FALSE(third->is_reused);
  EXPECT_NE(third->tag.index, first->tag.index);
}

TEST_F(AssemblerTest, ANoteThatLeadsNowhereIsNoNote) {
  const auto first = assemble_text(kBoth);
  ASSERT_TRUE(first);
  store.spoil(composition_path(first->tag.index), Buffer(10));
  const auto second = assemble_text(kBoth);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->is_reused);
  EXPECT_EQ(second->tag, first->tag);
}

TEST_F(AssemblerTest, TakesOnlyComponentsWhoseTagsAreTrusted) {
  const auto key = *repository::parse_private_key(std::string(64, '1'));
  TrustedStore trusted(store, {.trusted = {*repository::public_key_of(key)}}, key);
  const auto compose = [&](const Manifest& manifest) {
    return assemble(manifest, trusted, {.image_name = "web", .created = "2026-11-21T02:40:00Z"});
  };
  const auto manifest = parse_manifest(kBoth, "m.toml");
  const auto refused = compose(*manifest);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kDenied);
  EXPECT_THAT(refused.error().message, HasSubstr("component debian-12"));

  for (const char* name : {"debian-12", "redis"}) {
    const std::string path = component_tag_path(name);
    ASSERT_TRUE(trusted.put(path, *store.fetch(path, 4096)));
  }
  const auto one_left = compose(*manifest);
  ASSERT_FALSE(one_left);
  EXPECT_THAT(one_left.error().message, HasSubstr("component memcached"));

  Manifest pinned = *manifest;  // a digest needs nobody's word
  for (ComponentWish& wish : pinned.components)
    wish.digest = fetch_component_tag(store, wish.name)->index;
  EXPECT_TRUE(compose(pinned));
}

TEST_F(AssemblerTest, DataIsNotCopied) {
  const auto image = assemble_text(kBoth);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->statistics.copied_bytes, 0u);
  EXPECT_LT(image->statistics.metadata_bytes, 512 * kKiB);
}

TEST_F(AssemblerTest, FarFromItsDataABootIsForeseenByWhatOthersForesaw) {
  add("init", "service", {{"/sbin/init", std::string(200'000, 'i')}});
  constexpr std::string_view kFirst =
      "version = 1\nbase = \"debian-12\"\ncomponents = [\"init\"]\nwritable_bytes = 16777216\n";
  const auto first = assemble_text(kFirst);
  ASSERT_TRUE(first && first->prior_block_count > 0);

  MemoryStore front;
  repository::LayeredStore layered(front, {&store});
  const Manifest other =
      parse_manifest(std::string(kFirst) + "hostname = \"other\"\n", "m.toml").value();
  const auto second =
      assemble(other, layered, {.image_name = "far", .created = "2026-11-21T02:40:00Z"});
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_NE(second->tag.index, first->tag.index);
  // Of init, by its own prior: the third part, behind metadata and base.
  const auto prior = fetch_prior(front, part_prior_path(second->tag.index, 2));
  ASSERT_TRUE(prior) << prior.error().message;
  EXPECT_GT((*prior)->entries.size(), 0u);
  // Of the metadata nothing is foreseen from here, but what it means is known.
  const auto of_metadata = fetch_prior(front, part_prior_path(second->tag.index, 0));
  ASSERT_TRUE(of_metadata) << of_metadata.error().message;
  EXPECT_TRUE((*of_metadata)->entries.empty());
  EXPECT_FALSE((*of_metadata)->meanings.empty());
  const auto init = fetch_component_index(store, second->composition.parts[2].digest).value();
  for (const auto& ref : init.data.chunks)
    EXPECT_FALSE(front.contains(repository::chunk_path(ref.id)));
}

TEST_F(AssemblerTest, AFirstBootForeseenLaterIsForeseenTheSame) {
  add("init", "service", {{"/sbin/init", std::string(200'000, 'i')}});
  const Manifest manifest =
      parse_manifest(
          "version=1\nbase=\"debian-12\"\ncomponents=[\"init\"]\nwritable_bytes=16777216", "m.toml")
          .value();
  AssembleOptions options{.image_name = "web", .created = "2026-11-21T02:40:00Z"};
  options.foresees = AssembleOptions::Foresees::kLater;
  const auto image = assemble(manifest, store, options);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->prior_block_count, 0u);
  EXPECT_FALSE(store.contains(part_prior_path(image->tag.index, 2)));
  ASSERT_NE(image->first_boot, nullptr);
  EXPECT_EQ(image->first_boot->image(), image->tag.index);
  const size_t foreseen = image->first_boot->foresee(store).value();
  const Buffer prior = store.fetch(part_prior_path(image->tag.index, 2), kMiB).value();

  for (const std::string& path :
       {composed_path(image->composition.manifest), part_prior_path(image->tag.index, 2)})
    ASSERT_TRUE(store.remove(path, store.now().value()));
  options.foresees = AssembleOptions::Foresees::kNow;
  const auto at_once = assemble(manifest, store, options);
  ASSERT_TRUE(at_once) << at_once.error().message;
  EXPECT_EQ(at_once->tag.index, image->tag.index);
  EXPECT_EQ(at_once->prior_block_count, foreseen);
  EXPECT_EQ(store.fetch(part_prior_path(image->tag.index, 2), kMiB).value(), prior);
}

// Where the records of files stand that no boot graph knows, ones that a boot reads stand too.
TEST_F(AssemblerTest, RecordsBetweenThoseOfTheBootAreForeseenFaintly) {
  std::vector<StoredEntry> files{{"/sbin/init", std::string(200'000, 'i')}};
  for (int i = 0; i < 2000; ++i) files.push_back({fmt::format("/data/{}", i), "x"});
  add("many", "service", files);
  const auto image = assemble_text(
      "version=1\nbase=\"debian-12\"\ncomponents=[\"many\"]\nwritable_bytes=16777216");
  ASSERT_TRUE(image) << image.error().message;
  const auto prior = fetch_prior(store, part_prior_path(image->tag.index, 0));
  ASSERT_TRUE(prior) << prior.error().message;
  const auto faint =
      std::count_if((*prior)->entries.begin(), (*prior)->entries.end(),
                    [](const auto& entry) { return std::abs(entry.support - 0.35f) < 0.01f; });
  EXPECT_GE(faint, 4);  // of 8 chunks of records
}

TEST_F(AssemblerTest, AUnitMayBeAFileOfTheManifest) {
  const auto image = assemble_text(
      "version=1\nbase=\"debian-12\"\nwritable_bytes=16777216\nenable=[\"own.service\"]\n"
      "[[file]]\npath=\"/etc/systemd/system/own.service\"\n"
      "content=\"[Install]\\nWantedBy=multi-user.target\\n\"");
  ASSERT_TRUE(image) << image.error().message;
  StoredDisk disk(store, image->composition);
  const auto files = open_ext4(disk, {0, disk.size_bytes()}).value();
  EXPECT_TRUE(PathFinder(*files).find("/etc/systemd/system/multi-user.target.wants/own.service"));
}

TEST_F(AssemblerTest, SaysWhatIsMissing) {
  EXPECT_THAT(assemble_text("version=1\nbase=\"debian-13\"").error().message,
              HasSubstr("component debian-13"));
  add("app", "service", {{"/x", "x"}}, {"python"});
  EXPECT_THAT(assemble_text("version=1\nbase=\"debian-12\"\ncomponents=[\"app\"]").error().message,
              HasSubstr("app needs python, which the repository does not have"));
  EXPECT_THAT(
      assemble_text("version=1\nbase=\"debian-12\"\nenable=[\"x.service\"]").error().message,
      HasSubstr("neither a component nor a file of the manifest is the unit x.service"));
  EXPECT_THAT(assemble_text("version=1\nbase=\"debian-12\"\n[[user]]\nname=\"a\"\ngroups=[\"g\"]")
                  .error()
                  .message,
              HasSubstr("no component brings the group 'g'"));
}

TEST_F(AssemblerTest, WhatIsNeededIsAddedAndCounts) {
  add("app", "service", {{"/x", "x"}}, {"debian-12", "redis"});
  constexpr std::string_view kApp = "version=1\nbase=\"debian-12\"\ncomponents=[\"app\"]";
  const auto first = assemble_text(kApp);
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_EQ(first->composition.parts.size(), 4u);
  EXPECT_EQ(first->composition.parts[2].name, "redis");
  EXPECT_EQ(first->composition.parts[3].name, "app");
  const auto named = assemble_text("version=1\nbase=\"debian-12\"\ncomponents=[\"redis\",\"app\"]");
  ASSERT_TRUE(named);
  EXPECT_EQ(named->tag.index, first->tag.index);
  EXPECT_TRUE(named->is_reused);
  add_service("redis", 150, 150);  // what is needed is another now
  const auto third = assemble_text(kApp);
  ASSERT_TRUE(third);
  EXPECT_NE(third->tag.index, first->tag.index);
}

TEST_F(AssemblerTest, WhatItDependsOnAComponentMayReplace) {
  add("app", "service", {{"/usr/bin/redis", "patched"}}, {"redis"});
  EXPECT_TRUE(assemble_text("version=1\nbase=\"debian-12\"\ncomponents=[\"app\"]"));
  add("app", "service", {{"/usr/bin/redis", "patched"}});
  EXPECT_FALSE(assemble_text("version=1\nbase=\"debian-12\"\ncomponents=[\"redis\",\"app\"]"));
}

TEST_F(AssemblerTest, TrustsTheAuthoritiesOfTheManifest) {
  add("ca", "service",
      {{"/etc/ssl/certs/ca-certificates.crt", "others\n"},
       {fmt::format("/etc/ssl/certs/{}.0", kTestCertificateHash), "x"}});
  const auto image =
      assemble_text(fmt::format("version=1\nbase=\"debian-12\"\ncomponents=[\"ca\"]\n"
                                "ca_certificates=[\"\"\"{}\"\"\"]\n",
                                kTestCertificate));
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(text_on(*image, "/etc/ssl/certs/ca-certificates.crt"),
            fmt::format("others\n{}", kTestCertificate));
  const std::string by_hash = fmt::format("/etc/ssl/certs/{}.1", kTestCertificateHash);
  EXPECT_EQ(text_on(*image, by_hash.c_str()), kTestCertificate);
}

TEST_F(AssemblerTest, GrowingNeedsWhatGrows) {
  const std::string manifest = "version=1\nbase=\"debian-12\"\ngrow=true\ncomponents=";
  EXPECT_THAT(assemble_text(manifest + "[]").error().message, HasSubstr("to grow needs"));
  add("systemd", "service", {{"/usr/lib/systemd/systemd-growfs", "#!"}});
  const auto image = assemble_text(manifest + "[\"systemd\"]");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_THAT(text_on(*image, "/etc/systemd/system/local-fs.target.wants/forerun-grow.service"),
              HasSubstr("ExecStart=/usr/lib/systemd/systemd-growfs /\n"));
}

TEST_F(AssemblerTest, ConflictsNameBothSidesUnlessRanked) {
  add("one", "service", {{"/etc/same", "1"}});
  add("two", "service", {{"/etc/same", "2"}});
  const std::string manifest = "version=1\nbase=\"debian-12\"\ncomponents=[\"one\",\"two\"]\n";
  const auto image = assemble_text(manifest);
  ASSERT_FALSE(image);
  EXPECT_THAT(image.error().message, HasSubstr("/etc/same"));
  EXPECT_THAT(image.error().message, HasSubstr("one"));
  EXPECT_THAT(image.error().message, HasSubstr("two"));
  EXPECT_TRUE(assemble_text(manifest + "rank=[\"/etc/same\"]\n"));
}

TEST_F(AssemblerTest, AComponentMayReplaceWhatItDependsOn) {
  const std::string passwd = "root:x:0:0:root:/root:/bin/bash\nredis:x:101:106::/:/bin/false\n";
  add("layer-1", "oci-layer", {{"/etc/same", "1"}}, {"debian-12"});
  add("layer-2", "oci-layer", {{"/etc/other", "2"}}, {"layer-1"});
  add("layer-3", "oci-layer",
      {{"/etc/same", "3"},
       {"/var/lib/dpkg/status", "Package: libc6\nVersion: 2\n\n"},
       {"/etc/passwd", passwd + "app:x:102:106::/:/bin/sh\n"}},
      {"layer-2"});
  add("beside", "service", {{"/etc/same", "1"}, {"/etc/beside", "b"}}, {});
  const std::string base = "version=1\nbase=\"debian-12\"\nwritable_bytes=16777216\n";
  const auto image = assemble_text(base + "components=[\"layer-1\",\"layer-2\",\"layer-3\"]\n");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(text_on(*image, "/etc/same"), "3");
  EXPECT_EQ(text_on(*image, "/etc/other"), "2");
  // Whatever the manifest's order: each stands behind what it depends on.
  const auto again = assemble_text(base + "components=[\"layer-3\",\"layer-2\",\"layer-1\"]\n");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->tag.index, image->tag.index);
  EXPECT_FALSE(
      assemble_text(base + "components=[\"layer-1\",\"layer-2\",\"layer-3\",\"beside\"]\n"));
}

TEST_F(AssemblerTest, MergedFilesOfLowerLayersAreNotMergedAgain) {
  const std::string root = "root:x:0:0:root:/root:/bin/bash\n";
  add("lower", "oci-layer",
      {{"/etc/passwd", root + "app:x:101:106::/:/bin/false\n"},
       {"/var/lib/dpkg/status", "Package: libc6\nVersion: 2\n\nPackage: gone\n\n"},
       {"/srv/lower", "l", 101, 106}},
      {"debian-12"});
  add("upper", "oci-layer",
      {{"/etc/passwd", root + "app:x:101:106::/:/bin/sh\n"},
       {"/var/lib/dpkg/status", "Package: libc6\nVersion: 3\n\n"}},
      {"lower"});
  add("config", "config", {{"/srv/config", "c", 101, 106}}, {"upper"});
  const auto image = assemble_text(
      "version=1\nbase=\"debian-12\"\nwritable_bytes=16777216\n"
      "components=[\"redis\",\"lower\",\"upper\",\"config\"]\n"
      "rank=[\"/var/lib/dpkg/status\"]\n");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_THAT(text_on(*image, "/etc/passwd"), HasSubstr("app:x:100:106::/:/bin/sh\n"));
  EXPECT_EQ(text_on(*image, "/var/lib/dpkg/status"),
            "Package: libc6\nVersion: 3\n\nPackage: redis\nVersion: 2\n\n");
  // Owners follow in all of them: redis has taken the id.
  EXPECT_EQ(owner_on(*image, "/srv/lower"), 100);
  EXPECT_EQ(owner_on(*image, "/srv/config"), 100);
}

TEST_F(AssemblerTest, ImportedPackagesAreInTheDatabase) {
  const auto record = [](std::string_view name, std::string_view version) {
    return fmt::format("Package: {}\nStatus: install ok installed\nVersion: {}\n", name, version);
  };
  add("tool", "package", {{"/var/lib/dpkg/status.d/tool", record("tool", "1")}});
  add("libc-new", "package", {{"/var/lib/dpkg/status.d/libc6", record("libc6", "2")}});
  add("tool-new", "package", {{"/var/lib/dpkg/status.d/tool", record("tool", "2")}}, {"tool"});
  add("tool-else", "package", {{"/var/lib/dpkg/status.d/tool", record("tool", "3")}});
  const std::string base = "version=1\nbase=\"debian-12\"\nwritable_bytes=16777216\n";
  const auto image =
      assemble_text(base + "components=[\"redis\",\"tool\",\"libc-new\",\"tool-new\"]\n");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(text_on(*image, "/var/lib/dpkg/status"),
            record("libc6", "2") + "\nPackage: redis\nVersion: 2\n\n" + record("tool", "2") + "\n");
  EXPECT_THAT(text_on(*image, "/var/lib/dpkg/status.d/tool"), HasSubstr("?"));
  const auto apart =
      assemble_text(base + "components=[\"tool\",\"tool-else\"]\nrank=[\"/var/\"]\n");
  ASSERT_FALSE(apart);
  EXPECT_THAT(apart.error().message, HasSubstr("tool and tool-else differ on 'Package: tool'"));
}

TEST_F(AssemblerTest, PackagesWithoutADatabaseKeepTheirRecords) {
  add("bare", "base", {{"/etc/x", "x"}});
  add("tool", "package", {{"/var/lib/dpkg/status.d/tool", "Package: tool\n"}});
  const auto image =
      assemble_text("version=1\nbase=\"bare\"\ncomponents=[\"tool\"]\nwritable_bytes=16777216\n");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(text_on(*image, "/var/lib/dpkg/status.d/tool"), "Package: tool\n");
}

}  // namespace
}  // namespace forerun::image
