// What moving a VM takes, by what was measured: how fast links to other hosts are, and what guests
// wrote when they were looked at before an earlier migration. Where nothing was measured the rules'
// figures stand.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/migration_info.h"
#include "daemon/migration_forecast.h"
#include "migrate/migration_plan.h"
#include "place/fleet.h"

namespace forerun::daemon {

// Thread-safe.
class MoveCosts {
 public:
  static constexpr int64_t kLinkFresh_s = 3600;  // a link is measured again after so long
  static constexpr int64_t kLinkKept_s = 86'400;

  explicit MoveCosts(const MigrationLedger& ledger) : ledger_(ledger) {}

  // Returns which of these hosts' links are to be measured: what is known of them is too old, or
  // nothing is.
  std::vector<std::string> due(const std::vector<std::string>& hosts, int64_t now) const;
  // Notes what measuring a link came to; nothing: it could not be, and is due again as any.
  void note(const std::string& host, const std::optional<LinkFigures>& link, int64_t now);

  struct Known {
    std::optional<LinkFigures> link;  // the median of the links' rates; none: of no link
    std::map<std::string, api::MigrationForecast> guests;  // by VM, its last one
    migrate::PlanScores scores;
  };
  // Returns what is known now.
  Known known(int64_t now) const;

 private:
  struct Link {
    std::optional<LinkFigures> figures;
    int64_t at = 0;
  };
  const MigrationLedger& ledger_;
  mutable std::mutex mutex_;  // guards the below
  std::map<std::string, Link> links_;
};

// Returns what moving a VM of so many bytes takes, of which `resident_bytes` are no zeroes.
// `link_bytes_per_s`: where no link was measured.
place::MoveCost move_cost(const MoveCosts::Known& known, const std::string& vm,
                          uint64_t memory_bytes, double resident_bytes, double link_bytes_per_s);

}  // namespace forerun::daemon
