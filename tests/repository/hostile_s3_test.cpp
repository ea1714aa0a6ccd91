// S3Store against services that lie, stall, cut, redirect and answer with XML that is a weapon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/s3_store.h"
#include "server_fixture.h"

namespace forerun {
namespace {

using namespace testing_support;
using net::S3Store;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kSecret = "the-secret-key";

std::unique_ptr<S3Store> store_at(const ScriptedServer& server, int attempts_max = 1) {
  net::S3Options options;
  options.bucket = "bucket";
  options.endpoint = server.url();
  options.credentials = {"the-access-key", std::string(kSecret), ""};
  options.connect_timeout = options.stall_timeout = 1s;
  options.attempts_max = attempts_max;
  options.sleep = [](Nanos) {};
  options.unix_seconds = [] { return int64_t{1'795'251'910}; };
  return std::move(*S3Store::create(std::move(options)));
}

std::string answer(std::string_view status, std::string_view body, std::string_view headers = "") {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", status,
                     headers, body.size(), body);
}
ScriptedServer::Script saying(std::string text) {
  return [text](os::SocketStream& stream) { say(stream, text); };
}
ScriptedServer::Script sending_without_end(std::string head) {
  return [head](os::SocketStream& stream) {
    say(stream, head);
    const std::string block = "1000\r\n" + std::string(4096, 'x') + "\r\n";
    while (stream.write_bytes(as_bytes(block))) {
    }
  };
}

Error fetch_error(const ScriptedServer& server) {
  const auto data = store_at(server)->fetch("chunks/aa/x", 1000);
  return data ? Error{} : data.error();
}
Error list_error(const ScriptedServer& server) {
  const Status listed =
      store_at(server)->list("chunks", [](const repository::ObjectInfo&) -> Status { return {}; });
  return listed ? Error{} : listed.error();
}
std::string page_of(std::string_view content) {
  return answer("200 OK", fmt::format("<ListBucketResult>{}</ListBucketResult>", content));
}
std::string object_of(std::string_view key) {
  return fmt::format(
      "<Contents><Key>{}</Key><Size>1</Size><LastModified>2026-11-21T09:05:10Z</LastModified>"
      "</Contents>",
      key);
}

TEST(HostileS3, AnObjectLongerThanItsLimitIsTooLarge) {
  const ScriptedServer announces([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nx");
    hang(stream);
  });
  EXPECT_EQ(fetch_error(announces).code, ErrorCode::kTooLarge);
  const ScriptedServer sends(
      sending_without_end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
  EXPECT_EQ(fetch_error(sends).code, ErrorCode::kTooLarge);
}

TEST(HostileS3, ACutOrStalledObjectMayBeTriedAgain) {
  const ScriptedServer cuts(saying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"));
  EXPECT_EQ(fetch_error(cuts).code, ErrorCode::kUnavailable);
  const ScriptedServer stalls([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    hang(stream);
  });
  EXPECT_EQ(fetch_error(stalls).code, ErrorCode::kTimedOut);
}

TEST(HostileS3, HeadersWithoutEndEnd) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\n");
    const std::string header = "x-amz-more: " + std::string(4000, 'x') + "\r\n";
    while (stream.write_bytes(as_bytes(header))) {
    }
  });
  EXPECT_EQ(fetch_error(server).code, ErrorCode::kUnavailable);
}

TEST(HostileS3, RedirectsAreNotFollowedSoThatNoSignatureGoesElsewhere) {
  const ScriptedServer elsewhere(saying(answer("200 OK", "taken")));
  for (const char* status :
       {"301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"}) {
    const ScriptedServer server(saying(
        answer(status, "", fmt::format("Location: {}/bucket/chunks/aa/x\r\n", elsewhere.url()))));
    const Error error = fetch_error(server);
    EXPECT_EQ(error.code, ErrorCode::kDenied) << status;
    EXPECT_THAT(error.message, HasSubstr("redirects elsewhere"));
    EXPECT_EQ(store_at(server)->put("a", as_bytes("x")).error().code, ErrorCode::kDenied) << status;
  }
  EXPECT_EQ(elsewhere.served(), 0);
}

TEST(HostileS3, XmlBombsAreRefusedUnexpanded) {
  std::string bomb = "<!DOCTYPE b [<!ENTITY a0 \"aaaaaaaaaaaaaaaa\">";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("<!ENTITY a{} \"", i);
    for (int j = 0; j < 16; ++j) bomb += fmt::format("&a{};", i - 1);
    bomb += "\">";
  }
  bomb += "]><ListBucketResult><Name>&a11;</Name></ListBucketResult>";
  const ScriptedServer server(saying(answer("200 OK", bomb)));
  const Error error = list_error(server);
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr("document type"));

  const ScriptedServer refuses(saying(answer("403 Forbidden", bomb)));
  EXPECT_EQ(fetch_error(refuses).code, ErrorCode::kDenied);
}

