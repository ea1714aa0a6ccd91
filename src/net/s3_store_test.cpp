// Without a network: what it refuses by itself. tests/s3 has it meet a real radosgw,
// tests/repository hostile servers.
#include "net/s3_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::net {
namespace {

using testing::HasSubstr;
using testing::Not;

S3Options options() {
  S3Options with;
  with.bucket = "bucket";
  with.prefix = "a/b";
  with.endpoint = "http://127.0.0.1:9";
  with.credentials = {"the-key", "the-secret", ""};
  with.sleep = [](Nanos) {};
  with.unix_seconds = [] { return int64_t{1'795'251'910}; };
  return with;
}

std::string refusal_of(S3Options with) {
  const auto store = S3Store::create(std::move(with));
  if (store) return "taken";
  EXPECT_EQ(store.error().code, ErrorCode::kInvalid);
  return store.error().message;
}

TEST(S3Store, IsNamedByItsUrl) {
  EXPECT_EQ((*S3Store::create(options()))->name(), "s3://bucket/a/b");
  S3Options with = options();
  with.prefix = "";
  EXPECT_EQ((*S3Store::create(with))->name(), "s3://bucket");
}

TEST(S3Store, ReadsUrls) {
  EXPECT_EQ(parse_s3_url("s3://bucket")->bucket, "bucket");
  EXPECT_EQ(parse_s3_url("s3://my.bucket-1/a/b/")->bucket, "my.bucket-1");
  EXPECT_EQ(parse_s3_url("s3://my.bucket-1/a/b/")->prefix, "a/b");
  for (const char* url : {"", "s3://", "bucket", "http://bucket", "s3://b", "s3://Bucket",
                          "s3://-bucket", "s3://bucket/../x", "s3://bucket//a", "s3://bucket/a b",
                          "s3://buck..et", "s3://bucket/a/b/c/d", "s3://user@bucket"}) {
    EXPECT_FALSE(parse_s3_url(url)) << url;
  }
}

TEST(S3Store, TakesNoEndpointWithAPathOrAPassword) {
  for (const char* endpoint :
       {"http://h/path", "ftp://h", "h:80", "http://u:p@h", "http://h/?a=b", "http://"}) {
    S3Options with = options();
    with.endpoint = endpoint;
    EXPECT_NE(refusal_of(with), "taken") << endpoint;
  }
  S3Options with = options();
  with.endpoint = "http://[::1]:7480";
  EXPECT_EQ(refusal_of(with), "taken");
  with.is_path_style = false;
  EXPECT_NE(refusal_of(with), "taken");
}

TEST(S3Store, TakesNoKeysThatWouldBreakAHeader) {
  S3Options with = options();
  with.credentials.access_key_id = "";
  EXPECT_THAT(refusal_of(with), HasSubstr("access key"));
  with = options();
  with.credentials.secret_access_key = "the-secret\r\nx: y";
  EXPECT_THAT(refusal_of(with), AllOf(HasSubstr("access key"), Not(HasSubstr("the-secret"))));
  with = options();
  with.credentials.session_token = "a b";
  EXPECT_THAT(refusal_of(with), HasSubstr("session token"));
  with = options();
  with.region = "eu\nwest";
  EXPECT_THAT(refusal_of(with), HasSubstr("region"));
}

TEST(S3Store, AsksForNoPathButAnObjects) {
  const auto store = std::move(*S3Store::create(options()));
  for (const char* path : {"../x", "a?b", "a b", "", "/a", "a%2fb"}) {
    EXPECT_EQ(store->fetch(path, 10).error().code, ErrorCode::kInvalid) << path;
    EXPECT_EQ(store->put(path, {}).error().code, ErrorCode::kInvalid) << path;
    EXPECT_EQ(store->renew(path).error().code, ErrorCode::kInvalid) << path;
    EXPECT_EQ(store->remove(path, Nanos::max()).error().code, ErrorCode::kInvalid) << path;
    EXPECT_EQ(store->list(path, {}).error().code, ErrorCode::kInvalid) << path;
    EXPECT_FALSE(store->contains(path)) << path;
  }
}

TEST(S3Store, TriesAgainAndSaysWhatItTriedWithoutTheKeys) {
  std::vector<Nanos> waits;
  S3Options with = options();
  with.sleep = [&](Nanos wait) { waits.push_back(wait); };
  const auto store = std::move(*S3Store::create(with));

  const Status put = store->put("chunks/ab/abcd", as_bytes("x"));

  EXPECT_EQ(waits, (std::vector<Nanos>{200ms, 400ms, 800ms}));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(put.error().message, HasSubstr("put s3://bucket/a/b/chunks/ab/abcd"));
  EXPECT_THAT(put.error().message, AllOf(Not(HasSubstr("the-key")), Not(HasSubstr("the-secret"))));
}

TEST(S3Store, AFetchIsTriedOnce) {
  S3Options with = options();
  with.sleep = [](Nanos) { FAIL(); };
  EXPECT_EQ((*S3Store::create(with))->fetch("chunks/ab/abcd", 10).error().code,
            ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forerun::net
