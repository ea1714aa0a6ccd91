// The last migrations from this host: what was told before each and what came of it. What they were
// off by corrects what is told of the next.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "api/migration_info.h"
#include "core/result.h"
#include "migrate/migration_plan.h"

namespace forerun::daemon {

// Returns how the API calls it: "precopy", "postcopy", "hybrid".
std::string_view mode_word(migrate::MigrationMode mode);
// Returns a mode's estimates as they are told, and back. ERRORS: kInvalid: no such mode.
api::MigrationModeInfo info_of(const migrate::ModeEstimate& mode);
Result<migrate::ModeEstimate> estimate_of(const api::MigrationModeInfo& info);

// Kept in one file, written anew whenever something is noted. Thread-safe.
class MigrationLedger {
 public:
  static constexpr size_t kKeptMax = 256;

  // A file that cannot be read is set aside as PATH.damaged, and said so. A migration that an
  // earlier run of the daemon did not see end is noted as failed: that is all that is known.
  static std::unique_ptr<MigrationLedger> open(std::string path, size_t kept_max = kKeptMax);

  // Returns how well migrations were foreseen so far.
  migrate::PlanScores scores() const;
  void begin(api::MigrationInfo told);
  // It has moved. `is_typical`: what it took says something about the next; not where the link was
  // cut amid it.
  void end(const std::string& id, const api::MigrationFigures& actual, bool is_typical,
           std::string detail);
  void fail(const std::string& id, std::string why);
  api::MigrationReport report() const;

 private:
  MigrationLedger(std::string path, size_t kept_max)
      : path_(std::move(path)), kept_max_(kept_max) {}
  Status load();
  // REQUIRES: mutex_ is held.
  void save() const;
  api::MigrationReport report_locked() const;
  api::MigrationInfo* find(const std::string& id);

  const std::string path_;
  const size_t kept_max_;
  mutable std::mutex mutex_;              // guards all below
  std::vector<api::MigrationInfo> kept_;  // newest first
  migrate::PlanScores scores_;
};

}  // namespace forerun::daemon
