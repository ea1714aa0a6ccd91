#include "net/s3_credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace forerun::net {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(S3Credentials, ReadsTheDefaultSection) {
  const auto keys = parse_s3_credentials(
      "# mine\n[other]\naws_access_key_id = wrong\n[default]\r\naws_access_key_id = the-key\r\n"
      "  aws_secret_access_key=the/secret=+\n; more\nregion = eu\naws_session_token = t");
  ASSERT_TRUE(keys);
  EXPECT_EQ(*keys, (S3Credentials{"the-key", "the/secret=+", "t"}));
}

TEST(S3Credentials, NeedsNoSection) {
  EXPECT_EQ(*parse_s3_credentials("aws_access_key_id = a\naws_secret_access_key = b\n[x]\n"),
            (S3Credentials{"a", "b", ""}));
}

TEST(S3Credentials, SaysWhatIsMissingAndNotWhatIsThere) {
  for (const char* text : {"", "\n\n", "[default]", "aws_access_key_id =\n", "=", "the-secret",
                           "[a]\naws_secret_access_key = the-secret"}) {
    const auto keys = parse_s3_credentials(text);
    ASSERT_FALSE(keys) << text;
    EXPECT_THAT(keys.error().message, HasSubstr("aws_access_key_id"));
  }
  const auto keys = parse_s3_credentials("aws_access_key_id = the-key\n");
  EXPECT_THAT(keys.error().message,
              AllOf(HasSubstr("aws_secret_access_key"), Not(HasSubstr("the-key"))));
}

TEST(S3Credentials, AFileOfKeysIsNotForEverybody) {
  const std::string path = testing::TempDir() + fmt::format("forerun-keys-{}", ::getpid());
  std::ofstream(path) << "aws_access_key_id = a\naws_secret_access_key = b\n";
  namespace fs = std::filesystem;
  fs::permissions(path, fs::perms(0644));
  EXPECT_EQ(read_s3_credentials(path).error().code, ErrorCode::kDenied);
  fs::permissions(path, fs::perms(0640));
  EXPECT_EQ(*read_s3_credentials(path), (S3Credentials{"a", "b", ""}));
  fs::remove(path);
  EXPECT_EQ(read_s3_credentials(path).error().code, ErrorCode::kNotFound);
}

TEST(S3Credentials, ComeFromTheEnvironment) {
  EXPECT_EQ(
      *s3_credentials_of(
          {{"AWS_ACCESS_KEY_ID", "a"}, {"AWS_SECRET_ACCESS_KEY", "b"}, {"AWS_SESSION_TOKEN", "c"}}),
      (S3Credentials{"a", "b", "c"}));
  EXPECT_THAT(s3_credentials_of({{"AWS_ACCESS_KEY_ID", "a"}}).error().message,
              HasSubstr("access_key_file"));
}

}  // namespace
}  // namespace forerun::net
