#include "image/merge_by_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/stored_components.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr InodeKind kLink = InodeKind::kSymlink;

// Counts what is asked of a store.
class CountingSource final : public repository::Source {
 public:
  explicit CountingSource(repository::Source& source) : source_(source) {}
  Result<Buffer> fetch(const std::string& path, size_t size_max) override {
    ++fetches;
    return source_.fetch(path, size_max);
  }
  Result<std::vector<std::string>> list_images() override { return source_.list_images(); }
  std::string_view name() const override { return source_.name(); }

  size_t fetches = 0;

 private:
  repository::Source& source_;
};

struct MergeByKindTest : testing::Test {
  void add(const std::string& name, const std::vector<StoredEntry>& entries) {
    put_component(store, {.name = name}, entries);
    const auto tag = fetch_component_tag(store, name);
    indexes.push_back(fetch_component_index(store, tag->index).value());
  }

  // Returns what was made in the place of the components' files; a link as "-> target", a removal
  // as "-".
  std::map<std::string, std::string> merge() {
    CountingSource source(store);
    FetchedChunks chunks(source);
    std::vector<ComponentFiles> files;
    for (const ComponentIndex& index : indexes) files.emplace_back(index, chunks);
    chunks.fetch(chunks_to_merge(files), [](size_t count, const auto& body) {
      for (size_t i = 0; i < count; ++i) body(i);
    });
    const size_t ahead = source.fetches;
    const auto merged = merge_by_kind(files);
    EXPECT_EQ(source.fetches, ahead) << "something was not known to be needed";
    if (!merged) return {{"error", merged.error().message}};
    std::map<std::string, std::string> made;
    for (const GeneratedFile& file : merged->generated) {
      made[file.path] = file.inode.kind == kLink ? "-> " + file.inode.target
                        : file.inode.kind == InodeKind::kWhiteout
                            ? "-"
                            : std::string(as_text(file.content));
    }
    return made;
  }

  repository::MemoryStore store;
  std::deque<ComponentIndex> indexes;
};

std::string pager(const std::string& more) {
  return "auto\n/usr/bin/pager\npager.1.gz\n/usr/share/man/man1/pager.1.gz\n\n"
         "/bin/more\n50\n/usr/share/man/man1/more.1.gz\n" +
         more + "\n";
}

void add_pager_base(MergeByKindTest& test) {
  test.add("base",
           {{"/bin", "usr/bin", 0, 0, 0777, kLink},
            {"/usr/bin/more", ""},
            {"/usr/share/man/man1/more.1.gz", ""},
            {"/var/lib/dpkg/alternatives/pager", pager("")},
            {"/usr/bin/pager", "/etc/alternatives/pager", 0, 0, 0777, kLink},
            {"/usr/share/man/man1/pager.1.gz", "/etc/alternatives/pager.1.gz", 0, 0, 0777, kLink},
            {"/etc/alternatives/pager", "/bin/more", 0, 0, 0777, kLink},
            {"/etc/alternatives/pager.1.gz", "/usr/share/man/man1/more.1.gz", 0, 0, 0777, kLink}});
}

void add_pager(MergeByKindTest& test, const std::string& name, int priority, bool has_manual) {
  const std::string manual = "/usr/share/man/man1/" + name + ".1.gz";
  std::vector<StoredEntry> entries{
      {"/usr/bin/" + name, name},
      {"/var/lib/dpkg/alternatives/pager",
       pager(fmt::format("/usr/bin/{}\n{}\n{}\n", name, priority, has_manual ? manual : ""))},
      {"/etc/alternatives/pager", "/usr/bin/" + name, 0, 0, 0777, kLink}};
  if (has_manual) entries.push_back({manual, name});
  test.add(name, entries);
}

TEST_F(MergeByKindTest, AlternativesLeadToTheBest) {
  add_pager_base(*this);
  add_pager(*this, "less", 77, true);
  add_pager(*this, "most", 60, true);
  const auto made = merge();
  EXPECT_EQ(made.at("/etc/alternatives/pager"), "-> /usr/bin/less");
  EXPECT_EQ(made.at("/etc/alternatives/pager.1.gz"), "-> /usr/share/man/man1/less.1.gz");
  EXPECT_EQ(made.at("/usr/bin/pager"), "-> /etc/alternatives/pager");
  EXPECT_EQ(made.at("/usr/share/man/man1/pager.1.gz"), "-> /etc/alternatives/pager.1.gz");
  EXPECT_THAT(made.at("/var/lib/dpkg/alternatives/pager"), HasSubstr("/usr/bin/most\n60\n"));
}

TEST_F(MergeByKindTest, SlavesThatTheBestLacksGo) {
  add_pager_base(*this);
  add_pager(*this, "most", 60, true);
  add_pager(*this, "less", 77, false);
  const auto made = merge();
  EXPECT_EQ(made.at("/etc/alternatives/pager"), "-> /usr/bin/less");
  EXPECT_EQ(made.at("/etc/alternatives/pager.1.gz"), "-");
  EXPECT_EQ(made.at("/usr/share/man/man1/pager.1.gz"), "-");
}

TEST_F(MergeByKindTest, WhatOneComponentChangesStays) {
  add_pager_base(*this);
  add_pager(*this, "less", 77, true);
  add("other", {{"/etc/shells", "/bin/sh\n"}});
  EXPECT_THAT(merge(), IsEmpty());
}

TEST_F(MergeByKindTest, AlternativesOfWhichNothingCanBeMadeNameTheirComponent) {
  add_pager_base(*this);
  add_pager(*this, "less", 77, true);
  add("odd", {{"/var/lib/dpkg/alternatives/pager", "auto\n"}});
  EXPECT_THAT(merge().at("error"), HasSubstr("odd: /var/lib/dpkg/alternatives/pager: line 2"));
}

