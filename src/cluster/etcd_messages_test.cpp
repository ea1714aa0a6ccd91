#include "cluster/etcd_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::cluster::etcd {
namespace {

using testing::HasSubstr;

TEST(EtcdBase64, ReadsWhatItWrites) {
  for (const std::string& bytes : {std::string(), std::string("f"), std::string("fo"),
                                   std::string("foo"), std::string("\0\0\xff", 3)})
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  EXPECT_EQ(to_base64("foob"), "Zm9vYg==");
}

TEST(EtcdBase64, RefusesWhatIsNone) {
  for (const char* bad :
       {"Zg", "Z===", "Zg=a", "Zg==Zg==", "Zm9v\n", "    ", "Zm9v ...", "=", "ä==="})
    EXPECT_FALSE(from_base64(bad).has_value()) << bad;
}

TEST(EtcdMessages, AskForAKeyAndForAPage) {
  EXPECT_EQ(encode(RangeRequest{"foo"}), R"({"key":"Zm9v"})");
  EXPECT_EQ(encode(RangeRequest{"foo", "fop", 5, 7}),
            R"({"key":"Zm9v","range_end":"Zm9w","limit":"5","revision":"7"})");
}

TEST(EtcdMessages, ReadAPage) {
  const auto page = parse_range(
      R"({"header":{"cluster_id":"1","revision":"9"},"kvs":[{"key":"Zm9v","create_revision":"2",)"
      R"("mod_revision":"3","version":"2","value":"YmFy","lease":"7"},{"key":"Zm9w",)"
      R"("create_revision":"4","mod_revision":"4","version":"1"}],"more":true,"count":"5"})");
  ASSERT_TRUE(page.has_value()) << page.error().message;
  EXPECT_EQ(page->revision, 9);
  EXPECT_TRUE(page->has_more);
  EXPECT_EQ(page->entries, (std::vector<KeyValue>{{"foo", "bar", 2, 3, 7}, {"fop", "", 4, 4, 0}}));
}

TEST(EtcdMessages, RefuseAPageThatIsNone) {
  for (const char* bad :
       {"", "[]", "{", "{}", R"({"header":{}})", R"({"header":{"revision":"x"}})",
        R"({"header":{"revision":"-4"}})", R"({"header":{"revision":"99999999999999999999"}})",
        R"({"header":{"revision":"9"},"kvs":{}})", R"({"header":{"revision":"9"},"kvs":[1]})",
        R"({"header":{"revision":"9"},"kvs":[{"key":"%%%%","mod_revision":"1"}]})",
        R"({"header":{"revision":"9"},"kvs":[{"mod_revision":"1"}]})",
        R"({"header":{"revision":"9"},"kvs":[{"key":"Zm9v"}]})",
        R"({"header":{"revision":"9"},"kvs":[{"key":"Zm9v","mod_revision":"1","lease":[]}]})"}) {
    const auto page = parse_range(bad);
    ASSERT_FALSE(page.has_value()) << bad;
    EXPECT_EQ(page.error().code, ErrorCode::kCorrupt) << bad;
  }
}

TEST(EtcdMessages, CompareBothKindsOfRevision) {
  const Transaction transaction{{{"a", Condition::On::kModified, 4},
                                 {"b", Condition::On::kCreated, 5},
                                 {"c", Condition::On::kModified, 0}},
                                {{"a", "1", 9}, {"b", std::nullopt}}};
  const std::string text = encode(transaction);
  EXPECT_THAT(text, HasSubstr(R"("target":"MOD","mod_revision":"4")"));
  EXPECT_THAT(text, HasSubstr(R"("target":"CREATE","create_revision":"5")"));
  EXPECT_THAT(text, HasSubstr(R"("target":"CREATE","create_revision":"0")"));
  EXPECT_THAT(text, HasSubstr(R"({"request_put":{"key":"YQ==","value":"MQ==","lease":"9"}})"));
  EXPECT_THAT(text, HasSubstr(R"({"request_delete_range":{"key":"Yg=="}})"));
}

TEST(EtcdMessages, TakeWhatIsLeftOutForFalse) {
  const auto refused = parse_committed(R"({"header":{"revision":"9"}})");
  const auto applied = parse_committed(R"({"header":{"revision":"9"},"succeeded":true})");
  EXPECT_FALSE(refused->is_applied);
  EXPECT_TRUE(applied->is_applied);
  EXPECT_EQ(applied->revision, 9);
}

TEST(EtcdMessages, ReadLeases) {
  EXPECT_EQ(encode_grant(std::chrono::milliseconds(1500)), R"({"TTL":"2"})");
  EXPECT_EQ(parse_grant(R"({"ID":"77","TTL":"10"})")->id, 77);
  EXPECT_EQ(parse_grant(R"({"ID":"77","TTL":"10"})")->ttl, std::chrono::seconds(10));
  EXPECT_FALSE(parse_grant(R"({"TTL":"10"})").has_value());
  EXPECT_FALSE(parse_grant(R"({"ID":"77"})").has_value());
  EXPECT_EQ(parse_keep_alive(R"({"result":{"ID":"77","TTL":"10"}})"), std::chrono::seconds(10));
  EXPECT_EQ(parse_keep_alive(R"({"result":{"ID":"77"}})"), Nanos::zero());
  EXPECT_FALSE(parse_keep_alive(R"({})").has_value());
}

TEST(EtcdMessages, ReadAWatchLineByLine) {
  const auto created = parse_watch(R"({"result":{"header":{"revision":"3"},"created":true}})");
  EXPECT_TRUE(created->is_created);
  EXPECT_TRUE(created->events.empty());
  const auto events = parse_watch(
      R"({"result":{"header":{"revision":"5"},"events":[{"kv":{"key":"Zm9v","create_revision":"4",)"
      R"("mod_revision":"4","value":"YmFy"}},{"type":"DELETE",)"
      R"("kv":{"key":"Zm9v","mod_revision":"5"}}]}})");
  ASSERT_TRUE(events.has_value()) << events.error().message;
  ASSERT_EQ(events->events.size(), 2u);
  EXPECT_FALSE(events->events[0].is_removal);
  EXPECT_EQ(events->events[0].entry.value, "bar");
  EXPECT_TRUE(events->events[1].is_removal);
  EXPECT_EQ(events->events[1].entry.modified, 5);
}

TEST(EtcdMessages, TellWhyAWatchEnded) {
  const auto compacted = parse_watch(
      R"({"result":{"header":{"revision":"9"},"canceled":true,"compact_revision":"7"}})");
  EXPECT_EQ(compacted->compacted_at, 7);
  const auto leaderless =
      parse_watch(R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})");
  EXPECT_EQ(leaderless->cancelled, "etcdserver: no leader");
  const auto cancelled = parse_watch(R"({"result":{"canceled":true,"cancel_reason":"denied"}})");
  EXPECT_EQ(cancelled->cancelled, "denied");
  EXPECT_FALSE(cancelled->compacted_at.has_value());
}

