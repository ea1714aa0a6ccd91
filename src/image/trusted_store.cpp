#include "image/trusted_store.h"

#include "image/signed_tag.h"

namespace forerun::image {
namespace {

Result<Buffer> fetch_trusted(repository::Source& source, const repository::TrustPolicy& policy,
                             const std::string& path, size_t size_max) {
  FR_TRY(Buffer data, source.fetch(path, size_max));
  if (is_tag_path(path)) FR_CHECK(check_tag(policy, path, data));
  return data;
}

}  // namespace

Result<Buffer> TrustedSource::fetch(const std::string& path, size_t size_max) {
  return fetch_trusted(source_, policy_, path, size_max);
}

Result<Buffer> TrustedStore::fetch(const std::string& path, size_t size_max) {
  return fetch_trusted(store_, policy_, path, size_max);
}

Status TrustedStore::put(const std::string& path, ByteView data) {
  if (!key_ || !is_tag_path(path)) return store_.put(path, data);
  FR_TRY(const TagClaim claim, read_claim(path, data));
  if (claim.signature) return store_.put(path, data);
  FR_TRY(const auto signature, repository::sign(*key_, as_bytes(claim.statement())));
  FR_TRY(const std::string tag, with_signature(path, data, signature));
  return store_.put(path, as_bytes(tag));
}

}  // namespace forerun::image
