#include "image/alternatives_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::image {
namespace {

using testing::HasSubstr;

constexpr std::string_view kPager =
    "auto\n/usr/bin/pager\npager.1.gz\n/usr/share/man/man1/pager.1.gz\n\n"
    "/bin/more\n50\n/usr/share/man/man1/more.1.gz\n\n";

LinkGroupVersion version(const std::string& component, std::string_view text,
                         const std::string& chosen = "") {
  return {component, parse_link_group(text).value(), chosen};
}

// kPager with one choice more.
LinkGroupVersion with_choice(const std::string& component, const std::string& file, int priority) {
  LinkGroupVersion out = version(component, kPager, "/bin/more");
  out.group->choices[file] = {priority, {}};
  return out;
}

TEST(AlternativesMerge, ReadsAndWritesAsUpdateAlternativesDoes) {
  const auto group = parse_link_group(kPager);
  ASSERT_TRUE(group) << group.error().message;
  EXPECT_TRUE(group->is_auto);
  EXPECT_EQ(group->choices.at("/bin/more").slaves.at("pager.1.gz"),
            "/usr/share/man/man1/more.1.gz");
  EXPECT_EQ(serialize(*group), kPager);
}

TEST(AlternativesMerge, SaysWhichLineIsWrong) {
  const auto error = [](std::string_view text) { return parse_link_group(text).error().message; };
  EXPECT_THAT(error("automatic\n/a\n\n"), HasSubstr("line 1: neither 'auto' nor 'manual'"));
  EXPECT_THAT(error("auto\nbin\n\n"), HasSubstr("line 2: the link must be an absolute path"));
  EXPECT_THAT(error("auto\n/a\n\n/b\nx\n\n"), HasSubstr("line 5: 'x' is no priority"));
  EXPECT_THAT(error("auto\n/a\nm\n/m\n\n/b\n1\n"), HasSubstr("a slave's file is missing"));
  EXPECT_THAT(error("auto\n/a\n\n/b\n1\n/b\n1\n\n"), HasSubstr("choice /b stands twice"));
}

TEST(AlternativesMerge, SpoiledFilesNeverCrash) {
  Rng rng(3);
  for (int round = 0; round < 2000; ++round) {
    std::string text(kPager);
    for (int i = 0; i < 3; ++i) text[rng.below(text.size())] = "\n/a1"[rng.below(4)];
    if (const auto group = parse_link_group(text))
      EXPECT_EQ(parse_link_group(serialize(*group)).value(), *group);
  }
}

TEST(AlternativesMerge, TheBestOfAllIsChosenInEitherOrder) {
  const LinkGroupVersion base = version("base", kPager, "/bin/more");
  const LinkGroupVersion less = with_choice("less", "/usr/bin/less", 77);
  const LinkGroupVersion most = with_choice("most", "/usr/bin/most", 60);
  for (const auto& siblings : {std::vector{less, most}, std::vector{most, less}}) {
    const auto merged = merge_link_groups(base, siblings);
    ASSERT_TRUE(merged) << merged.error().message;
    EXPECT_EQ(merged->chosen, "/usr/bin/less");
    EXPECT_EQ(merged->group->choices.size(), 3u);
    EXPECT_TRUE(merged->group->is_auto);
  }
}

TEST(AlternativesMerge, WhatOneChoseByHandIsKept) {
  const LinkGroupVersion base = version("base", kPager, "/bin/more");
  LinkGroupVersion most = with_choice("most", "/usr/bin/most", 60);
  most.group->is_auto = false, most.chosen = "/usr/bin/most";
  LinkGroupVersion less = with_choice("less", "/usr/bin/less", 77);
  const auto merged = merge_link_groups(base, std::vector{less, most});
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_EQ(merged->chosen, "/usr/bin/most");
  EXPECT_FALSE(merged->group->is_auto);

  less.group->is_auto = false, less.chosen = "/usr/bin/less";
  const auto both = merge_link_groups(base, std::vector{less, most});
  ASSERT_FALSE(both);
  EXPECT_THAT(both.error().message,
              HasSubstr("less chooses /usr/bin/less by hand and most /usr/bin/most"));
}

TEST(AlternativesMerge, RemovedChoicesAndTheirSlavesGo) {
  const LinkGroupVersion base = version("base", kPager, "/bin/more");
  LinkGroupVersion less = with_choice("less", "/usr/bin/less", 77);
  less.group->choices.erase("/bin/more");
  const auto merged = merge_link_groups(base, std::vector{less, base});
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_EQ(merged->group->choices.size(), 1u);
  EXPECT_TRUE(merged->group->slaves.empty());
  const std::vector<LinkGroupVersion> gone{{"one", {}, ""}, {"two", {}, ""}};
  EXPECT_FALSE(merge_link_groups(base, gone)->group);
}

TEST(AlternativesMerge, OneChoiceWithTwoPrioritiesIsAConflict) {
  const LinkGroupVersion base = version("base", kPager, "/bin/more");
  const auto merged = merge_link_groups(base, std::vector{with_choice("one", "/usr/bin/less", 7),
                                                          with_choice("two", "/usr/bin/less", 8)});
  ASSERT_FALSE(merged);
  EXPECT_THAT(merged.error().message, HasSubstr("one and two differ on the choice /usr/bin/less"));
}

}  // namespace
}  // namespace forerun::image
