#include "image/text_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace forerun::image {
namespace {

using testing::HasSubstr;

constexpr std::array<std::string_view, 2> kPackage{"Package", "Architecture"};
constexpr std::array<std::string_view, 1> kName{"Name"};
constexpr std::array<std::string_view, 1> kOwners{"Owners"};

std::string package(std::string_view name, std::string_view version,
                    std::string_view architecture = "amd64") {
  return fmt::format("Package: {}\nArchitecture: {}\nVersion: {}\nDescription: one\n two\n\n", name,
                     architecture, version);
}

const TextVersion kBase{"debian-12", package("libc6", "1") + package("old", "1")};

TEST(MergeStanzas, UnitesWhatSiblingsAdd) {
  const std::vector<TextVersion> siblings{{"nginx", kBase.text + package("nginx", "1.22")},
                                          {"redis", kBase.text + package("redis", "7.0")}};
  const auto merged = merge_stanzas(kBase, siblings, kPackage);
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_EQ(*merged, kBase.text + package("nginx", "1.22") + package("redis", "7.0"));
}

TEST(MergeStanzas, TakesChangesAndRemovals) {
  const std::vector<TextVersion> siblings{{"one", package("libc6", "2") + package("old", "1")},
                                          {"two", package("libc6", "1")}};
  EXPECT_EQ(merge_stanzas(kBase, siblings, kPackage).value(), package("libc6", "2"));
}

TEST(MergeStanzas, OneStanzaFromTwoSidesMustAgree) {
  const std::vector<TextVersion> same{{"one", kBase.text + package("x", "1")},
                                      {"two", kBase.text + package("x", "1")}};
  EXPECT_EQ(merge_stanzas(kBase, same, kPackage).value(), kBase.text + package("x", "1"));
  const std::vector<TextVersion> differ{{"one", kBase.text + package("x", "1")},
                                        {"two", kBase.text + package("x", "2")}};
  const auto merged = merge_stanzas(kBase, differ, kPackage);
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message, HasSubstr("one and two differ on 'Package: x'"));
}

TEST(MergeStanzas, OneChangesWhatAnotherRemoves) {
  const std::vector<TextVersion> siblings{{"one", package("libc6", "2") + package("old", "1")},
                                          {"two", package("old", "1")}};
  EXPECT_FALSE(merge_stanzas(kBase, siblings, kPackage));
}

TEST(MergeStanzas, ArchitecturesAreApart) {
  const std::vector<TextVersion> siblings{{"one", kBase.text + package("x", "1", "amd64")},
                                          {"two", kBase.text + package("x", "2", "i386")}};
  EXPECT_TRUE(merge_stanzas(kBase, siblings, kPackage));
}

TEST(MergeStanzas, IgnoredFieldsDoNotConflict) {
  const TextVersion base{"debian-12", ""};
  const std::vector<TextVersion> siblings{{"one", "Name: q\nOwners: a\n b\nValue: 1\n"},
                                          {"two", "Name: q\nOwners: c\nValue: 1\n"}};
  EXPECT_EQ(merge_stanzas(base, siblings, kName, kOwners).value(),
            "Name: q\nOwners: a\n b\nValue: 1\n\n");
  EXPECT_FALSE(merge_stanzas(base, siblings, kName));
}

TEST(MergeStanzas, SaysWhereAKeyIsMissing) {
  const TextVersion base{"debian-12", package("a", "1") + "Version: 1\n"};
  const auto merged = merge_stanzas(base, {}, kPackage);
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message,
              HasSubstr("debian-12: the stanza at line 7 has no 'Package'"));
}

TEST(MergeLines, AddsAndRemovesEachOnce) {
  const TextVersion base{"debian-12", "a\nb\nc\n"};
  const std::vector<TextVersion> siblings{{"one", "a\nb\nc\nx\ny\n"}, {"two", "a\nc\ny\nz"}};
  EXPECT_EQ(merge_lines(base, siblings).value(), "a\nc\nx\ny\nz\n");
}

}  // namespace
}  // namespace forerun::image
