// Who says that a name means an index: Ed25519 signatures of tags (RFC 8032, by OpenSSL). An index
// is named by its digest, and names its chunks by theirs, so a signed tag vouches for every byte.
//
// What is signed is a short text, not the tag's JSON: the path of the tag, the index, the time. So
// a signature can be moved neither to another name nor to another kind of object.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"

namespace forerun::repository {

struct PublicKey {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const PublicKey&) const = default;
  std::string hex() const;  // 64 digits
};
// The seed of RFC 8032. Whoever has it can sign.
struct PrivateKey {
  std::array<uint8_t, 32> bytes{};
};
struct Signature {
  PublicKey key;
  std::array<uint8_t, 64> value{};
  bool operator==(const Signature&) const = default;
  std::string value_hex() const;  // 128 digits
};

// ERRORS: kInvalid.
Result<PublicKey> parse_public_key(std::string_view hex);
Result<PrivateKey> parse_private_key(std::string_view hex);
Result<Signature> parse_signature(std::string_view key_hex, std::string_view value_hex);

Result<PublicKey> public_key_of(const PrivateKey& key);
Result<Signature> sign(const PrivateKey& key, ByteView message);
// Returns whether signature.key has signed `message`.
bool is_signed(const Signature& signature, ByteView message);

// Returns what is signed of the tag at `path` ("images/debian-12.json").
std::string tag_statement(std::string_view path, const Digest& index, std::string_view created);

// Whom this host believes.
struct TrustPolicy {
  std::vector<PublicKey> trusted;
  std::vector<PublicKey> revoked;  // refused even if trusted
  bool is_unsigned_allowed = false;
};

// Returns whether `statement` may be believed. A signature that is there must be right, also where
// unsigned tags are allowed. ERRORS: kDenied, saying why: unsigned, wrong, revoked, unknown key.
Status check_trust(const TrustPolicy& policy, std::string_view statement,
                   const std::optional<Signature>& signature);

}  // namespace forerun::repository
