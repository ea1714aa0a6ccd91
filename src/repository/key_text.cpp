#include "repository/key_text.h"

#include <fmt/format.h>
#include <openssl/rand.h>

namespace forerun::repository {
namespace {

constexpr std::string_view kPublicPrefix = "ed25519:";
constexpr std::string_view kPrivatePrefix = "ed25519-private:";

// Returns what follows `prefix`. ERRORS: kInvalid.
Result<std::string_view> after(std::string_view prefix, std::string_view text) {
  if (!text.starts_with(prefix))
    return fail(ErrorCode::kInvalid, fmt::format("a key of this kind begins with {}", prefix));
  return text.substr(prefix.size());
}

}  // namespace

std::string key_text(const PublicKey& key) { return fmt::format("{}{}", kPublicPrefix, key.hex()); }

std::string key_text(const PrivateKey& key) {
  std::string text(kPrivatePrefix);
  for (const uint8_t byte : key.bytes) text += fmt::format("{:02x}", byte);
  return text;
}

Result<PublicKey> parse_public_key_text(std::string_view text) {
  FR_TRY(const std::string_view digits, after(kPublicPrefix, text));
  return parse_public_key(digits);
}

Result<PrivateKey> parse_private_key_text(std::string_view text) {
  FR_TRY(const std::string_view digits, after(kPrivatePrefix, text));
  return parse_private_key(digits);
}

Result<PrivateKey> generate_private_key() {
  PrivateKey key;
  if (RAND_priv_bytes(key.bytes.data(), static_cast<int>(key.bytes.size())) != 1)
    return fail(ErrorCode::kInternal, "cannot make a key: OpenSSL refused");
  return key;
}

}  // namespace forerun::repository
