// The state of a cluster of one host, in an SQLite file that one process uses at a time. What was
// committed survives a power cut.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>

#include "cluster/state_store.h"
#include "store/sqlite.h"

namespace forerun::cluster {

struct SqliteStateStoreOptions {
  std::string path;  // of the file; its folder is there
  // Beyond either the oldest events are forgotten, as by compact().
  int64_t revisions_kept_max = 10'000;
  uint64_t event_bytes_max = 32 << 20;
};

// Leases live as long as this object: whoever held one from before is gone, so opening the file
// removes the keys of all. Thread-safe.
class SqliteStateStore final : public StateStore {
 public:
  // ERRORS: kUnavailable: another process has it open; kIo, kNoSpace; kCorrupt, kUnsupported: it is
  // none, or of another version.
  static Result<std::unique_ptr<SqliteStateStore>> open(SqliteStateStoreOptions options,
                                                        const Clock& clock);
  ~SqliteStateStore() override;

  Result<std::optional<KeyValue>> get(const std::string& key) override;
  Result<Listing> list(const std::string& prefix) override;
  Result<Committed> commit(const Transaction& transaction) override;
  Result<Lease> grant(Nanos ttl) override;
  Result<Nanos> keep_alive(LeaseId lease) override;
  Status revoke(LeaseId lease) override;
  Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after) override;
  Status compact(Revision revision) override;

 private:
  class StoreWatch;
  struct Held {
    Nanos ttl{};
    Time until{};
  };

  SqliteStateStore(SqliteStateStoreOptions options, const Clock& clock)
      : options_(std::move(options)), clock_(clock) {}
  // REQUIRES, all: mutex_ is held.
  Status load();
  Status create();
  Result<std::optional<KeyValue>> find(const std::string& key);
  Result<bool> holds(const Condition& condition);
  // Begins a transaction, makes the changes as the next revision, and commits; nothing is changed
  // if there is nothing to change.
  Status apply(const std::vector<Change>& changes);
  Status apply(const Change& change, Revision revision);
  Result<std::vector<std::string>> keys_of(LeaseId lease);
  Status end_lease(LeaseId lease);
  Status expire();
  Status forget(Revision until);
  Status forget_surplus();
  Result<Batch> events_after(const std::string& prefix, Revision after);

  const SqliteStateStoreOptions options_;
  const Clock& clock_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::unique_ptr<store::Database> database_;
  Revision revision_ = 1, compacted_ = 1;
  uint64_t event_bytes_ = 0;
  LeaseId last_lease_ = 0;
  std::map<LeaseId, Held> leases_;
  uint32_t events_added_ = 0;  // of the transaction that is under way
};

}  // namespace forerun::cluster
