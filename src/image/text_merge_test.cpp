#include "image/text_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace forerun::image {
namespace {

using testing::HasSubstr;

constexpr std::array<std::string_view, 2> kPackageKey{"Package", "Architecture"};
const RecordRules kPackage{.key = kPackageKey};
constexpr std::array<std::string_view, 1> kName{"Name"};
constexpr std::array<std::string_view, 1> kOwners{"Owners"};

std::string package(std::string_view name, std::string_view version,
                    std::string_view architecture = "amd64") {
  return fmt::format("Package: {}\nArchitecture: {}\nVersion: {}\nDescription: one\n two\n\n", name,
                     architecture, version);
}

const TextVersion kBase{"debian-12", package("libc6", "1") + package("old", "1")};

TEST(MergeRecords, UnitesWhatSiblingsAdd) {
  const std::vector<TextVersion> siblings{{"nginx", kBase.text + package("nginx", "1.22")},
                                          {"redis", kBase.text + package("redis", "7.0")}};
  const auto merged = merge_records(kBase, siblings, kPackage);
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_EQ(*merged, kBase.text + package("nginx", "1.22") + package("redis", "7.0"));
}

TEST(MergeRecords, TakesChangesAndRemovals) {
  const std::vector<TextVersion> siblings{{"one", package("libc6", "2") + package("old", "1")},
                                          {"two", package("libc6", "1")}};
  EXPECT_EQ(merge_records(kBase, siblings, kPackage).value(), package("libc6", "2"));
}

TEST(MergeRecords, OneStanzaFromTwoSidesMustAgree) {
  const std::vector<TextVersion> same{{"one", kBase.text + package("x", "1")},
                                      {"two", kBase.text + package("x", "1")}};
  EXPECT_EQ(merge_records(kBase, same, kPackage).value(), kBase.text + package("x", "1"));
  const std::vector<TextVersion> differ{{"one", kBase.text + package("x", "1")},
                                        {"two", kBase.text + package("x", "2")}};
  const auto merged = merge_records(kBase, differ, kPackage);
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message, HasSubstr("one and two differ on 'Package: x'"));
}

TEST(MergeRecords, OneChangesWhatAnotherRemoves) {
  const std::vector<TextVersion> siblings{{"one", package("libc6", "2") + package("old", "1")},
                                          {"two", package("old", "1")}};
  EXPECT_FALSE(merge_records(kBase, siblings, kPackage));
}

TEST(MergeRecords, ArchitecturesAreApart) {
  const std::vector<TextVersion> siblings{{"one", kBase.text + package("x", "1", "amd64")},
                                          {"two", kBase.text + package("x", "2", "i386")}};
  EXPECT_TRUE(merge_records(kBase, siblings, kPackage));
}

TEST(MergeRecords, IgnoredFieldsDoNotConflict) {
  const TextVersion base{"debian-12", ""};
  const std::vector<TextVersion> siblings{{"one", "Name: q\nOwners: a\n b\nValue: 1\n"},
                                          {"two", "Name: q\nOwners: c\nValue: 1\n"}};
  EXPECT_EQ(merge_records(base, siblings, {.key = kName, .ignored = kOwners}).value(),
            "Name: q\nOwners: a\n b\nValue: 1\n\n");
  EXPECT_FALSE(merge_records(base, siblings, {.key = kName}));
}

TEST(MergeRecords, ListsAreUnited) {
  const TextVersion base{"debian-12", "Name: p\nOwners: a\n\n"};
  const std::vector<TextVersion> siblings{
      {"one", "Name: p\nOwners: a, b\n\nName: q\nOwners: one\nValue: 1\n"},
      {"two", "Name: p\nOwners: a, c\n\nName: q\nOwners: two, one\nValue: 1\n"}};
  EXPECT_EQ(merge_records(base, siblings, {.key = kName, .united = kOwners}).value(),
            "Name: p\nOwners: a, b, c\n\nName: q\nOwners: one, two\nValue: 1\n\n");
}

TEST(MergeRecords, TheFirstMayWin) {
  const TextVersion base{"debian-12", "Name: p\nValue: 0\n\n"};
  const std::vector<TextVersion> siblings{{"one", "Name: p\nValue: 1\n\nName: q\nValue: 1\n"},
                                          {"two", "Name: q\nValue: 2\n"}};
  EXPECT_EQ(merge_records(base, siblings, {.key = kName, .first_wins = true}).value(),
            "Name: p\nValue: 1\n\nName: q\nValue: 1\n\n");
  const std::vector<TextVersion> removed{siblings[0], {"two", ""}};
  EXPECT_THAT(merge_records(base, removed, {.key = kName}).error().message,
              HasSubstr("of one and two one changes and one removes 'Name: p'"));
}

