// What is told of a migration from here: while it goes on, and what came of it.
#include "daemon/migration_source.h"

namespace forerun::daemon {
namespace {

std::string mib(uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / kMiB);
}

}  // namespace

void MigrationSource::report(const vmm::MigrationStatus& status) {
  const uint64_t done = pipe_ ? pipe_->qemu_bytes() : 0;
  std::string text;
  if (runs_there_)
    text = fmt::format("runs on {}, the rest of its memory and disk follows, {} and {} left",
                       request_.to, mib(status.remaining_bytes), mib(disk_left_bytes_));
  else if (has_switched_)
    text = "the guest goes over";
  else
    text = fmt::format("round {}, {}/s, {} left, {}/s written", status.rounds,
                       mib(static_cast<uint64_t>(status.rate_bytes_per_s)),
                       mib(status.remaining_bytes),
                       mib(static_cast<uint64_t>(status.dirty_bytes_per_s)));
  control_.report(done, done + status.remaining_bytes, std::move(text));
}

void MigrationSource::score() {
  if (!choice_.forecast) return;
  api::MigrationFigures actual;
  // A pre-copy ends as the guest runs there.
  actual.total_s =
      to_seconds((is_postcopy_ ? std::max(memory_ended_, ran_) : ran_) - memory_began_);
  actual.downtime_s = to_seconds(ran_ - stopped_);
  actual.blocked_s = static_cast<double>(blocktime_ms_) / 1000;
  actual.bytes = static_cast<double>(memory_bytes_);
  parts_.ledger.end(id_, actual, !was_cut_ && !request_.is_stock && sent_.known == 0, outcome());
}

std::string MigrationSource::outcome() const {
  const double total = to_seconds(parts_.clock.now() - began_);
  std::string text = fmt::format(
      "runs on {} since {:.0f} ms after it stopped here; {:.1f} s in "
      "all, {} of memory in {} rounds, {} of disk, {} on the wire",
      request_.to, to_seconds(ran_ - stopped_) * 1000, total, mib(last_.transferred_bytes),
      last_.rounds, mib(disk_bytes_), mib(earlier_bytes_));
  if (sent_.known > 0) {
    text +=
        fmt::format(", {} were there already, of {}",
                    mib((sent_.known - sent_.known_failed) * migrate::kPageBytes), known_words_);
    if (sent_.known_failed > 0)
      text += fmt::format(" ({} pages of it could not be read there, and went again)",
                          sent_.known_failed);
  }
  if (!downtime_.steps().empty())
    text += fmt::format("; it stood still, in ms, for {}", downtime_.text());
  if (is_postcopy_)
    text +=
        fmt::format(", {} page requests, vCPUs waited {} ms", last_.page_requests, blocktime_ms_);
  return text;
}

}  // namespace forerun::daemon
