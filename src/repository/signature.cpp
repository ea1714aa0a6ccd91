#include "repository/signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

namespace forerun::repository {
namespace {

using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using ContextPtr = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

std::unexpected<Error> openssl_failed(std::string_view attempted) {
  return fail(ErrorCode::kInternal, fmt::format("cannot {}: OpenSSL refused", attempted));
}

KeyPtr private_key(const PrivateKey& key) {
  return {
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, key.bytes.data(), key.bytes.size()),
      &EVP_PKEY_free};
}

const unsigned char* bytes_of(ByteView data) {
  return reinterpret_cast<const unsigned char*>(data.data());
}

std::string to_hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// Returns the value of a lower-case hex digit, or -1.
int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

template <size_t kSize>
Result<std::array<uint8_t, kSize>> from_hex(std::string_view what, std::string_view hex) {
  std::array<uint8_t, kSize> bytes{};
  bool is_good = hex.size() == 2 * kSize;
  for (size_t i = 0; is_good && i < kSize; ++i) {
    const int high = digit_of(hex[2 * i]);
    const int low = digit_of(hex[2 * i + 1]);
    is_good = high >= 0 && low >= 0;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  // Never repeats the text: it may be a private key.
  if (!is_good)
    return fail(ErrorCode::kInvalid,
                fmt::format("a {} has {} lower-case hex digits", what, 2 * kSize));
  return bytes;
}

}  // namespace

std::string PublicKey::hex() const { return to_hex(bytes); }
std::string Signature::value_hex() const { return to_hex(value); }

Result<PublicKey> parse_public_key(std::string_view hex) {
  FR_TRY(const auto bytes, from_hex<32>("public key", hex));
  return PublicKey{bytes};
}

Result<PrivateKey> parse_private_key(std::string_view hex) {
  FR_TRY(const auto bytes, from_hex<32>("private key", hex));
  return PrivateKey{bytes};
}

Result<Signature> parse_signature(std::string_view key_hex, std::string_view value_hex) {
  FR_TRY(const PublicKey key, parse_public_key(key_hex));
  FR_TRY(const auto value, from_hex<64>("signature", value_hex));
  return Signature{key, value};
}

Result<PublicKey> public_key_of(const PrivateKey& key) {
  const KeyPtr pair = private_key(key);
  PublicKey result;
  size_t size = result.bytes.size();
  if (pair == nullptr || EVP_PKEY_get_raw_public_key(pair.get(), result.bytes.data(), &size) != 1 ||
      size != result.bytes.size()) {
    return openssl_failed("tell the public key of a private one");
  }
  return result;
}

Result<Signature> sign(const PrivateKey& key, ByteView message) {
  Signature signature;
  FR_TRY(signature.key, public_key_of(key));
  const KeyPtr pair = private_key(key);
  const ContextPtr context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  size_t size = signature.value.size();
  if (pair == nullptr || context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, pair.get()) != 1 ||
      EVP_DigestSign(context.get(), signature.value.data(), &size, bytes_of(message),
                     message.size()) != 1 ||
      size != signature.value.size()) {
    return openssl_failed("sign");
  }
  return signature;
}

bool is_signed(const Signature& signature, ByteView message) {
  const auto& [key, value] = signature;
  const KeyPtr pair{
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.bytes.data(), key.bytes.size()),
      &EVP_PKEY_free};
  const ContextPtr context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  return pair != nullptr && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pair.get()) == 1 &&
         EVP_DigestVerify(context.get(), value.data(), value.size(), bytes_of(message),
                          message.size()) == 1;
}

std::string tag_statement(std::string_view path, const Digest& index, std::string_view created) {
  return fmt::format("forerun tag 1\n{}\n{}\n{}\n", path, index.hex(), created);
}

Status check_trust(const TrustPolicy& policy, std::string_view statement,
                   const std::optional<Signature>& signature) {
  if (!signature) {
    if (policy.is_unsigned_allowed) return {};
    return fail(ErrorCode::kDenied, "it is not signed");
  }
  const PublicKey& key = signature->key;
  if (std::ranges::find(policy.revoked, key) != policy.revoked.end())
    return fail(ErrorCode::kDenied, fmt::format("it is signed by the revoked key {}", key.hex()));
  const bool is_trusted = std::ranges::find(policy.trusted, key) != policy.trusted.end();
  if (!is_trusted && !policy.is_unsigned_allowed)
    return fail(ErrorCode::kDenied,
                fmt::format("it is signed by {}, which is not trusted here", key.hex()));
  if (!is_signed(*signature, as_bytes(statement)))
    return fail(ErrorCode::kDenied, fmt::format("its signature by {} is wrong", key.hex()));
  return {};
}

}  // namespace forerun::repository
