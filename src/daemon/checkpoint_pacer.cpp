#include "daemon/checkpoint_pacer.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.h"

namespace forerun::daemon {
namespace {

// Of what the last checkpoint stored, or of what was written since: less is a guest at rest.
constexpr uint64_t kStoredAtRest = 4 * kMiB, kWrittenAtRest = kMiB;
constexpr int kRestFactor = 8;   // such a guest's intervals are longer by this
constexpr double kMemory = 0.5;  // of the last cost in the average

std::string seconds(Nanos time) { return fmt::format("{:.0f} s", to_seconds(time)); }

}  // namespace

void CheckpointPacer::on_made(Nanos took, uint64_t stored_bytes, Time now) {
  ahead_ = made_ == 0 ? Nanos{0} : std::max(last_at_ + interval() + ahead_ - now, Nanos{0});
  cost_ = made_ == 0 ? took
                     : from_seconds(to_seconds(cost_) * (1 - kMemory) + to_seconds(took) * kMemory);
  ++made_;
  last_at_ = now;
  stored_bytes_ = stored_bytes;
  failures_ = 0;
}

void CheckpointPacer::on_failed(std::string why, Time now) {
  ++failures_;
  failed_at_ = now;
  failure_ = std::move(why);
}

Nanos CheckpointPacer::interval() const {
  const Nanos paid = from_seconds(to_seconds(cost_) / options_.budget_ratio);
  return std::clamp(paid, options_.interval_min, options_.interval_max);
}

CheckpointPacer::Decision CheckpointPacer::decide(uint64_t written_bytes, Time now) const {
  const auto at = [&](Time due, std::string why) {
    return Decision{now >= due, std::max(due - now, Nanos{0}), std::move(why)};
  };
  if (failures_ > 0) {
    const Nanos wait =
        std::min(options_.interval_min * (1u << std::min(failures_, 10u)), options_.interval_max);
    return at(failed_at_ + wait, fmt::format("the last one failed: {}", failure_));
  }
  if (made_ == 0)
    return at(begun_at_ + options_.settle, "none was made since the VM or the daemon started");
  const Nanos interval = this->interval();
  const std::string cost = fmt::format("one takes {:.1f} s, {:.2g} % of the time is its budget",
                                       to_seconds(cost_), 100 * options_.budget_ratio);
  if (foresees(now) && ahead_ == Nanos{0})
    return at(last_at_ + options_.interval_min,
              fmt::format("a move to another host is foreseen; the next one waits for as much "
                          "longer ({})",
                          cost));
  if (!foresees(now) && written_bytes < kWrittenAtRest && stored_bytes_ < kStoredAtRest) {
    const Nanos rest = std::min(interval * kRestFactor, options_.interval_max);
    return at(last_at_ + rest,
              fmt::format("the guest is at rest: {} KiB of its disk were written since, the last "
                          "one stored {} KiB; every {} ({})",
                          written_bytes / kKiB, stored_bytes_ / kKiB, seconds(rest), cost));
  }
  std::string why = fmt::format(
      "{} KiB of the disk were written since, the last one stored {} KiB; every {} ({})",
      written_bytes / kKiB, stored_bytes_ / kKiB, seconds(interval), cost);
  if (ahead_ > Nanos{0})
    why += fmt::format("; the last one was made {} ahead, for a move", seconds(ahead_));
  return at(last_at_ + interval + ahead_, std::move(why));
}

}  // namespace forerun::daemon