TEST(EtcdMessages, RefuseAWatchThatIsNone) {
  for (const char* bad : {"", "{}", R"({"result":1})", R"({"result":{}})",
                          R"({"result":{"header":{"revision":"9"},"events":[{}]}})",
                          R"({"result":{"header":{"revision":"9"},"events":{}}})",
                          R"({"result":{"header":{"revision":"9"},"events":[{"kv":7}]}})"})
    EXPECT_FALSE(parse_watch(bad).has_value()) << bad;
}

TEST(EtcdMessages, TellErrorsApart) {
  const auto code = [](int status, std::string_view text) {
    return parse_error(status, text).code;
  };
  EXPECT_EQ(code(404, R"({"error":"etcdserver: requested lease not found","code":5})"),
            ErrorCode::kNotFound);
  EXPECT_EQ(code(503, R"({"error":"etcdserver: no leader","code":14})"), ErrorCode::kUnavailable);
  EXPECT_EQ(code(400, R"({"error":"…","message":"…","code":11})"), ErrorCode::kInvalid);
  EXPECT_EQ(code(429, R"({"error":"etcdserver: mvcc: database space exceeded","code":8})"),
            ErrorCode::kNoSpace);
  EXPECT_EQ(code(403, R"({"error":{"grpc_code":7,"message":"permission denied"}})"),
            ErrorCode::kDenied);
  EXPECT_EQ(code(502, "<html>"), ErrorCode::kUnavailable);
  EXPECT_EQ(code(404, "404 page not found"), ErrorCode::kIo);
  EXPECT_THAT(parse_error(404, R"({"error":"gone","code":5})").message, HasSubstr("gone"));
}

}  // namespace
}  // namespace forerun::cluster::etcd
