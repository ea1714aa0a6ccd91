#include "store/history_store.h"

#include <algorithm>
#include <set>

namespace forerun::store {

using telemetry::HistoryPoint;
using telemetry::kResolutionCount;
using telemetry::Resolution;
using telemetry::SeriesName;

namespace {

constexpr int kVersion = 1;
constexpr int64_t kDropInterval = 600;  // seconds from one look for old rows to the next
// Rows that are dropped at once when the file is too large.
constexpr int kDroppedAtOnce = 64;

constexpr const char* kSchema = R"(
  CREATE TABLE series(id INTEGER PRIMARY KEY, entity TEXT NOT NULL, metric TEXT NOT NULL,
                      UNIQUE(entity, metric));
  CREATE TABLE rows(resolution INTEGER NOT NULL, at INTEGER NOT NULL, points BLOB NOT NULL,
                    PRIMARY KEY(resolution, at)) WITHOUT ROWID;
)";

int64_t round_down(int64_t seconds, int64_t step) {
  const int64_t rest = ((seconds % step) + step) % step;
  return seconds - rest;
}

// Adds points of series that `row` has none of. Returns how many.
uint64_t add_absent(const std::vector<HistoryPoint>& points, std::vector<HistoryPoint>& row) {
  std::set<uint32_t> known;
  for (const HistoryPoint& point : row) known.insert(point.series);
  uint64_t added = 0;
  for (const HistoryPoint& point : points) {
    if (!known.insert(point.series).second) continue;
    row.push_back(point);
    ++added;
  }
  return added;
}

}  // namespace

HistoryStore::HistoryStore(HistoryStoreOptions options) : options_(std::move(options)) {}
HistoryStore::~HistoryStore() = default;

Result<std::unique_ptr<HistoryStore>> HistoryStore::open(const HistoryStoreOptions& options) {
  std::unique_ptr<HistoryStore> store(new HistoryStore(options));
  FR_TRY(store->database_, Database::open(options.path, "history"));
  FR_CHECK(store->load());
  return store;
}

Status HistoryStore::load() {
  FR_TRY(const int64_t version, database_->number("PRAGMA user_version"));
  if (version == 0) {
    FR_TRY(const int64_t tables, database_->number("SELECT count(*) FROM sqlite_master"));
    if (tables != 0)
      return fail(ErrorCode::kCorrupt, fmt::format("{} is no history", options_.path));
    FR_CHECK(database_->run("PRAGMA auto_vacuum = INCREMENTAL"));
  } else if (version != kVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("history {} is of version {}, this program knows {}", options_.path,
                            version, kVersion));
  }
  FR_CHECK(database_->run("PRAGMA journal_mode = WAL"));
  FR_CHECK(database_->run("PRAGMA synchronous = NORMAL"));
  if (version == 0) {
    const std::string create =
        fmt::format("BEGIN; {} PRAGMA user_version = {}; COMMIT", kSchema, kVersion);
    FR_CHECK(database_->run(create.c_str()));
  }
  auto names = database_->prepare("SELECT id, entity, metric FROM series");
  auto code = names.step();
  for (; code == Statement::Step::kRow; code = names.step())
    ids_[{names.text(1), names.text(2)}] = static_cast<uint32_t>(names.number(0));
  if (code != Statement::Step::kDone) return database_->error("read series");
  auto newest = database_->prepare("SELECT resolution, max(at) FROM rows GROUP BY resolution");
  for (code = newest.step(); code == Statement::Step::kRow; code = newest.step()) {
    const int64_t at = newest.number(0);
    if (at < 0 || at >= static_cast<int64_t>(kResolutionCount))
      return fail(ErrorCode::kCorrupt, fmt::format("history {}: resolution {}", options_.path, at));
    const auto resolution = static_cast<size_t>(at);
    done_until_[resolution] = newest.number(1) + telemetry::kResolutions[resolution].seconds;
  }
  if (code != Statement::Step::kDone) return database_->error("read rows");
  return {};
}

Result<uint32_t> HistoryStore::series(const SeriesName& name) {
  FR_CHECK(telemetry::check(name));
  const std::lock_guard lock(mutex_);
  if (const auto known = ids_.find(name); known != ids_.end()) return known->second;
  if (ids_.size() >= options_.series_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("the history has {} series already", options_.series_max));
  auto insert = database_->prepare("INSERT INTO series(entity, metric) VALUES(?, ?)");
  FR_CHECK(database_->finish(insert.bind(1, name.entity).bind(2, name.metric), "add a series"));
  const auto id = static_cast<uint32_t>(database_->last_id());
  ids_[name] = id;
  return id;
}

std::vector<SeriesName> HistoryStore::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<SeriesName> names;
  for (const auto& [name, id] : ids_) names.push_back(name);
  return names;
}

