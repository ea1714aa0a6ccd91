// Against the examples that AWS publishes: "Signature Calculations for the Authorization Header"
// (S3's own, 24 May 2013) and the Signature Version 4 test suite (30 August 2015).
#include "net/s3_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::net {
namespace {

using testing::HasSubstr;

constexpr std::string_view kEmptySha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// S3's examples.
constexpr int64_t kMay2013 = 1369353600;  // 2013-05-24T00:00:00Z
const S3Credentials kExample{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                             ""};

std::string signature_of_example(UnsignedRequest request, std::string_view payload = kEmptySha256) {
  request.headers["host"] = "examplebucket.s3.amazonaws.com";
  request.headers["x-amz-content-sha256"] = payload;
  request.headers["x-amz-date"] = "20130524T000000Z";
  const std::string value =
      authorization(request, payload, amz_date(kMay2013), {.region = "us-east-1"}, kExample);
  return value.substr(value.find("Signature=") + 10);
}

TEST(S3Signature, SignsAGetWithARange) {
  EXPECT_EQ(signature_of_example(
                {.method = "GET", .path = "/test.txt", .headers = {{"range", "bytes=0-9"}}}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(S3Signature, SignsAPutWithItsBody) {
  const std::string payload = sha256(as_bytes("Welcome to Amazon S3.")).hex();
  EXPECT_EQ(signature_of_example({.method = "PUT",
                                  .path = "/" + percent_encoded("test$file.text", true),
                                  .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                              {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}},
                                 payload),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(S3Signature, SignsAQueryWithoutAValue) {
  EXPECT_EQ(signature_of_example({.method = "GET", .path = "/", .query = {{"lifecycle", ""}}}),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST(S3Signature, SignsAList) {
  EXPECT_EQ(signature_of_example(
                {.method = "GET", .path = "/", .query = {{"max-keys", "2"}, {"prefix", "J"}}}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

// The test suite.
constexpr int64_t kAugust2015 = 1440938160;  // 2015-08-30T12:36:00Z
const S3Scope kSuite{"us-east-1", "service"};
const S3Credentials kSuiteCredentials{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                      ""};

std::string suite_authorization(UnsignedRequest request) {
  request.headers.emplace("host", "example.amazonaws.com");
  request.headers.emplace("x-amz-date", "20150830T123600Z");
  return authorization(request, kEmptySha256, amz_date(kAugust2015), kSuite, kSuiteCredentials);
}

TEST(S3Signature, GetVanilla) {
  const UnsignedRequest request{
      .method = "GET",
      .path = "/",
      .headers = {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}}};
  const std::string canonical = canonical_request(request, kEmptySha256);
  EXPECT_EQ(canonical,
            "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
            "host;x-amz-date\n"
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(string_to_sign(canonical, "20150830T123600Z", kSuite),
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n"
            "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63");
  EXPECT_EQ(suite_authorization(request),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date, "
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST(S3Signature, GetVanillaQueryOrderKeyCase) {
  EXPECT_THAT(
      suite_authorization(
          {.method = "GET", .path = "/", .query = {{"Param2", "value2"}, {"Param1", "value1"}}}),
      HasSubstr("Signature="
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"));
}

TEST(S3Signature, GetHeaderValueTrim) {
  EXPECT_THAT(suite_authorization(
                  {.method = "GET",
                   .path = "/",
                   .headers = {{"my-header1", " value1"}, {"my-header2", " \"a   b   c\""}}}),
              HasSubstr("SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature="
                        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"));
}

TEST(S3Signature, PostVanilla) {
  EXPECT_THAT(suite_authorization({.method = "POST", .path = "/"}),
              HasSubstr("Signature="
                        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"));
}

TEST(S3Signature, EncodesWhatAQueryMayHold) {
  EXPECT_EQ(encoded_query({{"prefix", "a/b c+d&e=ü"}, {"list-type", "2"}}),
            "list-type=2&prefix=a%2Fb%20c%2Bd%26e%3D%C3%BC");
  EXPECT_EQ(percent_encoded("a/b~c._-%", true), "a/b~c._-%25");
}

TEST(S3Signature, OrdersAQueryByItsEncodedNames) {
  EXPECT_EQ(encoded_query({{"a-", "1"}, {"a/", "2"}}), "a%2F=2&a-=1");
}

TEST(S3Signature, SendsTheSessionAndSignsIt) {
  const S3Credentials session{"AKIDEXAMPLE", "secret", "token"};
  const std::vector<std::string> headers =
      signed_headers({.method = "GET", .path = "/", .headers = {{"host", "h"}}}, sha256({}),
                     kAugust2015, kSuite, session);
  EXPECT_THAT(headers, testing::IsSupersetOf({"host: h", "x-amz-security-token: token",
                                              "x-amz-date: 20150830T123600Z"}));
  EXPECT_THAT(headers.back(),
              HasSubstr("host;x-amz-content-sha256;x-amz-date;x-amz-security-token"));
}

TEST(S3Signature, HasNoHeaderWithTheSecret) {
  for (const std::string& header : signed_headers({.method = "GET", .path = "/"}, sha256({}),
                                                  kMay2013, {.region = "r"}, kExample)) {
    EXPECT_THAT(header, testing::Not(HasSubstr(kExample.secret_access_key)));
  }
}

}  // namespace
}  // namespace forerun::net
