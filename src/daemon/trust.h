// Whom this host believes when a repository says what a name means: [trust] in the configuration,
// with the files it names read. docs/decisions/0014-trust.md.
#pragma once

#include <optional>
#include <vector>

#include "core/result.h"
#include "daemon/config.h"
#include "repository/signature.h"

namespace forerun::daemon {

struct Trust {
  std::vector<repository::PublicKey> trusted;
  std::vector<repository::PublicKey> revoked;
  std::optional<repository::PrivateKey> signing_key;

  // Returns what is believed of tags in that repository.
  repository::TrustPolicy policy_of(const RepositoryConfig& repository) const;
};

// ERRORS: kInvalid, kNotFound and others of reading a file, naming the key of the configuration.
Result<Trust> load_trust(const Config& config);

}  // namespace forerun::daemon
