// What a migration will take, told before its start: the dry run says what the guest writes, a
// short burst of data what the link carries, and migrate/migration_plan.h the rest.
#pragma once

#include "api/service.h"
#include "core/time.h"
#include "daemon/migration_ledger.h"
#include "daemon/peers.h"
#include "migrate/memory_profile.h"
#include "migrate/migration_plan.h"

namespace forerun::daemon {

struct LinkFigures {
  double bytes_per_s = 0;
  Nanos round_trip{};
};

// Measures the way to the other host over a connection of its own: at most 4 MiB, or about a
// quarter of a second. ERRORS: what the connection ended by; kTimedOut; kCorrupt.
Result<LinkFigures> measure_link(net::PeerConnection& connection, const Clock& clock);
// The other side of it, once it was asked: takes what comes, and says how fast it came.
Status answer_measure(net::PeerConnection& connection, const Clock& clock);

// Returns the rate at which bytes came, of how many had come by when; the first half, in which TCP
// learns what the link carries, does not count. 0: too little came. REQUIRES: times ascend.
double rate_of(const std::vector<std::pair<Time, uint64_t>>& came);

// Returns how much of a migration's stream is to be under way, so that the link is never idle, and
// a page that the guest waits for has not much ahead of it: twice what the link carries in its
// round trip, and the 4 ms that a busy host answers in; from 256 KiB to 4 MiB.
uint32_t bytes_under_way(const LinkFigures& link);

migrate::PlanPolicy policy_of(const api::MigrateRequest& request);
// Returns the mode where nothing is known; of auto hybrid, which ends whatever the guest does.
migrate::MigrationMode mode_asked(api::MigrateMode mode);

// What is said of a migration, and done.
struct MigrationChoice {
  migrate::MigrationMode mode = migrate::MigrationMode::kHybrid;
  migrate::HotPages hot = migrate::HotPages::kKeep;
  std::optional<api::MigrationForecast> forecast;  // none: too little is known
};

// Returns the choice for VM `vm`, of which `profile` was seen. Where the link could not be
// measured, or nothing of the guest, the mode is mode_asked(). `dry_run`: what the profile took.
MigrationChoice choose_mode(const std::string& vm, const api::MigrateRequest& request,
                            const migrate::MemoryProfile& profile, Nanos dry_run,
                            const Result<LinkFigures>& link, const migrate::PlanScores& scores);

}  // namespace forerun::daemon
