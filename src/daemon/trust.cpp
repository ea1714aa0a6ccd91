#include "daemon/trust.h"

#include "os/file.h"
#include "repository/key_text.h"

namespace forerun::daemon {
namespace {

constexpr size_t kKeyFileBytesMax = 4096;

Result<std::string> first_line(const std::string& path) {
  FR_TRY(const Buffer text, os::read_file(path, kKeyFileBytesMax));
  const std::string_view all = as_text(text);
  return std::string(all.substr(0, all.find('\n')));
}

// Of keys as they are written, or of files that hold one.
Result<std::vector<repository::PublicKey>> load_keys(const std::vector<std::string>& entries,
                                                     std::string_view name) {
  std::vector<repository::PublicKey> keys;
  for (const std::string& entry : entries) {
    std::string text = entry;
    if (entry.starts_with('/')) {
      auto line = first_line(entry);
      if (!line) return std::unexpected(std::move(line.error()).within(name));
      text = std::move(*line);
    }
    auto key = repository::parse_public_key_text(text);
    if (!key)
      return std::unexpected(std::move(key.error()).within(fmt::format("{}: {}", name, entry)));
    keys.push_back(*key);
  }
  return keys;
}

}  // namespace

repository::TrustPolicy Trust::policy_of(const RepositoryConfig& repository) const {
  // Who can write into a folder of this host can write into the tier, too.
  const bool is_folder = !repository.path.empty();
  return {trusted, revoked, repository.allow_unsigned.value_or(is_folder)};
}

Result<Trust> load_trust(const Config& config) {
  Trust trust;
  FR_TRY(trust.trusted, load_keys(config.trust_keys, "trust.keys"));
  FR_TRY(trust.revoked, load_keys(config.trust_revoked, "trust.revoked"));
  if (config.trust_signing_key.empty()) return trust;
  auto line = first_line(config.trust_signing_key);
  if (!line) return std::unexpected(std::move(line.error()).within("trust.signing_key"));
  auto key = repository::parse_private_key_text(*line);
  if (!key)
    return std::unexpected(
        std::move(key.error()).within("trust.signing_key: " + config.trust_signing_key));
  trust.signing_key = *key;
  FR_TRY(const auto own, repository::public_key_of(*key));
  trust.trusted.push_back(own);
  return trust;
}

}  // namespace forerun::daemon
