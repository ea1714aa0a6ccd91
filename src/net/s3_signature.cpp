#include "net/s3_signature.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <ctime>

namespace forerun::net {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr size_t kDayLength = 8;  // of "20150830T123600Z"

using Mac = std::array<unsigned char, 32>;

Mac hmac_sha256(std::string_view key, std::string_view message) {
  Mac mac{};
  unsigned length = 0;
  const unsigned char* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                                   reinterpret_cast<const unsigned char*>(message.data()),
                                   message.size(), mac.data(), &length);
  FR_ASSERT(done != nullptr && length == mac.size(), "HMAC-SHA256 is part of every OpenSSL");
  return mac;
}

std::string_view text_of(const Mac& mac) {
  return {reinterpret_cast<const char*>(mac.data()), mac.size()};
}

std::string credential_scope(const std::string& date, const S3Scope& scope) {
  return fmt::format("{}/{}/{}/aws4_request", std::string_view(date).substr(0, kDayLength),
                     scope.region, scope.service);
}

std::string signed_names(const UnsignedRequest& request) {
  std::string names;
  for (const auto& [name, value] : request.headers) {
    if (!names.empty()) names += ';';
    names += name;
  }
  return names;
}

// Returns `value` without spaces at its ends, and with one for several in a row.
std::string trimmed(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == ' ' && (text.empty() || text.back() == ' ')) continue;
    text += c;
  }
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

}  // namespace

std::string percent_encoded(std::string_view text, bool keeps_slashes) {
  std::string encoded;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '~' || c == '-';
    if (is_plain || (c == '/' && keeps_slashes)) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string encoded_query(const std::map<std::string, std::string>& query) {
  std::map<std::string, std::string> sorted;  // encoding may change the order
  for (const auto& [name, value] : query)
    sorted.emplace(percent_encoded(name, false), percent_encoded(value, false));
  std::string encoded;
  for (const auto& [name, value] : sorted) {
    if (!encoded.empty()) encoded += '&';
    encoded += name + '=' + value;
  }
  return encoded;
}

std::string amz_date(int64_t unix_s) {
  return fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(static_cast<std::time_t>(unix_s)));
}

std::string canonical_request(const UnsignedRequest& request, std::string_view payload_sha256) {
  std::string text =
      fmt::format("{}\n{}\n{}\n", request.method, request.path, encoded_query(request.query));
  for (const auto& [name, value] : request.headers)
    text += fmt::format("{}:{}\n", name, trimmed(value));
  return text + fmt::format("\n{}\n{}", signed_names(request), payload_sha256);
}

std::string string_to_sign(std::string_view canonical_request, const std::string& date,
                           const S3Scope& scope) {
  return fmt::format("{}\n{}\n{}\n{}", kAlgorithm, date, credential_scope(date, scope),
                     sha256(as_bytes(canonical_request)).hex());
}

std::string signature_of(std::string_view string_to_sign, const std::string& date,
                         const S3Scope& scope, std::string_view secret_access_key) {
  const Mac day = hmac_sha256(fmt::format("AWS4{}", secret_access_key),
                              std::string_view(date).substr(0, kDayLength));
  const Mac region = hmac_sha256(text_of(day), scope.region);
  const Mac service = hmac_sha256(text_of(region), scope.service);
  const Mac key = hmac_sha256(text_of(service), "aws4_request");
  return Digest{hmac_sha256(text_of(key), string_to_sign)}.hex();
}

std::string authorization(const UnsignedRequest& request, std::string_view payload_sha256,
                          const std::string& date, const S3Scope& scope,
                          const S3Credentials& credentials) {
  const std::string to_sign =
      string_to_sign(canonical_request(request, payload_sha256), date, scope);
  return fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                     credentials.access_key_id, credential_scope(date, scope),
                     signed_names(request),
                     signature_of(to_sign, date, scope, credentials.secret_access_key));
}

std::vector<std::string> signed_headers(UnsignedRequest request, const Digest& payload,
                                        int64_t unix_s, const S3Scope& scope,
                                        const S3Credentials& credentials) {
  const std::string date = amz_date(unix_s);
  const std::string payload_sha256 = payload.hex();
  request.headers["x-amz-content-sha256"] = payload_sha256;
  request.headers["x-amz-date"] = date;
  if (!credentials.session_token.empty())
    request.headers["x-amz-security-token"] = credentials.session_token;
  std::vector<std::string> headers;
  for (const auto& [name, value] : request.headers)
    headers.push_back(fmt::format("{}: {}", name, value));
  headers.push_back("Authorization: " +
                    authorization(request, payload_sha256, date, scope, credentials));
  return headers;
}

}  // namespace forerun::net
