// Keys as people write them: "ed25519:" and 64 hex digits; "ed25519-private:" and 64.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "repository/signature.h"

namespace forerun::repository {

std::string key_text(const PublicKey& key);
std::string key_text(const PrivateKey& key);

// ERRORS: kInvalid; of a private key nothing is repeated.
Result<PublicKey> parse_public_key_text(std::string_view text);
Result<PrivateKey> parse_private_key_text(std::string_view text);

// Returns a new key, from OpenSSL's source of randomness.
Result<PrivateKey> generate_private_key();

}  // namespace forerun::repository
