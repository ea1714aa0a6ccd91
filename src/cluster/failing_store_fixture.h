// A store that can be away.
#pragma once

#include "cluster/sqlite_state_store.h"

namespace forerun::cluster {

class FailingStore final : public StateStore {
 public:
  explicit FailingStore(const Clock& clock)
      : store_(std::move(*SqliteStateStore::open({":memory:"}, clock))) {}

  bool is_away = false;

  Result<std::optional<KeyValue>> get(const std::string& key) override {
    FR_CHECK(answers());
    return store_->get(key);
  }
  Result<Listing> list(const std::string& prefix) override {
    FR_CHECK(answers());
    return store_->list(prefix);
  }
  Result<Committed> commit(const Transaction& transaction) override {
    FR_CHECK(answers());
    return store_->commit(transaction);
  }
  Result<Lease> grant(Nanos ttl) override {
    FR_CHECK(answers());
    return store_->grant(ttl);
  }
  Result<Nanos> keep_alive(LeaseId lease) override {
    FR_CHECK(answers());
    return store_->keep_alive(lease);
  }
  Status revoke(LeaseId lease) override {
    FR_CHECK(answers());
    return store_->revoke(lease);
  }
  Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after) override {
    FR_CHECK(answers());
    return store_->watch(prefix, after);
  }
  Status compact(Revision revision) override { return store_->compact(revision); }

 private:
  Status answers() const {
    return is_away ? fail(ErrorCode::kUnavailable, "the store is away") : Status{};
  }

  const std::unique_ptr<SqliteStateStore> store_;
};

}  // namespace forerun::cluster
