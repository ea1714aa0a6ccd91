#include "daemon/migration_forecast.h"

#include "core/log.h"
#include "daemon/migration_messages.h"

namespace forerun::daemon {
namespace {

using migrate::MigrationMode;

// What a channel takes though its reader has stopped.
constexpr size_t kBurstBytes = 4 << 20;
constexpr Nanos kBurst = std::chrono::milliseconds(250);
constexpr Nanos kAnswerTimeout = std::chrono::seconds(10);

}  // namespace

double rate_of(const std::vector<std::pair<Time, uint64_t>>& came) {
  if (came.size() < 2) return 0;
  const auto& [end, bytes] = came.back();
  size_t half = 0;
  while (came[half].second < bytes / 2) ++half;
  if (half + 1 == came.size()) half = 0;  // it came in one piece or two
  const Nanos span = end - came[half].first;
  return span > Nanos::zero() ? static_cast<double>(bytes - came[half].second) / to_seconds(span)
                              : 0;
}

Result<LinkFigures> measure_link(net::PeerConnection& connection, const Clock& clock) {
  PeerMessage ask;
  ask.kind = PeerMessageKind::kMeasure;
  const Time asked = clock.now();
  FR_CHECK(send(connection, ask));
  FR_CHECK(receive(connection, {PeerMessageKind::kPong}, kAnswerTimeout));
  LinkFigures link{.round_trip = clock.now() - asked};
  const Time began = clock.now();
  const Buffer chunk(64 * kKiB);
  for (size_t sent = 0; sent < kBurstBytes && clock.now() < began + 2 * kBurst;
       sent += chunk.size())
    FR_CHECK(connection.write(net::PeerChannel::kForward, chunk));
  connection.end(net::PeerChannel::kForward);
  FR_TRY(const PeerMessage measured,
         receive(connection, {PeerMessageKind::kMeasured}, kAnswerTimeout));
  link.bytes_per_s = static_cast<double>(measured.rate_bytes_per_s);
  if (measured.rate_bytes_per_s == 0)
    return fail(ErrorCode::kCorrupt, "the other host could not measure the link");
  return link;
}

Status answer_measure(net::PeerConnection& connection, const Clock& clock) {
  PeerMessage answer;
  answer.kind = PeerMessageKind::kPong;
  FR_CHECK(send(connection, answer));
  std::vector<std::pair<Time, uint64_t>> came;
  Buffer chunk(64 * kKiB);
  uint64_t bytes = 0;
  for (;;) {
    FR_TRY(const size_t got, connection.read_some(net::PeerChannel::kForward, chunk));
    if (got == 0) break;
    bytes += got;
    came.emplace_back(clock.now(), bytes);
    // On a slow link a few must have come.
    if (came.back().first > came.front().first + kBurst && came.size() >= 8) break;
  }
  answer.kind = PeerMessageKind::kMeasured;
  answer.rate_bytes_per_s = static_cast<uint64_t>(rate_of(came));
  return send(connection, answer);
}

migrate::MigrationMode mode_asked(api::MigrateMode mode) {
  switch (mode) {
    case api::MigrateMode::kPrecopy:
      return MigrationMode::kPrecopy;
    case api::MigrateMode::kPostcopy:
      return MigrationMode::kPostcopy;
    case api::MigrateMode::kHybrid:
    case api::MigrateMode::kAuto:
      break;
  }
  return MigrationMode::kHybrid;
}

uint32_t bytes_under_way(const LinkFigures& link) {
  const double needed =
      2 * link.bytes_per_s * to_seconds(link.round_trip + std::chrono::milliseconds(4));
  return static_cast<uint32_t>(std::clamp(needed, 256.0 * kKiB, 4.0 * kMiB));
}

migrate::PlanPolicy policy_of(const api::MigrateRequest& request) {
  migrate::PlanPolicy policy;
  policy.downtime_max = std::chrono::milliseconds(request.downtime_ms_max);
  policy.degradation_max = static_cast<double>(request.degradation_percent_max) / 100;
  if (request.switch_within_ms > 0)
    policy.switch_within = std::chrono::milliseconds(request.switch_within_ms);
  return policy;
}

MigrationChoice choose_mode(const std::string& vm, const api::MigrateRequest& request,
                            const migrate::MemoryProfile& profile, Nanos dry_run,
                            const Result<LinkFigures>& link, const migrate::PlanScores& scores) {
  const bool is_asked = request.mode != api::MigrateMode::kAuto;
  MigrationChoice choice;
  choice.mode = mode_asked(request.mode);
  migrate::PlanInput input = migrate::plan_input(profile, 0, Nanos::zero());
  const migrate::PlanPolicy policy = policy_of(request);
  if (link) {
    input.link_bytes_per_s = link->bytes_per_s;
    if (request.rate_bytes_per_s_max > 0)
      input.link_bytes_per_s =
          std::min(input.link_bytes_per_s, static_cast<double>(request.rate_bytes_per_s_max));
    input.round_trip = link->round_trip;
  } else {
    log::warn("VM {}: what the link to {} carries is not known: {}", vm, request.to,
              link.error().message);
  }
  const auto plan = migrate::plan_migration(input, policy, scores);
  if (!plan) {
    choice.hot = migrate::hot_pages_of(input, policy, choice.mode);
    log::warn("VM {}: what its migration will take is not known: {}", vm, plan.error().message);
    return choice;
  }
  if (!is_asked) choice.mode = plan->mode;
  choice.hot = migrate::hot_pages_of(input, policy, choice.mode);
  api::MigrationForecast told;
  told.vm = vm;
  told.to = request.to;
  told.mode = mode_word(choice.mode);
  told.reason = is_asked ? fmt::format("{} was asked for", told.mode) : plan->reason;
  for (const migrate::ModeEstimate& mode : plan->modes) told.modes.push_back(info_of(mode));
  told.memory_bytes = input.pages * migrate::kPageBytes;
  told.zero_bytes = input.zero_pages * migrate::kPageBytes;
  told.written_bytes = input.written_pages * migrate::kPageBytes;
  told.written_bytes_per_s = input.dirty_pages_per_s * migrate::kPageBytes;
  told.packed_ratio = input.packed_ratio;
  told.difference_ratio = input.delta_ratio;
  told.dry_run_s = to_seconds(dry_run);
  told.link_bytes_per_s = input.link_bytes_per_s;
  told.round_trip_s = to_seconds(input.round_trip);
  choice.forecast = std::move(told);
  return choice;
}

}  // namespace forerun::daemon
