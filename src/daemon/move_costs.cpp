#include "daemon/move_costs.h"

#include <algorithm>

namespace forerun::daemon {
namespace {

constexpr double kPageBytes = 4096;
constexpr Nanos kRoundTrip = std::chrono::milliseconds(1);  // where none was measured

uint64_t pages_of(double bytes) { return static_cast<uint64_t>(std::max(0.0, bytes) / kPageBytes); }

}  // namespace

std::vector<std::string> MoveCosts::due(const std::vector<std::string>& hosts, int64_t now) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> due;
  for (const std::string& host : hosts) {
    const auto found = links_.find(host);
    if (found == links_.end() || now - found->second.at >= kLinkFresh_s) due.push_back(host);
  }
  return due;
}

void MoveCosts::note(const std::string& host, const std::optional<LinkFigures>& link, int64_t now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(links_, [&](const auto& each) { return now - each.second.at > kLinkKept_s; });
  links_[host] = {link, now};
}

MoveCosts::Known MoveCosts::known(int64_t now) const {
  Known known;
  known.scores = ledger_.scores();
  std::map<std::string, Link> links;
  {
    const std::lock_guard lock(mutex_);
    links = links_;
  }
  for (const api::MigrationInfo& migration : ledger_.report().migrations) {  // the newest first
    const api::MigrationForecast& told = migration.forecast;
    known.guests.try_emplace(told.vm, told);
    Link& link = links[told.to];
    const bool is_newer = !link.figures || migration.began_unix_seconds > link.at;
    if (!is_newer || !(told.link_bytes_per_s > 0)) continue;
    link = {
        LinkFigures{told.link_bytes_per_s, std::chrono::duration_cast<Nanos>(
                                               std::chrono::duration<double>(told.round_trip_s))},
        migration.began_unix_seconds};
  }
  std::vector<LinkFigures> fresh;
  for (const auto& [host, link] : links)
    if (link.figures && now - link.at <= kLinkKept_s) fresh.push_back(*link.figures);
  if (fresh.empty()) return known;
  const auto middle = fresh.begin() + static_cast<ptrdiff_t>((fresh.size() - 1) / 2);
  std::ranges::nth_element(fresh, middle, {}, &LinkFigures::bytes_per_s);
  known.link = *middle;
  return known;
}

place::MoveCost move_cost(const MoveCosts::Known& known, const std::string& vm,
                          uint64_t memory_bytes, double resident_bytes, double link_bytes_per_s) {
  migrate::PlanInput input;
  input.pages = pages_of(static_cast<double>(memory_bytes));
  input.zero_pages = input.pages - std::min(input.pages, pages_of(resident_bytes));
  input.link_bytes_per_s = known.link ? known.link->bytes_per_s : link_bytes_per_s;
  input.round_trip = known.link ? known.link->round_trip : kRoundTrip;
  if (const auto found = known.guests.find(vm); found != known.guests.end()) {
    const api::MigrationForecast& seen = found->second;
    input.written_pages = std::min(input.pages, pages_of(static_cast<double>(seen.written_bytes)));
    input.dirty_pages_per_s = seen.written_bytes_per_s / kPageBytes;
    input.packed_ratio = seen.packed_ratio;
    input.delta_ratio = seen.difference_ratio;
    input.is_profiled = true;
  }
  const auto plan = migrate::plan_migration(input, {}, known.scores);
  if (!plan) return {};
  const migrate::ModeEstimate& chosen = plan->chosen();
  return {.bytes = chosen[migrate::PlanFigure::kBytes].expected,
          .seconds = chosen[migrate::PlanFigure::kTotal].expected,
          .downtime_s = chosen[migrate::PlanFigure::kDowntime].expected};
}

}  // namespace forerun::daemon
