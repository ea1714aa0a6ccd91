#include "image/systemd_unit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> programs_of(const SystemdUnit& unit) {
  std::vector<std::string> programs;
  for (const UnitCommand& command : unit.commands) programs.push_back(command.program);
  return programs;
}

SystemdUnit read(std::string_view text, std::string_view name = "a.service") {
  SystemdUnit unit;
  read_systemd_unit(text, name, unit);
  return unit;
}

TEST(SystemdUnit, ReadsDependenciesAndMentions) {
  const auto unit = read(
      "[Unit]\nWants=b.service c.socket\nRequires=d.mount\nAfter=e.target\nBefore=no-unit\n"
      "[Install]\nWantedBy=multi-user.target\n");
  EXPECT_THAT(unit.pulls_in, ElementsAre("b.service", "c.socket", "d.mount"));
  EXPECT_THAT(unit.mentions, ElementsAre("e.target"));
}

TEST(SystemdUnit, ReadsCommandsWithoutTheirMarks) {
  const auto unit = read(
      "[Service]\nExecStartPre=-/bin/mkdir /run/x\nExecStart=@!/usr/sbin/a argv0 -c /etc/a.conf\n"
      "ExecStart=relative \\\n  # between\n  /etc/b.conf\nExecStop=/bin/never\n"
      "EnvironmentFile=-/etc/default/a\n");
  EXPECT_THAT(programs_of(unit), ElementsAre("/bin/mkdir", "/usr/sbin/a", "relative"));
  EXPECT_THAT(unit.commands[0].arguments, ElementsAre("/run/x"));
  EXPECT_THAT(unit.commands[1].arguments, ElementsAre("/etc/a.conf"));
  EXPECT_THAT(unit.commands[2].arguments, ElementsAre("/etc/b.conf"));
  EXPECT_THAT(unit.files, ElementsAre("/etc/default/a"));
}

TEST(SystemdUnit, EmptyCommandsTakeBackThoseOfTheirKind) {
  auto unit = read("[Service]\nExecStartPre=/bin/prepare\nExecStart=/usr/bin/wrapper\n");
  read_systemd_unit("[Service]\nExecStart=\nExecStart=/usr/bin/server\n", "a.service", unit);
  EXPECT_THAT(programs_of(unit), ElementsAre("/bin/prepare", "/usr/bin/server"));
}

TEST(SystemdUnit, ReplacesSpecifiersOfInstances) {
  const auto unit = read("[Unit]\nWants=modprobe@%i.service\n[Service]\nExecStart=/sbin/%p %%\n",
                         "tool@dm_mod.service");
  EXPECT_THAT(unit.pulls_in, ElementsAre("modprobe@dm_mod.service"));
  EXPECT_THAT(programs_of(unit), ElementsAre("/sbin/tool"));
  EXPECT_EQ(template_of("getty@tty1.service"), "getty@.service");
  EXPECT_THAT(template_of("getty@.service"), IsEmpty());
  EXPECT_THAT(template_of("cron.service"), IsEmpty());
}

TEST(SystemdUnit, ReadsConditions) {
  const auto unit =
      read("[Unit]\nConditionPathExists=!/etc/initrd-release\nAssertPathExists=|/x\nCondition=\n");
  ASSERT_EQ(unit.conditions.size(), 2u);
  EXPECT_EQ(unit.conditions[0].kind, "PathExists");
  EXPECT_EQ(unit.conditions[0].argument, "/etc/initrd-release");
  EXPECT_TRUE(unit.conditions[0].is_negated);
  EXPECT_FALSE(unit.conditions[1].is_negated);
}

TEST(SystemdUnit, PassesOverWhatIsNoDirective) {
  const auto unit = read("no section\n=\n[Unit\nWants=b.service\n[Unit]\nWants\nWants=\n\\");
  EXPECT_THAT(unit.pulls_in, IsEmpty());
}

TEST(SystemdUnit, NamesWithSlashesAreNone) {
  EXPECT_FALSE(is_unit_name("../../etc/x.service"));
  EXPECT_FALSE(is_unit_name(".service"));
  EXPECT_FALSE(is_unit_name(std::string(300, 'a') + ".service"));
  EXPECT_TRUE(is_unit_name("dev-disk-by\\x2dlabel.device"));
}

}  // namespace
}  // namespace forerun::image
