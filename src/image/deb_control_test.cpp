#include "image/deb_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kHead = "Package: a1\nVersion: 1\nArchitecture: all\n";

TEST(DebControl, ReadsFieldsWithTheLinesThatContinueThem) {
  const auto control =
      parse_deb_control(std::string(kHead) + "MULTI-ARCH: same\nDescription: x\n y\n\t.\n\n\n");
  ASSERT_TRUE(control) << control.error().message;
  EXPECT_EQ(control->package, "a1");
  EXPECT_EQ(control->field("description"), "x\n y\n\t.");
  EXPECT_EQ(control->field("Depends"), "");
  EXPECT_EQ(control->info_name(), "a1:all");
}

TEST(DebControl, StanzaHasStatusAndConffiles) {
  const auto control = parse_deb_control(std::string(kHead) + "Files:\n more\n");
  ASSERT_TRUE(control);
  EXPECT_EQ(status_stanza(*control, DebState::kInstalled, {}),
            "Package: a1\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
            "Files:\n more\n");
  EXPECT_THAT(status_stanza(*control, DebState::kUnpacked, {{"/etc/x", "00ff"}}),
              testing::AllOf(HasSubstr("\nStatus: install ok unpacked\n"),
                             testing::EndsWith("\nConffiles:\n /etc/x 00ff\n")));
}

TEST(DebControl, DescribesAComponent) {
  const auto control = parse_deb_control(
      "Package: a1\nVersion: 1:2~rc-3\nArchitecture: amd64\nProvides: b (= 1),\n libc++1, a-b\n"
      "Depends: c | d, e\n");
  ASSERT_TRUE(control) << control.error().message;
  const ComponentInfo info = describe_deb(*control, "mine");
  EXPECT_EQ(info.name, "mine");
  EXPECT_EQ(info.version, "1:2~rc-3");
  EXPECT_EQ(info.function, "package");
  EXPECT_EQ(info.origin, "deb a1 1:2~rc-3 amd64");
  EXPECT_THAT(info.provides, ElementsAre("b", "a-b", "a1"));
  EXPECT_THAT(info.depends, ElementsAre());
}

struct Wrong {
  std::string text, why;
};
class DebControlRefused : public testing::TestWithParam<Wrong> {};

TEST_P(DebControlRefused, IsSaidWhy) {
  const auto control = parse_deb_control(GetParam().text);
  ASSERT_FALSE(control);
  EXPECT_THAT(control.error().message, HasSubstr(GetParam().why));
}

std::string with(std::string_view more) { return std::string(kHead) + std::string(more); }

INSTANTIATE_TEST_SUITE_P(
    Fields, DebControlRefused,
    testing::Values(
        Wrong{"", "'' as its Package"}, Wrong{"Package: a1\nArchitecture: all\n", "its Version"},
        Wrong{"Package: a1\nVersion: 1\n", "its Architecture"},
        Wrong{"Package: ../a\nVersion: 1\nArchitecture: all\n", "'../a' as its Package"},
        Wrong{"Package: A1\nVersion: 1\nArchitecture: all\n", "its Package"},
        Wrong{"Package: a\nVersion: 1\nArchitecture: all\n", "its Package"},
        Wrong{"Package: " + std::string(101, 'a') + "\nVersion: 1\nArchitecture: all\n", "Package"},
        Wrong{"Package: a1\nVersion: 1 2\nArchitecture: all\n", "its Version"},
        Wrong{"Package: a1\nVersion: 1\nArchitecture: a/b\n", "its Architecture"},
        Wrong{with("version: 2\n"), "field version twice"},
        Wrong{with("Status: install ok installed\n"), "field Status, which is the database's"},
        Wrong{with("conffiles:\n /etc/shadow 00\n"), "database's"},
        Wrong{with("\nPackage: b1\n"), "second stanza in line 5"},
        Wrong{" x\n" + with(""), "continues no field in line 1"},
        Wrong{with("Description: a\n \n"), "continues no field in line 5"},
        Wrong{with("no colon\n"), "no field in line 4"}, Wrong{with(": x\n"), "no field in line 4"},
        Wrong{with("-A: x\n"), "no field in line 4"}, Wrong{with("# x: y\n"), "no field in line 4"},
        Wrong{with("A: x\r\n"), "control character in line 4"},
        Wrong{with(std::string("A: x\0y\n", 7)), "control character in line 4"},
        Wrong{std::string(kDebControlBytesMax + 1, 'a'), "at most 1048576"}));

TEST(DebControl, RefusesTooManyFields) {
  std::string text(kHead);
  for (int i = 0; i < 300; ++i) text += fmt::format("F{}: x\n", i);
  EXPECT_THAT(parse_deb_control(text).error().message, HasSubstr("over 256 fields"));
}

}  // namespace
}  // namespace forerun::image
