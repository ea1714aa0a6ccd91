#include "cluster/sqlite_state_store.h"

#include <algorithm>

#include "cluster/keys.h"

namespace forerun::cluster {

using store::Statement;

namespace {

constexpr int kVersion = 1;
// Of one batch of a watch; whole revisions.
constexpr size_t kBatchEventsMax = 1000;
constexpr size_t kBatchBytesMax = 8 << 20;

// `state` has one row. `lease` is the last that was given.
constexpr const char* kSchema = R"(
  CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), revision INTEGER NOT NULL,
                     compacted INTEGER NOT NULL);
  CREATE TABLE entries(key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL,
                       modified INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX entries_of_leases ON entries(lease) WHERE lease != 0;
  CREATE TABLE events(revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
                      created INTEGER NOT NULL, lease INTEGER NOT NULL,
                      PRIMARY KEY(revision, key)) WITHOUT ROWID;
)";

std::string as_string(ByteView bytes) { return std::string(as_text(bytes)); }

}  // namespace

// Reads the kept events; the store wakes it.
class SqliteStateStore::StoreWatch final : public Watch {
 public:
  StoreWatch(SqliteStateStore& store, std::string prefix, Revision after)
      : store_(store), prefix_(std::move(prefix)), after_(after) {}

  Result<Batch> next(Nanos timeout) override {
    std::unique_lock lock(store_.mutex_);
    const Time deadline = store_.clock_.now() + timeout;
    for (;;) {
      if (is_stopped_) return fail(ErrorCode::kUnavailable, "the watch was stopped");
      FR_CHECK(store_.expire());
      FR_TRY(Batch batch, store_.events_after(prefix_, after_));
      if (batch.is_compacted) return batch;
      if (!batch.events.empty()) {
        after_ = batch.events.back().entry.modified;
        return batch;
      }
      after_ = std::max(after_, store_.revision_);
      const Time now = store_.clock_.now();
      if (now >= deadline) return batch;
      Time wake = deadline;
      for (const auto& [id, held] : store_.leases_) wake = std::min(wake, held.until);
      store_.changed_.wait_for(lock, std::max<Nanos>(wake - now, std::chrono::milliseconds(1)));
    }
  }

  void stop() override {
    {
      const std::lock_guard lock(store_.mutex_);
      is_stopped_ = true;
    }
    store_.changed_.notify_all();
  }

 private:
  SqliteStateStore& store_;
  const std::string prefix_;
  Revision after_;           // of one thread, under the store's lock
  bool is_stopped_ = false;  // guarded by the store's lock
};

SqliteStateStore::~SqliteStateStore() = default;

Result<std::unique_ptr<SqliteStateStore>> SqliteStateStore::open(SqliteStateStoreOptions options,
                                                                 const Clock& clock) {
  std::unique_ptr<SqliteStateStore> opened(new SqliteStateStore(std::move(options), clock));
  const std::lock_guard lock(opened->mutex_);
  FR_TRY(opened->database_, store::Database::open(opened->options_.path, "cluster state"));
  FR_CHECK(opened->load());
  return opened;
}

Status SqliteStateStore::create() {
  FR_TRY(const int64_t tables, database_->number("SELECT count(*) FROM sqlite_master"));
  if (tables != 0)
    return fail(ErrorCode::kCorrupt, fmt::format("{} is no cluster state", options_.path));
  const std::string text =
      fmt::format("BEGIN; {} INSERT INTO state VALUES(1, 1, 1); PRAGMA user_version = {}; COMMIT",
                  kSchema, kVersion);
  return database_->run(text.c_str());
}

Status SqliteStateStore::load() {
  // A second process would hand out the same revisions: it is refused at once.
  FR_CHECK(database_->run("PRAGMA busy_timeout = 0"));
  FR_CHECK(database_->run("PRAGMA locking_mode = EXCLUSIVE"));
  FR_CHECK(database_->run("PRAGMA journal_mode = WAL"));
  FR_CHECK(database_->run("PRAGMA synchronous = FULL"));  // a token that was given stays given
  FR_TRY(const int64_t version, database_->number("PRAGMA user_version"));
  if (version == 0) FR_CHECK(create());
  if (version != 0 && version != kVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("cluster state {} is of version {}, this program knows {}",
                            options_.path, version, kVersion));
  FR_TRY(revision_, database_->number("SELECT revision FROM state"));
  FR_TRY(compacted_, database_->number("SELECT compacted FROM state"));
  FR_TRY(const int64_t bytes,
         database_->number("SELECT coalesce(sum(length(value)), 0) FROM events"));
  event_bytes_ = static_cast<uint64_t>(bytes);
  last_lease_ = revision_ << 16;  // so that no lease of an earlier run is taken for one of this
  std::vector<Change> orphans;
  auto held = database_->prepare("SELECT key FROM entries WHERE lease != 0");
  auto step = held.step();
  for (; step == Statement::Step::kRow; step = held.step())
    orphans.push_back({held.text(0), std::nullopt});
  if (step != Statement::Step::kDone) return database_->error("read leases");
  return apply(orphans);
}

