// Where a cluster keeps what all its hosts must agree on: keys with revisions, changed by
// compare-and-swap, held under leases, and watched. One contract for one host (SQLite) and for many
// (etcd); contract_test.cpp holds both to it. Its terms are those of etcd's API v3.
// Never on the way of a guest's request, and never for metrics.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace forerun::cluster {

// Counts the store's changes, from 1; 0 is before the first.
using Revision = int64_t;
using LeaseId = int64_t;  // 0: none

inline constexpr size_t kKeyBytesMax = 512;
inline constexpr size_t kValueBytesMax = 1 << 20;     // of all values of a transaction together
inline constexpr size_t kTransactionChangesMax = 64;  // and as many conditions
inline constexpr size_t kListEntriesMax = 100'000;    // of one list()
inline constexpr size_t kListBytesMax = 64 << 20;

struct KeyValue {
  std::string key, value;
  Revision created = 0;   // revision of the change that made the key; a new one after a removal
  Revision modified = 0;  // … and of the last change
  LeaseId lease = 0;      // the key goes when it ends
  bool operator==(const KeyValue&) const = default;
};

struct Listing {
  Revision revision = 0;  // of the state that was read
  std::vector<KeyValue> entries;
};

struct Condition {
  enum class On : uint8_t { kModified, kCreated };
  std::string key;
  On on = On::kModified;
  Revision revision = 0;  // that it must have; 0: there must be no such key
};

struct Change {
  std::string key;
  std::optional<std::string> value;  // nothing: the key is removed
  LeaseId lease = 0;
};

// All changes are made, as one revision, or none is. A key stands in one change at most.
struct Transaction {
  std::vector<Condition> conditions;
  std::vector<Change> changes;
};

struct Committed {
  bool is_applied = false;  // false: a condition did not hold, nothing was changed
  Revision revision = 0;    // of the store after it
};

struct Event {
  bool is_removal = false;
  KeyValue entry;  // of a removal: key and `modified` only
};

struct Batch {
  // What followed is not kept any more: list() anew, and watch from its revision.
  bool is_compacted = false;
  std::vector<Event> events;  // in the order of their revisions; empty: none came in time
};

// One thread, but for stop().
class Watch {
 public:
  virtual ~Watch() = default;
  // Returns the events that come next, each once, whole revisions at a time; waits for them up to
  // `timeout`. After an error, a call goes on where the last one ended. ERRORS: kUnavailable,
  // kTimedOut: the store does not answer, or stop() was called; kCorrupt.
  virtual Result<Batch> next(Nanos timeout) = 0;
  // Wakes next(), now and ever after. Any thread.
  virtual void stop() = 0;
};

struct Lease {
  LeaseId id = 0;
  Nanos ttl{};  // that the store gave; not less than was asked for
};

// Thread-safe. Calls block their thread, for a stated time at most: not for threads that a guest
// waits for. ERRORS of all calls: kUnavailable, kTimedOut: the store does not answer; kIo,
// kNoSpace, kCorrupt, kDenied; kTooLarge, kInvalid: beyond the limits above.
class StateStore {
 public:
  virtual ~StateStore() = default;

  virtual Result<std::optional<KeyValue>> get(const std::string& key) = 0;
  // Returns the keys that begin with `prefix`, in order, as of one revision.
  virtual Result<Listing> list(const std::string& prefix) = 0;
  // ERRORS: kNotFound: no such lease; after kTimedOut and kUnavailable it may have been applied.
  virtual Result<Committed> commit(const Transaction& transaction) = 0;

  // `ttl` is rounded up to whole seconds. ERRORS: kInvalid: not in 1 s … 1 h.
  virtual Result<Lease> grant(Nanos ttl) = 0;
  // Begins the lease's time anew; returns that time. ERRORS: kNotFound: it has ended.
  virtual Result<Nanos> keep_alive(LeaseId lease) = 0;
  // Ends it, and removes its keys. ERRORS: kNotFound.
  virtual Status revoke(LeaseId lease) = 0;

  // Returns a watch of the keys that begin with `prefix`, whose first event is the first after the
  // revision `after`. It must not outlive the store.
  virtual Result<std::unique_ptr<Watch>> watch(const std::string& prefix, Revision after) = 0;
  // Forgets the events up to `revision`. ERRORS: kInvalid: beyond the store's revision.
  virtual Status compact(Revision revision) = 0;
};

// Returns whether a transaction is within the limits, and sound. ERRORS: kInvalid, kTooLarge.
Status check(const Transaction& transaction);
Status check_key(const std::string& key);
// ERRORS: kInvalid.
Status check_ttl(Nanos ttl);

}  // namespace forerun::cluster
