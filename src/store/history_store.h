// The history of a host: rows of points (telemetry/history.h) in an SQLite file, coarser ones made
// from finer ones as time passes, old ones dropped. A row is one transaction in a write-ahead log:
// a process that is killed loses nothing that was appended, a power cut at most the newest rows,
// neither the file.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/sqlite.h"
#include "telemetry/history.h"

namespace forerun::store {

struct HistoryStoreOptions {
  std::string path;  // of the file; its folder is there
  // Beyond it the oldest rows go, of whatever resolution has the most bytes.
  uint64_t bytes_max = 1ull << 30;
  size_t series_max = 200'000;
};

// Thread-safe.
class HistoryStore {
 public:
  // ERRORS: kIo, kNoSpace; kCorrupt: it is no history; kUnsupported: of another version.
  static Result<std::unique_ptr<HistoryStore>> open(const HistoryStoreOptions& options);
  ~HistoryStore();

  // Returns the number of the series, new or known. ERRORS: kInvalid; kTooLarge: there are
  // series_max; kIo, kNoSpace.
  Result<uint32_t> series(const telemetry::SeriesName& name);
  std::vector<telemetry::SeriesName> names() const;

  // Adds what was seen in the 10 s that began at `unix_seconds` (rounded down to a multiple; a row
  // of that time is replaced), and makes the coarser rows whose time has passed.
  // ERRORS: kIo, kNoSpace: the row is lost, what was there stays.
  Status append(int64_t unix_seconds, std::vector<telemetry::HistoryPoint> points);

  // Adds what others kept: rows of one resolution by the begin of their span. What is there of a
  // series stays as it is. Spans that are not summed up here yet are left out: what is measured
  // here comes first. Returns how many points were added. ERRORS: kInvalid: a time that begins no
  // span; kCorrupt, kIo, kNoSpace: nothing was added.
  using Rows = std::map<int64_t, std::vector<telemetry::HistoryPoint>>;
  Result<uint64_t> fill(telemetry::Resolution resolution, const Rows& rows);

  struct Point {
    int64_t unix_seconds = 0;  // begin of its span
    float mean = 0, max = 0;
    bool operator==(const Point&) const = default;
  };
  // Returns the points of [from, to). ERRORS: kNotFound: no such series; kCorrupt, kIo.
  Result<std::vector<Point>> read(const telemetry::SeriesName& name,
                                  telemetry::Resolution resolution, int64_t from, int64_t to);
  // Calls `use` with each row of [from, to), in the order of time. ERRORS: those of `use`;
  // kCorrupt, kIo.
  using UseRow =
      std::function<Status(int64_t unix_seconds, const std::vector<telemetry::HistoryPoint>& row)>;
  Status each_row(telemetry::Resolution resolution, int64_t from, int64_t to, const UseRow& use);

  struct Size {
    uint64_t bytes = 0;  // of the file
    std::array<uint64_t, telemetry::kResolutionCount> rows{};
  };
  Result<Size> size();

 private:
  explicit HistoryStore(HistoryStoreOptions options);
  Status load();
  Status roll_up(int64_t now);
  Status roll_up(telemetry::Resolution resolution, int64_t begin);
  Result<uint64_t> fill_locked(telemetry::Resolution resolution, const Rows& rows);
  // Returns the row of that very time, without points if there is none.
  Result<std::vector<telemetry::HistoryPoint>> row_at(telemetry::Resolution resolution, int64_t at);
  Status put_row(telemetry::Resolution resolution, int64_t at,
                 std::vector<telemetry::HistoryPoint> points);
  Status drop_old(int64_t now);
  Status drop_surplus();
  Status each_row_locked(telemetry::Resolution resolution, int64_t from, int64_t to,
                         const UseRow& use);

  const HistoryStoreOptions options_;
  mutable std::mutex mutex_;  // guards all below
  std::unique_ptr<Database> database_;
  std::map<telemetry::SeriesName, uint32_t> ids_;
  // Of each resolution: the end of its newest row.
  std::array<int64_t, telemetry::kResolutionCount> done_until_{};
  int64_t dropped_at_ = 0;
};

}  // namespace forerun::store