Result<std::optional<KeyValue>> SqliteStateStore::find(const std::string& key) {
  auto query =
      database_->prepare("SELECT value, created, modified, lease FROM entries WHERE key = ?");
  const auto step = query.bind(1, key).step();
  if (step == Statement::Step::kFailed) return database_->error("read a key");
  if (step == Statement::Step::kDone) return std::nullopt;
  return KeyValue{key, as_string(query.bytes(0)), query.number(1), query.number(2),
                  query.number(3)};
}

Result<std::optional<KeyValue>> SqliteStateStore::get(const std::string& key) {
  FR_CHECK(check_key(key));
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  return find(key);
}

Result<Listing> SqliteStateStore::list(const std::string& prefix) {
  FR_CHECK(check_key(prefix));
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  Listing listing{revision_, {}};
  size_t bytes = 0;
  auto query = database_->prepare(
      "SELECT key, value, created, modified, lease FROM entries "
      "WHERE key >= ? AND key < ? ORDER BY key");
  query.bind(1, prefix).bind(2, end_of_prefix(prefix));
  auto step = query.step();
  for (; step == Statement::Step::kRow; step = query.step()) {
    listing.entries.push_back({query.text(0), as_string(query.bytes(1)), query.number(2),
                               query.number(3), query.number(4)});
    bytes += listing.entries.back().value.size();
    if (listing.entries.size() > kListEntriesMax || bytes > kListBytesMax)
      return fail(ErrorCode::kTooLarge, fmt::format("too much is kept under {}", prefix));
  }
  if (step != Statement::Step::kDone) return database_->error("read keys");
  return listing;
}

Result<bool> SqliteStateStore::holds(const Condition& condition) {
  FR_TRY(const auto found, find(condition.key));
  if (!found) return condition.revision == 0;
  const bool is_created = condition.on == Condition::On::kCreated;
  return (is_created ? found->created : found->modified) == condition.revision;
}

Result<Committed> SqliteStateStore::commit(const Transaction& transaction) {
  FR_CHECK(check(transaction));
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  for (const Change& change : transaction.changes)
    if (change.lease != 0 && !leases_.contains(change.lease))
      return fail(ErrorCode::kNotFound, fmt::format("lease {} has ended", change.lease));
  for (const Condition& condition : transaction.conditions) {
    FR_TRY(const bool is_met, holds(condition));
    if (!is_met) return Committed{false, revision_};
  }
  FR_CHECK(apply(transaction.changes));
  return Committed{true, revision_};
}

Status SqliteStateStore::apply(const std::vector<Change>& changes) {
  if (changes.empty()) return {};
  const Revision next = revision_ + 1;
  const uint64_t bytes_before = event_bytes_;
  events_added_ = 0;
  FR_CHECK(database_->run("BEGIN IMMEDIATE"));
  const Status done = [&]() -> Status {
    for (const Change& change : changes) FR_CHECK(apply(change, next));
    if (events_added_ == 0) return {};
    auto counted = database_->prepare("UPDATE state SET revision = ?");
    return database_->finish(counted.bind(1, next), "count a revision");
  }();
  const Status committed = done ? database_->run("COMMIT") : done;
  if (!committed) {
    [[maybe_unused]] const auto undone = database_->run("ROLLBACK");
    event_bytes_ = bytes_before;
    return committed;
  }
  if (events_added_ == 0) return {};
  revision_ = next;
  changed_.notify_all();
  return forget_surplus();
}

Status SqliteStateStore::apply(const Change& change, Revision revision) {
  FR_TRY(const auto before, find(change.key));
  if (!change.value && !before) return {};
  const Revision created = before && change.value ? before->created : change.value ? revision : 0;
  auto event = database_->prepare("INSERT INTO events VALUES(?, ?, ?, ?, ?)");
  event.bind(1, revision).bind(2, change.key).bind(4, created).bind(5, change.lease);
  if (change.value) event.bind(3, as_bytes(*change.value));
  FR_CHECK(database_->finish(event, "add an event"));
  ++events_added_;
  event_bytes_ += change.value ? change.value->size() : 0;
  if (!change.value) {
    auto removal = database_->prepare("DELETE FROM entries WHERE key = ?");
    return database_->finish(removal.bind(1, change.key), "remove a key");
  }
  auto put = database_->prepare("INSERT OR REPLACE INTO entries VALUES(?, ?, ?, ?, ?)");
  put.bind(1, change.key).bind(2, as_bytes(*change.value)).bind(3, created).bind(4, revision);
  return database_->finish(put.bind(5, change.lease), "put a key");
}

