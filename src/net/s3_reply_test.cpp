#include "net/s3_reply.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::net {
namespace {

using testing::HasSubstr;

constexpr std::string_view kHead =
    R"(<?xml version="1.0" encoding="UTF-8"?>)"
    R"(<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>)";

std::string page_of(std::string_view content) {
  return fmt::format("{}{}</ListBucketResult>", kHead, content);
}
std::string object_of(std::string_view key, std::string_view size = "5",
                      std::string_view time = "2026-11-21T09:05:10.200Z") {
  return fmt::format(
      "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;5d&quot;</ETag>"
      "<Size>{}</Size><Owner><ID>me</ID></Owner></Contents>",
      key, time, size);
}
std::string refusal_of(const std::string& xml) {
  const auto page = parse_s3_list_page(xml);
  if (page) return "taken";
  EXPECT_EQ(page.error().code, ErrorCode::kCorrupt);
  return page.error().message;
}
constexpr std::string_view kEnd = "<IsTruncated>false</IsTruncated>";

TEST(S3Reply, ReadsAPage) {
  const auto page = parse_s3_list_page(page_of(fmt::format(
      "<EncodingType>url</EncodingType>{}{}{}", object_of("chunks%2Fab%2Fx"), object_of("i", "0"),
      "<IsTruncated>true</IsTruncated>"
      "<NextContinuationToken>i/&amp;</NextContinuationToken>")));
  ASSERT_TRUE(page) << page.error().message;
  const Nanos time = std::chrono::seconds(1795251910) + 200ms;
  EXPECT_EQ(page->objects, (std::vector<S3ListedObject>{{"chunks/ab/x", 5, time}, {"i", 0, time}}));
  EXPECT_EQ(page->next, "i/&");
}

TEST(S3Reply, DecodesKeysOnlyIfTheyAreEncoded) {
  EXPECT_EQ(parse_s3_list_page(page_of(object_of("a%2Fb") + std::string(kEnd)))->objects[0].key,
            "a%2Fb");
}

TEST(S3Reply, AnEmptyBucketHasAnEmptyPage) {
  const auto page = parse_s3_list_page(page_of(kEnd));
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->objects.empty());
  EXPECT_TRUE(page->next.empty());
}

TEST(S3Reply, RefusesWhatIsNoListing) {
  for (const char* xml : {"", "x", "<a>", "{}", "<ListBucketResult>", "<Other></Other>",
                          "<ListBucketResult></ListBucketResult>", "<a/><b/>"}) {
    EXPECT_THAT(refusal_of(xml), HasSubstr("listing is unusable")) << xml;
  }
}

TEST(S3Reply, RefusesDocumentTypes) {
  const std::string bomb =
      "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">"
      "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]>"
      "<ListBucketResult><Name>&c;</Name></ListBucketResult>";
  EXPECT_THAT(refusal_of(bomb), HasSubstr("document type"));
  EXPECT_EQ(s3_error_code("<!DOCTYPE x><Error><Code>NoSuchKey</Code></Error>"), "");
  EXPECT_THAT(refusal_of("<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><ListBucketResult/>"),
              HasSubstr("document type"));
}

TEST(S3Reply, RefusesDepthAndLength) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_THAT(refusal_of(page_of(deep)), HasSubstr("too deep"));
  EXPECT_THAT(refusal_of(page_of(object_of(std::string(5000, 'k')))), HasSubstr("too long"));
  EXPECT_THAT(refusal_of(page_of("<" + std::string(5000, 'n') + "/>")), HasSubstr("too long"));
  EXPECT_THAT(refusal_of(std::string(kS3ListPageBytesMax + 1, ' ')), HasSubstr("bytes"));
}

TEST(S3Reply, RefusesMoreObjectsThanItAskedFor) {
  std::string objects;
  for (size_t i = 0; i < kS3ListPageObjectsMax; ++i) objects += object_of(fmt::format("{:05}", i));
  EXPECT_TRUE(parse_s3_list_page(page_of(objects + std::string(kEnd))));
  EXPECT_THAT(refusal_of(page_of(objects + object_of("z") + std::string(kEnd))),
              HasSubstr("more objects"));
}

TEST(S3Reply, RefusesMalformedObjects) {
  for (const std::string& object :
       {object_of(""), object_of("a", "-1"), object_of("a", "5x"), object_of("a", ""),
        object_of("a", "99999999999999999999999"), object_of("a", "5", "yesterday"),
        std::string("<Contents><Key>a</Key></Contents>"), std::string("<Contents/>")}) {
    EXPECT_NE(refusal_of(page_of(object + std::string(kEnd))), "taken") << object;
  }
  EXPECT_THAT(refusal_of(page_of("<EncodingType>url</EncodingType>" + object_of("a%2") +
                                 std::string(kEnd))),
              HasSubstr("encoded"));
}

TEST(S3Reply, RefusesAPageThatGoesOnNowhere) {
  EXPECT_NE(refusal_of(page_of("<IsTruncated>maybe</IsTruncated>")), "taken");
  EXPECT_NE(refusal_of(page_of(object_of("a") + "<IsTruncated>true</IsTruncated>")), "taken");
  EXPECT_NE(refusal_of(page_of("<IsTruncated>true</IsTruncated>"
                               "<NextContinuationToken>x</NextContinuationToken>")),
            "taken");
}

TEST(S3Reply, ReadsTheCodeOfAnError) {
  EXPECT_EQ(s3_error_code("<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code>"
                          "<Message>m</Message></Error>"),
            "NoSuchKey");
}

TEST(S3Reply, RepeatsNoCodeThatIsNone) {
  for (const std::string& xml :
       {std::string("not xml"), std::string("<Error><Code></Code></Error>"),
        std::string("<Error><Code>a\nb</Code></Error>"), std::string("<Code>NoSuchKey</Code>"),
        "<Error><Code>" + std::string(65, 'a') + "</Code></Error>",
        std::string("<Error><Code>NoSuchKey</Code>")}) {
    EXPECT_EQ(s3_error_code(xml), "") << xml;
  }
}

TEST(S3Reply, ReadsTimes) {
  EXPECT_EQ(*parse_s3_time("1970-01-01T00:00:01Z"), 1s);
  EXPECT_EQ(*parse_s3_time("2024-02-29T23:59:59.999Z"), std::chrono::seconds(1709251199) + 999ms);
  for (const char* text : {"", "Z", "2026-11-21", "2026-11-21T09:05:10", "2026-13-21T09:05:10Z",
                           "2025-02-29T09:05:10Z", "2026-11-21T24:05:10Z", "2026-11-21T09:05:10.Z",
                           "2026-11-21T09:05:10.xZ", "2026-11-21 09:05:10Z", "9999-11-21T09:05:10Z",
                           "1969-12-31T23:59:59Z", "2026-11-21T09:05:10.0123456789Z"}) {
    EXPECT_FALSE(parse_s3_time(text)) << text;
  }
}

}  // namespace
}  // namespace forerun::net