TEST(MergeRecords, TriplesAreKnownByTheFirstLine) {
  const RecordRules rules{.kind = RecordKind::kTriple};
  const TextVersion base{"debian-12", "/bin/sh\n/bin/sh.distrib\ndash\n"};
  const std::vector<TextVersion> siblings{{"one", base.text + "/a\n/a.real\none\n"},
                                          {"two", "/b\n/b.real\ntwo\n"}};
  EXPECT_EQ(merge_records(base, siblings, rules).value(), "/a\n/a.real\none\n/b\n/b.real\ntwo\n");
  const std::vector<TextVersion> both{{"one", "/a\n/a.real\none\n"}, {"two", "/a\n/a.x\ntwo\n"}};
  EXPECT_THAT(merge_records(base, both, rules).error().message,
              HasSubstr("one and two differ on '/a'"));
  EXPECT_THAT(merge_records({"debian-12", "/a\n"}, {}, rules).error().message,
              HasSubstr("debian-12: 1 lines are not three"));
}

TEST(MergeRecords, LinesAreKnownByAWord) {
  const TextVersion base{"debian-12", "root crontab 2755 /usr/bin/crontab\n"};
  const std::vector<TextVersion> siblings{
      {"one", base.text + "root mail 2755 /usr/bin/mail\n"},
      {"two", "root postdrop 2710  /usr/sbin/postqueue \nroot crontab 755 /usr/bin/crontab\n"}};
  EXPECT_EQ(merge_records(base, siblings, {.kind = RecordKind::kLastWord}).value(),
            "root crontab 755 /usr/bin/crontab\nroot mail 2755 /usr/bin/mail\n"
            "root postdrop 2710  /usr/sbin/postqueue \n");
  const std::vector<TextVersion> both{{"one", "x 1\n"}, {"two", "x 2\n"}};
  EXPECT_FALSE(merge_records({"b", ""}, both, {.kind = RecordKind::kFirstWord}));
  EXPECT_TRUE(merge_records({"b", ""}, both, {.kind = RecordKind::kLastWord}));
}

TEST(MergeRecords, CertificatesAreASet) {
  const auto block = [](std::string_view data) {
    return fmt::format("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", data);
  };
  const RecordRules rules{.kind = RecordKind::kPem};
  const TextVersion base{"debian-12", "# the usual\n" + block("A") + block("B")};
  const std::vector<TextVersion> siblings{{"one", block("A") + block("B") + "\n" + block("C")},
                                          {"two", block("D") + block("B") + block("C")}};
  EXPECT_EQ(merge_records(base, siblings, rules).value(), block("B") + block("C") + block("D"));
  EXPECT_THAT(merge_records({"b", "-----BEGIN X-----\nA\n"}, {}, rules).error().message,
              HasSubstr("b: a PEM block does not end"));
}

TEST(MergeRecords, WordsAreUnited) {
  const RecordRules rules{.kind = RecordKind::kFirstWord, .unites_words = true};
  const TextVersion base{"debian-12", "# of\n# names\nhosts:   files dns\npasswd: files\n"};
  const std::vector<TextVersion> siblings{
      {"one", "# of\n# names\nhosts:   files mdns4 [NOTFOUND=return] dns\npasswd: files\n"},
      {"two", "# of\n# names\nhosts:   files dns myhostname\npasswd: files systemd\n"}};
  EXPECT_EQ(merge_records(base, siblings, rules).value(),
            "# of\n# names\nhosts: files mdns4 [NOTFOUND=return] dns myhostname\npasswd: files "
            "systemd\n");
}

TEST(MergeRecords, SaysWhereAKeyIsMissing) {
  const TextVersion base{"debian-12", package("a", "1") + "Version: 1\n"};
  const auto merged = merge_records(base, {}, kPackage);
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message,
              HasSubstr("debian-12: the stanza at line 7 has no 'Package'"));
}

TEST(MergeLines, AddsAndRemovesEachOnce) {
  const TextVersion base{"debian-12", "a\nb\nc\n"};
  const std::vector<TextVersion> siblings{{"one", "a\nb\nc\nx\ny\n"}, {"two", "a\nc\ny\nz"}};
  EXPECT_EQ(merge_lines(base, siblings).value(), "a\nc\nx\ny\nz\n");
}

TEST(MergeLines, KeepsCommentsThatStandTwice) {
  const TextVersion base{"debian-12", ""};
  const std::vector<TextVersion> siblings{{"one", "#\na\n#\n"}, {"two", "#\nb\n#\nb\n"}};
  EXPECT_EQ(merge_lines(base, siblings).value(), "#\na\n#\nb\nb\n");
}

}  // namespace
}  // namespace forerun::image