Result<std::vector<std::string>> SqliteStateStore::keys_of(LeaseId lease) {
  std::vector<std::string> keys;
  auto query = database_->prepare("SELECT key FROM entries WHERE lease = ?1 AND lease != 0");
  query.bind(1, lease);
  auto step = query.step();
  for (; step == Statement::Step::kRow; step = query.step()) keys.push_back(query.text(0));
  if (step != Statement::Step::kDone) return database_->error("read the keys of a lease");
  return keys;
}

Status SqliteStateStore::end_lease(LeaseId lease) {
  FR_TRY(const auto keys, keys_of(lease));
  std::vector<Change> removals;
  for (const std::string& key : keys) removals.push_back({key, std::nullopt});
  FR_CHECK(apply(removals));
  leases_.erase(lease);
  return {};
}

Status SqliteStateStore::expire() {
  if (leases_.empty()) return {};
  const Time now = clock_.now();
  std::vector<LeaseId> due;
  for (const auto& [id, held] : leases_)
    if (held.until <= now) due.push_back(id);
  for (const LeaseId id : due) FR_CHECK(end_lease(id));
  return {};
}

Result<Lease> SqliteStateStore::grant(Nanos ttl) {
  FR_CHECK(check_ttl(ttl));
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  const Nanos whole = std::chrono::ceil<std::chrono::seconds>(ttl);
  leases_[++last_lease_] = {whole, clock_.now() + whole};
  return Lease{last_lease_, whole};
}

Result<Nanos> SqliteStateStore::keep_alive(LeaseId lease) {
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  const auto held = leases_.find(lease);
  if (held == leases_.end())
    return fail(ErrorCode::kNotFound, fmt::format("lease {} has ended", lease));
  held->second.until = clock_.now() + held->second.ttl;
  return held->second.ttl;
}

Status SqliteStateStore::revoke(LeaseId lease) {
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  if (!leases_.contains(lease))
    return fail(ErrorCode::kNotFound, fmt::format("lease {} has ended", lease));
  return end_lease(lease);
}

Result<std::unique_ptr<Watch>> SqliteStateStore::watch(const std::string& prefix, Revision after) {
  FR_CHECK(check_key(prefix));
  return std::make_unique<StoreWatch>(*this, prefix, after);
}

Result<Batch> SqliteStateStore::events_after(const std::string& prefix, Revision after) {
  if (after < compacted_ && after < revision_) return Batch{true, {}};
  Batch batch;
  size_t bytes = 0;
  auto query = database_->prepare(
      "SELECT revision, key, value IS NULL, value, created, lease FROM events "
      "WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, key");
  query.bind(1, after).bind(2, prefix).bind(3, end_of_prefix(prefix));
  auto step = query.step();
  for (; step == Statement::Step::kRow; step = query.step()) {
    const bool is_next =
        batch.events.empty() || batch.events.back().entry.modified != query.number(0);
    if (is_next && (batch.events.size() >= kBatchEventsMax || bytes >= kBatchBytesMax))
      return batch;
    Event& event = batch.events.emplace_back();
    event.is_removal = query.number(2) != 0;
    event.entry = {query.text(1), as_string(query.bytes(3)), query.number(4), query.number(0),
                   query.number(5)};
    bytes += event.entry.value.size();
  }
  if (step != Statement::Step::kDone) return database_->error("read events");
  return batch;
}

Status SqliteStateStore::compact(Revision revision) {
  const std::lock_guard lock(mutex_);
  FR_CHECK(expire());
  if (revision > revision_)
    return fail(ErrorCode::kInvalid,
                fmt::format("revision {} is to come: the last is {}", revision, revision_));
  return revision > compacted_ ? forget(revision) : Status{};
}

Status SqliteStateStore::forget(Revision until) {
  FR_CHECK(database_->run("BEGIN IMMEDIATE"));
  auto drop = database_->prepare("DELETE FROM events WHERE revision <= ?");
  auto note = database_->prepare("UPDATE state SET compacted = ?");
  Status done = database_->finish(drop.bind(1, until), "forget events");
  if (done) done = database_->finish(note.bind(1, until), "forget events");
  if (done) done = database_->run("COMMIT");
  if (!done) {
    [[maybe_unused]] const auto undone = database_->run("ROLLBACK");
    return done;
  }
  compacted_ = until;
  FR_TRY(const int64_t bytes,
         database_->number("SELECT coalesce(sum(length(value)), 0) FROM events"));
  event_bytes_ = static_cast<uint64_t>(bytes);
  changed_.notify_all();
  return {};
}

// Forgets half of what is kept at a time, so that not every commit pays for it.
Status SqliteStateStore::forget_surplus() {
  while (compacted_ < revision_ && (revision_ - compacted_ > options_.revisions_kept_max ||
                                    event_bytes_ > options_.event_bytes_max))
    FR_CHECK(forget(compacted_ + (revision_ - compacted_ + 1) / 2));
  return {};
}

}  // namespace forerun::cluster