Status HistoryStore::append(int64_t unix_seconds, std::vector<HistoryPoint> points) {
  const std::lock_guard lock(mutex_);
  const int64_t at = round_down(unix_seconds, telemetry::rule(Resolution::k10s).seconds);
  const Buffer row = telemetry::encode_row(std::move(points));
  FR_CHECK(database_->run("BEGIN IMMEDIATE"));
  auto insert = database_->prepare("INSERT OR REPLACE INTO rows VALUES(0, ?, ?)");
  Status done = database_->finish(insert.bind(1, at).bind(2, ByteView(row)), "add a row");
  const auto before = done_until_;
  if (done) done = roll_up(at);
  if (done && std::abs(at - dropped_at_) >= kDropInterval) done = drop_old(at);
  if (done) done = database_->run("COMMIT");
  if (!done) {
    [[maybe_unused]] const auto undone = database_->run("ROLLBACK");
    done_until_ = before;
    return done;
  }
  done_until_[0] = at + telemetry::rule(Resolution::k10s).seconds;
  return {};
}

// Makes the coarser rows whose whole span lies before `now`. After a time in which nothing was
// appended, only those that have something under them.
Status HistoryStore::roll_up(int64_t now) {
  for (size_t i = 1; i < kResolutionCount; ++i) {
    const int64_t span = telemetry::kResolutions[i].seconds;
    const int64_t end = round_down(now, span);
    if (done_until_[i] >= end) continue;
    auto missing = database_->prepare(
        "SELECT DISTINCT at / ?1 FROM rows WHERE resolution = ?2 AND at >= ?3 AND at < ?4");
    missing.bind(1, span).bind(2, static_cast<int64_t>(i) - 1).bind(3, done_until_[i]).bind(4, end);
    std::vector<int64_t> begins;
    auto code = missing.step();
    for (; code == Statement::Step::kRow; code = missing.step())
      begins.push_back(missing.number(0) * span);
    if (code != Statement::Step::kDone) return database_->error("look for rows to sum up");
    for (const int64_t begin : begins) FR_CHECK(roll_up(static_cast<Resolution>(i), begin));
    done_until_[i] = end;
  }
  return {};
}

Status HistoryStore::roll_up(Resolution resolution, int64_t begin) {
  const auto finer = static_cast<Resolution>(static_cast<uint8_t>(resolution) - 1);
  telemetry::RowMerger merger;
  FR_CHECK(each_row_locked(finer, begin, begin + telemetry::rule(resolution).seconds,
                           [&](int64_t, const std::vector<HistoryPoint>& row) -> Status {
                             merger.add(row);
                             return {};
                           }));
  // What others kept of that time stays, of series that are not measured here.
  std::vector<HistoryPoint> points = merger.take();
  FR_TRY(const auto there, row_at(resolution, begin));
  add_absent(there, points);
  return put_row(resolution, begin, std::move(points));
}

Result<std::vector<HistoryPoint>> HistoryStore::row_at(Resolution resolution, int64_t at) {
  std::vector<HistoryPoint> points;
  FR_CHECK(each_row_locked(resolution, at, at + 1,
                           [&](int64_t, const std::vector<HistoryPoint>& row) -> Status {
                             points = row;
                             return {};
                           }));
  return points;
}

Status HistoryStore::put_row(Resolution resolution, int64_t at, std::vector<HistoryPoint> points) {
  const Buffer row = telemetry::encode_row(std::move(points));
  auto insert = database_->prepare("INSERT OR REPLACE INTO rows VALUES(?, ?, ?)");
  insert.bind(1, static_cast<int64_t>(resolution)).bind(2, at).bind(3, ByteView(row));
  return database_->finish(insert, "add a row");
}

Result<uint64_t> HistoryStore::fill(Resolution resolution, const Rows& rows) {
  const std::lock_guard lock(mutex_);
  FR_CHECK(database_->run("BEGIN IMMEDIATE"));
  auto added = fill_locked(resolution, rows);
  if (added)
    if (Status done = database_->run("COMMIT"); !done) added = std::unexpected(done.error());
  if (!added) {
    [[maybe_unused]] const auto undone = database_->run("ROLLBACK");
  }
  return added;
}

Result<uint64_t> HistoryStore::fill_locked(Resolution resolution, const Rows& rows) {
  const int64_t span = telemetry::rule(resolution).seconds;
  // Nothing was ever appended: there is nothing that will be summed up.
  const int64_t until =
      done_until_[0] == 0 ? INT64_MAX : done_until_[static_cast<size_t>(resolution)];
  uint64_t added = 0;
  for (const auto& [at, points] : rows) {
    if (round_down(at, span) != at)
      return fail(ErrorCode::kInvalid, fmt::format("{} begins no span of {} s", at, span));
    if (at + span > until) continue;
    FR_TRY(auto row, row_at(resolution, at));
    const uint64_t new_points = add_absent(points, row);
    if (new_points == 0) continue;
    added += new_points;
    FR_CHECK(put_row(resolution, at, std::move(row)));
  }
  if (added > 0) FR_CHECK(drop_surplus());
  return added;
}

