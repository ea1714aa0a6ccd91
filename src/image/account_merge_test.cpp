#include "image/account_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

AccountFiles base() {
  return {"debian-12", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
          "root:x:0:\nadm:x:4:\nusers:x:100:\n", "root:*:19700:0:99999:7:::\n",
          "root:*::\nadm:*::\n"};
}

// A component built on base() that added one user with its group.
AccountFiles with_user(const std::string& name, uint32_t uid, uint32_t gid) {
  AccountFiles files = base();
  files.component = name;
  files.passwd += fmt::format("{}:x:{}:{}::/var/lib/{}:/usr/sbin/nologin\n", name, uid, gid, name);
  files.group += fmt::format("{}:x:{}:\n", name, gid);
  files.shadow += fmt::format("{}:!:19700::::::\n", name);
  files.gshadow += fmt::format("{}:!::\n", name);
  return files;
}

TEST(AccountMerge, UsersBuiltApartWithOneIdGetTwo) {
  const std::vector<AccountFiles> siblings{with_user("redis", 101, 106),
                                           with_user("memcache", 101, 106)};
  const auto merged = merge_accounts(base(), siblings);
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_THAT(merged->passwd, HasSubstr("redis:x:101:106:"));
  EXPECT_THAT(merged->passwd, HasSubstr("memcache:x:100:101:"));
  EXPECT_THAT(merged->group, HasSubstr("memcache:x:101:"));
  EXPECT_THAT(merged->shadow, HasSubstr("memcache:!:19700"));
  EXPECT_THAT(merged->ids[0].users, IsEmpty());
  EXPECT_THAT(merged->ids[1].users, ElementsAre(Pair(101u, 100u)));
  EXPECT_THAT(merged->ids[1].groups, ElementsAre(Pair(106u, 101u)));
}

TEST(AccountMerge, AUserThatBothAddIsOne) {
  const std::vector<AccountFiles> siblings{with_user("www", 101, 106), with_user("www", 105, 107)};
  const auto merged = merge_accounts(base(), siblings);
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_THAT(merged->ids[1].users, ElementsAre(Pair(105u, 101u)));
  EXPECT_THAT(merged->ids[1].groups, ElementsAre(Pair(107u, 106u)));
  EXPECT_EQ(merged->passwd.find("www"), merged->passwd.rfind("\nwww") + 1);
}

TEST(AccountMerge, MembersOfAGroupAreUnited) {
  AccountFiles one = with_user("one", 101, 106), two = with_user("two", 102, 107);
  one.group.replace(one.group.find("adm:x:4:"), 8, "adm:x:4:one");
  two.group.replace(two.group.find("adm:x:4:"), 8, "adm:x:4:two");
  const auto merged = merge_accounts(base(), std::vector{one, two});
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_THAT(merged->group, HasSubstr("adm:x:4:one,two\n"));
}

TEST(AccountMerge, OneChangeOfTheBaseCountsTwoConflict) {
  AccountFiles zsh = base(), fish = base();
  zsh.component = "zsh", fish.component = "fish";
  zsh.passwd.replace(zsh.passwd.find("/bin/bash"), 9, "/bin/zsh");
  fish.passwd.replace(fish.passwd.find("/bin/bash"), 9, "/bin/fish");
  EXPECT_THAT(merge_accounts(base(), std::vector{zsh, base()})->passwd,
              HasSubstr("root:x:0:0:root:/root:/bin/zsh"));
  const auto both = merge_accounts(base(), std::vector{zsh, fish});
  ASSERT_FALSE(both);
  EXPECT_THAT(both.error().message, HasSubstr("/bin/zsh"));
  EXPECT_THAT(both.error().message, HasSubstr("fish"));
}

TEST(AccountMerge, SaysWhichLineIsWrong) {
  AccountFiles short_line = base();
  short_line.passwd += "x:y\n";
  EXPECT_THAT(merge_accounts(short_line, {}).error().message,
              HasSubstr("debian-12: /etc/passwd, line 3: 2 fields"));
  AccountFiles no_number = base();
  no_number.group += "x:x:9999999999:\n";
  EXPECT_THAT(merge_accounts(no_number, {}).error().message, HasSubstr("no id"));
}

TEST(AccountMerge, EndsWhenNoIdIsFree) {
  AccountFiles full = base();
  for (uint32_t id = 100; id <= 999; ++id) full.passwd += fmt::format("u{0}:x:{0}:100::/:\n", id);
  const auto merged = merge_accounts(full, std::vector{with_user("late", 101, 106)});
  ASSERT_FALSE(merged);
  EXPECT_EQ(merged.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::image
