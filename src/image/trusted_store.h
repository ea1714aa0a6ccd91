// Repositories as a host believes them: a name becomes a digest only by fetching its tag, and no
// tag that the policy refuses comes out of these. docs/decisions/0014-trust.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "repository/signature.h"
#include "repository/source.h"

namespace forerun::image {

// The source behind it outlives it. Thread-safe. ERRORS of fetch: also kDenied for tags, and what
// signed_tag.h says of damaged ones.
class TrustedSource final : public repository::Source {
 public:
  TrustedSource(repository::Source& source, repository::TrustPolicy policy)
      : source_(source), policy_(std::move(policy)) {}

  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  Result<std::vector<std::string>> list_images() override { return source_.list_images(); }
  std::string_view name() const override { return source_.name(); }

 private:
  repository::Source& source_;
  const repository::TrustPolicy policy_;
};

// The same of a store. With a key, a tag that is put there without a signature gets one.
class TrustedStore final : public repository::Store {
 public:
  TrustedStore(repository::Store& store, repository::TrustPolicy policy,
               std::optional<repository::PrivateKey> key)
      : store_(store), policy_(std::move(policy)), key_(key) {}

  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  Result<std::vector<std::string>> list_images() override { return store_.list_images(); }
  std::string_view name() const override { return store_.name(); }
  bool contains(const std::string& path) override { return store_.contains(path); }
  Status put(const std::string& path, ByteView data) override;
  Status flush() override { return store_.flush(); }
  Result<repository::StoreTime> now() override { return store_.now(); }
  Status list(const std::string& folder, const Visit& visit) override {
    return store_.list(folder, visit);
  }
  Status renew(const std::string& path) override { return store_.renew(path); }
  Result<bool> remove(const std::string& path, repository::StoreTime newest) override {
    return store_.remove(path, newest);
  }

 private:
  repository::Store& store_;
  const repository::TrustPolicy policy_;
  const std::optional<repository::PrivateKey> key_;
};

}  // namespace forerun::image
