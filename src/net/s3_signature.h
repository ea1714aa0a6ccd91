// Signatures of requests to S3: AWS Signature Version 4, in the Authorization header.
// SOURCE: AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
// Pure: the time is passed in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/id.h"

namespace forerun::net {

// Never logged, never in an error.
struct S3Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty: none
  bool operator==(const S3Credentials&) const = default;
};

struct S3Scope {
  std::string region;
  std::string service = "s3";
};

struct UnsignedRequest {
  std::string method;  // "GET"
  std::string path;    // as it is sent: percent-encoded once, beginning with '/'
  std::map<std::string, std::string> query;    // not encoded
  std::map<std::string, std::string> headers;  // lower-case names, "host" among them
};

// Returns `text` with all but [A-Za-z0-9._~-] as %XX; '/' too unless it is kept.
std::string percent_encoded(std::string_view text, bool keeps_slashes);
// Returns the query as it is sent and signed: encoded, in the order of its encoded names.
std::string encoded_query(const std::map<std::string, std::string>& query);
// Returns `unix_s` as "20150830T123600Z".
std::string amz_date(int64_t unix_s);

// The steps, for tests and for whoever compares them with what a server says it signed.
std::string canonical_request(const UnsignedRequest& request, std::string_view payload_sha256);
std::string string_to_sign(std::string_view canonical_request, const std::string& date,
                           const S3Scope& scope);
// Returns 64 hex digits.
std::string signature_of(std::string_view string_to_sign, const std::string& date,
                         const S3Scope& scope, std::string_view secret_access_key);
// Returns the value of the Authorization header for a request that holds every header it signs,
// "x-amz-date" (`date`) among them.
std::string authorization(const UnsignedRequest& request, std::string_view payload_sha256,
                          const std::string& date, const S3Scope& scope,
                          const S3Credentials& credentials);

// Returns the headers ("name: value") to send `request` with: its own, and x-amz-content-sha256,
// x-amz-date, x-amz-security-token if there is a session, Authorization. All but the last are
// signed, and so is the body through its digest.
std::vector<std::string> signed_headers(UnsignedRequest request, const Digest& payload,
                                        int64_t unix_s, const S3Scope& scope,
                                        const S3Credentials& credentials);

}  // namespace forerun::net