Status HistoryStore::drop_old(int64_t now) {
  for (size_t i = 0; i < kResolutionCount; ++i) {
    auto drop = database_->prepare("DELETE FROM rows WHERE resolution = ? AND at < ?");
    drop.bind(1, static_cast<int64_t>(i)).bind(2, now - telemetry::kResolutions[i].kept_seconds);
    FR_CHECK(database_->finish(drop, "drop old rows"));
  }
  FR_CHECK(drop_surplus());
  FR_CHECK(database_->run("PRAGMA incremental_vacuum"));
  dropped_at_ = now;
  return {};
}

Status HistoryStore::drop_surplus() {
  FR_TRY(const int64_t page, database_->number("PRAGMA page_size"));
  for (;;) {
    FR_TRY(const int64_t pages, database_->number("PRAGMA page_count"));
    FR_TRY(const int64_t unused, database_->number("PRAGMA freelist_count"));
    if (static_cast<uint64_t>((pages - unused) * page) <= options_.bytes_max) return {};
    auto largest = database_->prepare(
        "SELECT resolution FROM rows GROUP BY resolution ORDER BY sum(length(points)) DESC");
    if (largest.step() != Statement::Step::kRow)
      return {};  // there are none: the series alone are too many
    auto drop = database_->prepare(
        "DELETE FROM rows WHERE resolution = ?1 AND at IN "
        "(SELECT at FROM rows WHERE resolution = ?1 ORDER BY at LIMIT ?2)");
    FR_CHECK(database_->finish(drop.bind(1, largest.number(0)).bind(2, kDroppedAtOnce),
                               "drop the oldest rows"));
  }
}

Status HistoryStore::each_row_locked(Resolution resolution, int64_t from, int64_t to,
                                     const UseRow& use) {
  auto rows = database_->prepare(
      "SELECT at, points FROM rows WHERE resolution = ? AND at >= ? AND at < ? ORDER BY at");
  rows.bind(1, static_cast<int64_t>(resolution)).bind(2, from).bind(3, to);
  auto code = rows.step();
  for (; code == Statement::Step::kRow; code = rows.step()) {
    auto row = telemetry::decode_row(rows.bytes(1));
    if (!row)
      return std::unexpected(
          std::move(row.error())
              .within(fmt::format("history {}, {} row of {}", options_.path,
                                  telemetry::resolution_name(resolution), rows.number(0))));
    FR_CHECK(use(rows.number(0), *row));
  }
  if (code != Statement::Step::kDone) return database_->error("read rows");
  return {};
}

Status HistoryStore::each_row(Resolution resolution, int64_t from, int64_t to, const UseRow& use) {
  const std::lock_guard lock(mutex_);
  return each_row_locked(resolution, from, to, use);
}

Result<std::vector<HistoryStore::Point>> HistoryStore::read(const SeriesName& name,
                                                            Resolution resolution, int64_t from,
                                                            int64_t to) {
  const std::lock_guard lock(mutex_);
  const auto known = ids_.find(name);
  if (known == ids_.end())
    return fail(ErrorCode::kNotFound,
                fmt::format("the history has no {} of {}", name.metric, name.entity));
  std::vector<Point> points;
  FR_CHECK(each_row_locked(
      resolution, from, to,
      [&, id = known->second](int64_t at, const std::vector<HistoryPoint>& row) -> Status {
        const auto found = std::ranges::lower_bound(row, id, {}, &HistoryPoint::series);
        if (found != row.end() && found->series == id)
          points.push_back({at, found->mean, found->max});
        return {};
      }));
  return points;
}

Result<HistoryStore::Size> HistoryStore::size() {
  const std::lock_guard lock(mutex_);
  Size size;
  FR_TRY(const int64_t page, database_->number("PRAGMA page_size"));
  FR_TRY(const int64_t pages, database_->number("PRAGMA page_count"));
  size.bytes = static_cast<uint64_t>(page * pages);
  auto rows = database_->prepare("SELECT resolution, count(*) FROM rows GROUP BY resolution");
  auto code = rows.step();
  for (; code == Statement::Step::kRow; code = rows.step())
    size.rows[static_cast<size_t>(rows.number(0)) % kResolutionCount] =
        static_cast<uint64_t>(rows.number(1));
  if (code != Statement::Step::kDone) return database_->error("count rows");
  return size;
}

}  // namespace forerun::store