TEST_F(MergeByKindTest, HashLinksThatCollideAreNumberedAnew) {
  const auto link = [](const char* name, const char* target) {
    return StoredEntry{std::string("/etc/ssl/certs/") + name, target, 0, 0, 0777, kLink};
  };
  add("base", {link("5ed36f99.0", "Base.pem"), link("11111111.0", "Same.pem")});
  add("one", {link("5ed36f99.1", "One.pem"), link("11111111.0", "Same.pem")});
  add("two", {link("5ed36f99.1", "Aaa.pem"), link("22222222.0", "Two.pem"), link("other.0", "x")});
  EXPECT_THAT(merge(), UnorderedElementsAre(Pair("/etc/ssl/certs/5ed36f99.0", "-> Base.pem"),
                                            Pair("/etc/ssl/certs/5ed36f99.1", "-> Aaa.pem"),
                                            Pair("/etc/ssl/certs/5ed36f99.2", "-> One.pem")));
}

TEST_F(MergeByKindTest, TheBundleHasEveryonesCertificates) {
  const auto block = [](std::string_view data) {
    return fmt::format("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", data);
  };
  const char* kBundle = "/etc/ssl/certs/ca-certificates.crt";
  add("base", {{kBundle, block("A")}, {"/etc/ca-certificates.conf", "a.crt\n"}});
  add("one", {{kBundle, block("A") + block("1")}, {"/etc/ca-certificates.conf", "a.crt\n1.crt\n"}});
  add("two", {{kBundle, block("2")}, {"/etc/ca-certificates.conf", "!a.crt\n"}});
  const auto made = merge();
  EXPECT_EQ(made.at(kBundle), block("1") + block("2"));
  EXPECT_EQ(made.at("/etc/ca-certificates.conf"), "1.crt\n!a.crt\n");
}

TEST_F(MergeByKindTest, EachDatabaseByItsKind) {
  const auto package = [](std::string_view name) { return fmt::format("Package: {}\n\n", name); };
  const char *kStatus = "/var/lib/dpkg/status", *kTriggers = "/var/lib/dpkg/triggers/ldconfig";
  const char *kDebconf = "/var/cache/debconf/config.dat", *kUcf = "/var/lib/ucf/hashfile";
  const char* kHelper = "/var/lib/systemd/deb-systemd-helper-enabled/x.service.dsh-also";
  add("base", {{kStatus, package("libc6")}, {kTriggers, "libc-bin\n"}});
  add("one", {{kStatus, package("libc6") + package("one")},
              {kTriggers, "libc-bin\none\n"},
              {kDebconf, "Name: q\nValue: 1\nOwners: one\n\n"},
              {kUcf, "aa  /etc/1\n"},
              {"/var/lib/ucf/hashfile.0", "old"},
              {kHelper, "/etc/1\n"}});
  add("two", {{kStatus, package("libc6") + package("two")},
              {kTriggers, "libc-bin\ntwo\n"},
              {kDebconf, "Name: q\nValue: 2\nOwners: two\n\n"},
              {kUcf, "bb  /etc/2\n"},
              {kHelper, "/etc/2\n"}});
  EXPECT_THAT(merge(),
              UnorderedElementsAre(
                  Pair(kStatus, package("libc6") + package("one") + package("two")),
                  Pair(kTriggers, "libc-bin\none\ntwo\n"),
                  Pair(kDebconf, "Name: q\nValue: 1\nOwners: one, two\n\n"),
                  Pair(kUcf, "aa  /etc/1\nbb  /etc/2\n"), Pair("/var/lib/ucf/hashfile.0", "-"),
                  Pair(kHelper, "/etc/1\n/etc/2\n")));
}

TEST_F(MergeByKindTest, WhatOneWasAskedToInstallIsNotAutomatic) {
  const auto package = [](std::string_view name) {
    return fmt::format("Package: {}\nArchitecture: amd64\n\n", name);
  };
  const auto mark = [](std::string_view name) {
    return fmt::format("Package: {}\nArchitecture: amd64\nAuto-Installed: 1\n\n", name);
  };
  const char *kStatus = "/var/lib/dpkg/status", *kMarks = "/var/lib/apt/extended_states";
  add("base", {{kStatus, package("libc6")}, {kMarks, mark("libc6")}});
  add("one", {{kStatus, package("libc6") + package("lib") + package("tool") + package("one")},
              {kMarks, mark("libc6") + mark("lib") + mark("tool")}});
  add("two", {{kStatus, package("libc6") + package("tool")}});
  EXPECT_EQ(merge().at(kMarks), mark("libc6") + mark("lib"));
}

TEST_F(MergeByKindTest, WhatAllChangeInOneWayStays) {
  add("base", {{"/etc/shells", "/bin/sh\n"}, {"/var/lib/pam/seen", "unix\n"}});
  add("one", {{"/etc/services", "#\n#\na 1/tcp\n"}, {"/var/lib/pam/seen", "unix\ncap\n"}});
  add("two", {{"/etc/services", "#\n#\na 1/tcp\n"}, {"/var/lib/pam/seen", "unix\n"}});
  EXPECT_THAT(merge(), IsEmpty());
}

TEST_F(MergeByKindTest, ConflictsNameThePathAndBothSides) {
  const char* kStatus = "/var/lib/dpkg/status";
  add("base", {{kStatus, ""}});
  add("one", {{kStatus, "Package: x\nVersion: 1\n"}});
  add("two", {{kStatus, "Package: x\nVersion: 2\n"}});
  EXPECT_EQ(merge().at("error"),
            "merging /var/lib/dpkg/status: one and two differ on 'Package: x'");
}

}  // namespace
}  // namespace forerun::image