TEST(HostileS3, DepthAndNonsenseAreRefused) {
  std::string deep;
  for (int i = 0; i < 500'000; ++i) deep += "<a>";
  for (const std::string& body : {deep, std::string("{\"json\":1}"), std::string(1000, '\0'),
                                  std::string("<ListBucketResult>\xff\xfe</ListBucketResult>")}) {
    const ScriptedServer server(saying(answer("200 OK", body)));
    EXPECT_EQ(list_error(server).code, ErrorCode::kCorrupt) << body.substr(0, 40);
  }
}

TEST(HostileS3, AListingWithoutEndIsTooLarge) {
  const ScriptedServer server(
      sending_without_end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
  EXPECT_EQ(list_error(server).code, ErrorCode::kTooLarge);
}

TEST(HostileS3, AListingThatGoesInCirclesEnds) {
  const ScriptedServer server(saying(
      page_of(object_of("chunks/aa/x") + "<IsTruncated>true</IsTruncated>"
                                         "<NextContinuationToken>again</NextContinuationToken>")));
  const Error error = list_error(server);
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr("not in order"));
  EXPECT_EQ(server.served(), 2);
}

TEST(HostileS3, AListingGivesNoPathsButOfObjectsInTheFolder) {
  const ScriptedServer server(saying(page_of(
      object_of("../etc/passwd") + object_of("chunks/../x") + object_of("chunks/a b") +
      object_of("chunks/aa/good") + object_of("images/x") + "<IsTruncated>false</IsTruncated>")));
  std::vector<std::string> paths;
  const Status listed =
      store_at(server)->list("chunks", [&](const repository::ObjectInfo& object) -> Status {
        paths.push_back(object.path);
        return {};
      });
  ASSERT_TRUE(listed) << listed.error().message;
  EXPECT_EQ(paths, std::vector<std::string>{"chunks/aa/good"});
}

TEST(HostileS3, AContinuationCannotAddParametersOfItsOwn) {
  const ScriptedServer server([count = 0](os::SocketStream& stream) mutable {
    say(stream,
        count++ == 0
            ? page_of(object_of("chunks/aa/x") +
                      "<IsTruncated>true</IsTruncated>"
                      "<NextContinuationToken>a&amp;prefix=&#13;&#10;b</NextContinuationToken>")
            : page_of("<IsTruncated>false</IsTruncated>"));
  });
  EXPECT_EQ(list_error(server).message, "");
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_THAT(server.requests()[1], HasSubstr("?continuation-token=a%26prefix%3D%0D%0Ab&"));
}

TEST(HostileS3, WhatItSaysIsNotRepeatedUnlessItIsAWord) {
  const ScriptedServer server(saying(
      answer("403 Forbidden", "<Error><Code>x\n\x1b[2Jrm -rf</Code><Message>y</Message></Error>")));
  const Error error = fetch_error(server);
  EXPECT_EQ(error.code, ErrorCode::kDenied);
  EXPECT_EQ(error.message, "cannot fetch s3://bucket/chunks/aa/x: the service answers 403");
}

TEST(HostileS3, TheSecretIsInNoRequestAndNoError) {
  const ScriptedServer server(saying(answer("403 Forbidden", "")));
  EXPECT_THAT(fetch_error(server).message, Not(HasSubstr(std::string(kSecret))));
  EXPECT_EQ(store_at(server)->put("a", as_bytes("x")).error().code, ErrorCode::kDenied);
  for (const std::string& request : server.requests()) {
    EXPECT_THAT(request, HasSubstr("Credential=the-access-key/20261121/us-east-1/s3/"));
    EXPECT_THAT(request, Not(HasSubstr(std::string(kSecret))));
  }
}

TEST(HostileS3, ACopyThatFailsUnderWayIsNoRenewal) {
  const ScriptedServer server(
      saying(answer("200 OK", "<Error><Code>InternalError</Code></Error>")));
  EXPECT_EQ(store_at(server)->renew("chunks/aa/x").error().code, ErrorCode::kUnavailable);
}

// It removes whatever it is asked to, young or not, as services do that do not know the condition.
TEST(HostileS3, AServiceWithoutConditionsIsFoundOutBeforeItRemoves) {
  const ScriptedServer server([has_tried = false](os::SocketStream& stream) mutable {
    // PUT of the object to try it with, DELETE of it, HEAD that no longer finds it.
    say(stream, has_tried ? answer("404 Not Found", "") : answer("200 OK", ""));
    has_tried = true;
  });
  const auto removed = store_at(server)->remove("chunks/aa/x", 1h);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(removed.error().message, HasSubstr("overlooks x-amz-delete-if-unmodified-since"));
  for (const std::string& request : server.requests())
    EXPECT_THAT(request, Not(HasSubstr("chunks/aa/x")));
}

TEST(HostileS3, TriesAgainOnlyWhatMayPass) {
  const ScriptedServer busy(saying(answer("503 Slow Down", "")));
  EXPECT_EQ(store_at(busy, 3)->put("a", as_bytes("x")).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(busy.served(), 3);
  const ScriptedServer refuses(saying(answer("403 Forbidden", "")));
  EXPECT_EQ(store_at(refuses, 3)->put("a", as_bytes("x")).error().code, ErrorCode::kDenied);
  EXPECT_EQ(refuses.served(), 1);
  const ScriptedServer stalls([](os::SocketStream& stream) { hang(stream); });
  EXPECT_EQ(store_at(stalls, 3)->list_images().error().code, ErrorCode::kTimedOut);
  EXPECT_EQ(stalls.served(), 1);
}

}  // namespace
}  // namespace forerun
