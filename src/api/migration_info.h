// What migrations are expected to take and what they took, as the API tells it (docs/migration.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace forerun::api {

struct EstimateInfo {
  double expected = 0, low = 0, high = 0;
  bool operator==(const EstimateInfo&) const = default;
};

// What one way to move a VM would take.
struct MigrationModeInfo {
  std::string mode;  // "precopy", "postcopy", "hybrid"
  EstimateInfo total_s, downtime_s, blocked_s, bytes;
  double to_switch_s = 0;  // until the VM runs at the other host
  bool fits_policy = false;
  std::string why_not;  // where it does not
  bool operator==(const MigrationModeInfo&) const = default;
};

// Told before a migration begins.
struct MigrationForecast {
  std::string vm, to;
  std::string mode;    // that would be taken
  std::string reason;  // why, a sentence
  std::vector<MigrationModeInfo> modes;
  uint64_t memory_bytes = 0, zero_bytes = 0;
  uint64_t written_bytes = 0;      // that the guest writes again and again
  double written_bytes_per_s = 0;  // at first
  double packed_ratio = 1;         // of memory that is not zeroes, packed
  double difference_ratio = 1;     // of a page written again: its difference to its size
  double dry_run_s = 0;            // that finding this out took
  double link_bytes_per_s = 0;
  double round_trip_s = 0;
  bool operator==(const MigrationForecast&) const = default;
};

struct MigrationFigures {
  double total_s = 0, downtime_s = 0, blocked_s = 0, bytes = 0;
  bool operator==(const MigrationFigures&) const = default;
};

// One migration from here: what was told before it, and what came of it.
struct MigrationInfo {
  std::string id;
  int64_t began_unix_seconds = 0;
  std::string state;  // "running", "moved", "failed"
  std::string detail;
  bool is_mode_asked = false;  // it was not chosen
  MigrationForecast forecast;
  std::optional<MigrationFigures> actual;
  bool operator==(const MigrationInfo&) const = default;
};

// How well one figure of one mode was told so far.
struct MigrationScoreInfo {
  std::string mode, figure;
  uint64_t count = 0, held = 0;  // of `count`, those within their range
  double factor = 1;             // that the next expectation is multiplied by
  double spread = 0;             // the usual distance from it, as a natural logarithm
  bool operator==(const MigrationScoreInfo&) const = default;
};

struct MigrationReport {
  std::vector<MigrationInfo> migrations;  // newest first
  std::vector<MigrationScoreInfo> scores;
  bool operator==(const MigrationReport&) const = default;
};

}  // namespace forerun::api
