#include "migrate/migration_plan.h"

#include <algorithm>
#include <cmath>

namespace forerun::migrate {
namespace {

constexpr std::array<MigrationMode, kMigrationModes> kModes{
    MigrationMode::kPrecopy, MigrationMode::kPostcopy, MigrationMode::kHybrid};
constexpr double kFillBytes = 0.1;       // of a page that is zeroes: they come in runs
constexpr double kRecordBytes = 16;      // beside a page's content
constexpr double kSwitchSeconds = 0.02;  // device state, its loading, the target's start
constexpr double kFaultSeconds = 0.02;   // that a guest waits for one page: queues and round trip
// Pages that a guest touches though it does not write them, of a kernel and a program.
constexpr double kUnforeseenPages = 60;
constexpr int kRoundsMax = 30;
constexpr double kScoreForget = 0.3;
// What a figure is off by whatever its size: seconds, seconds, seconds, bytes. Below it no ratio
// says anything.
constexpr std::array<double, kPlanFigures> kNoise{0.1, 0.01, 0.05, 256.0 * 1024};
// A share of pages whose differences are no shorter than they, from which on they travel once.
constexpr double kHoldRatio = 0.7;
constexpr uint64_t kDeltaSamplesMin = 16;

struct Costs {
  double total_s = 0, downtime_s = 0, blocked_s = 0, bytes = 0, to_switch_s = 0;
};

class CostModel {
 public:
  CostModel(const PlanInput& input, const PlanPolicy& policy)
      : input_(input), downtime_max_s_(to_seconds(policy.downtime_max)) {
    const auto data = static_cast<double>(input.pages - std::min(input.zero_pages, input.pages));
    all_bytes_ = data * (kPageBytes * input.packed_ratio + kRecordBytes) +
                 static_cast<double>(input.zero_pages) * kFillBytes;
    round_trip_s_ = to_seconds(input.round_trip);
  }

  Costs of(MigrationMode mode) const {
    switch (mode) {
      case MigrationMode::kPrecopy:
        return precopy();
      case MigrationMode::kPostcopy:
        return postcopy();
      case MigrationMode::kHybrid:
        break;
    }
    return hybrid();
  }

 private:
  double seconds(double bytes) const { return bytes / input_.link_bytes_per_s; }
  // Pages that were written within so long.
  double written_in(double s) const {
    const auto all = static_cast<double>(input_.written_pages);
    return all == 0 ? 0 : all * (1 - std::exp(-input_.dirty_pages_per_s * s / all));
  }
  double again_bytes(double pages) const {
    const bool is_kept = input_.pages <= input_.kept_pages_max || input_.is_profiled;
    const double ratio =
        is_kept ? std::min(input_.delta_ratio, input_.packed_ratio) : input_.packed_ratio;
    return pages * (kPageBytes * ratio + kRecordBytes);
  }
  double switch_s() const { return kSwitchSeconds + round_trip_s_; }

  // Rounds until what is left may be sent while the guest stands still, or stops shrinking.
  Costs precopy() const {
    Costs costs{.bytes = all_bytes_};
    const double last_s = std::max(kSwitchSeconds, downtime_max_s_ - switch_s());
    double round_s = seconds(all_bytes_), left = 0;
    costs.total_s = round_s;
    for (int round = 0; round < kRoundsMax; ++round) {
      left = again_bytes(written_in(round_s));
      const double next_s = seconds(left);
      if (next_s < last_s || next_s > 0.9 * round_s) break;
      costs.bytes += left;
      costs.total_s += next_s;
      round_s = next_s;
    }
    costs.bytes += left;
    costs.downtime_s = seconds(left) + switch_s();
    costs.total_s += costs.downtime_s;
    costs.to_switch_s = costs.total_s;
    return costs;
  }
  Costs postcopy() const {
    const auto touched =
        static_cast<double>(std::max(input_.written_pages, input_.referenced_pages));
    const double hot_bytes = touched * (kPageBytes * input_.packed_ratio + kRecordBytes);
    Costs costs{.bytes = all_bytes_};
    costs.downtime_s = switch_s();
    costs.total_s = costs.downtime_s + seconds(all_bytes_);
    costs.to_switch_s = costs.downtime_s;
    costs.blocked_s =
        std::min(seconds(all_bytes_),
                 seconds(hot_bytes) + kUnforeseenPages * (kFaultSeconds + round_trip_s_));
    return costs;
  }
  Costs hybrid() const {
    const double pass_s = seconds(all_bytes_);
    const double left = again_bytes(written_in(pass_s));
    Costs costs{.bytes = all_bytes_ + left};
    costs.downtime_s = switch_s();
    costs.blocked_s = seconds(left) + (left > 0 ? kFaultSeconds + round_trip_s_ : 0);
    costs.total_s = pass_s + costs.downtime_s + seconds(left);
    costs.to_switch_s = pass_s + costs.downtime_s;
    return costs;
  }

  const PlanInput& input_;
  const double downtime_max_s_;
  double all_bytes_ = 0, round_trip_s_ = 0;
};

Estimate estimate(double value, double noise, const PlanScores::Score& score, bool is_profiled) {
  if (value == 0) return {};  // nothing can come of it
  // A guess of what the guest writes is wider than what was seen.
  const double spread = 1.7 * score.log_spread + (is_profiled ? 0.0 : 0.3);
  const double expected = value * std::exp(score.log_bias);
  return {expected, std::max(0.0, expected * std::exp(-spread) - noise),
          expected * std::exp(spread) + noise};
}

ModeEstimate estimate_mode(MigrationMode mode, const CostModel& model, const PlanInput& input,
                           const PlanPolicy& policy, const PlanScores& scores) {
  const Costs costs = model.of(mode);
  ModeEstimate made{.mode = mode, .to_switch_s = costs.to_switch_s};
  const std::array<double, kPlanFigures> values{costs.total_s, costs.downtime_s, costs.blocked_s,
                                                costs.bytes};
  for (size_t i = 0; i < kPlanFigures; ++i)
    made.figures[i] = estimate(values[i], kNoise[i], scores.of(mode, static_cast<PlanFigure>(i)),
                               input.is_profiled);
  const double downtime = made[PlanFigure::kDowntime].expected;
  const double blocked_share =
      made[PlanFigure::kBlocked].expected / std::max(made[PlanFigure::kTotal].expected, kNoise[0]);
  if (downtime > to_seconds(policy.downtime_max))
    made.why_not = fmt::format("{:.2f} s of downtime, {:.2f} s are allowed", downtime,
                               to_seconds(policy.downtime_max));
  else if (blocked_share > policy.degradation_max)
    made.why_not = fmt::format("the guest waits {:.0f} % of the time, {:.0f} % are allowed",
                               100 * blocked_share, 100 * policy.degradation_max);
  else if (policy.switch_within != Nanos::max() &&
           costs.to_switch_s > to_seconds(policy.switch_within))
    made.why_not = fmt::format("it runs at the target after {:.1f} s, {:.1f} s are allowed",
                               costs.to_switch_s, to_seconds(policy.switch_within));
  made.fits_policy = made.why_not.empty();
  return made;
}

double waited(const ModeEstimate& mode) {
  return mode[PlanFigure::kDowntime].expected + mode[PlanFigure::kBlocked].expected;
}

void choose(MigrationPlan& plan) {
  // From what loses least if a host fails to what loses most.
  constexpr std::array<MigrationMode, kMigrationModes> kByRisk{
      MigrationMode::kPrecopy, MigrationMode::kHybrid, MigrationMode::kPostcopy};
  for (const MigrationMode mode : kByRisk) {
    plan.mode = mode;
    if (!plan.chosen().fits_policy) continue;
    plan.reason =
        fmt::format("{} keeps the policy: {:.2f} s of downtime, {:.2f} s of waiting",
                    migration_mode_name(mode), plan.chosen()[PlanFigure::kDowntime].expected,
                    plan.chosen()[PlanFigure::kBlocked].expected);
    if (mode != MigrationMode::kPrecopy)
      plan.reason += fmt::format("; pre-copy does not: {}",
                                 plan.modes[static_cast<size_t>(MigrationMode::kPrecopy)].why_not);
    return;
  }
  const auto least = std::min_element(
      plan.modes.begin(), plan.modes.end(),
      [](const ModeEstimate& a, const ModeEstimate& b) { return waited(a) < waited(b); });
  plan.mode = least->mode;
  plan.reason =
      fmt::format("no way keeps the policy; with {} the guest waits least, {:.2f} s in all, but {}",
                  migration_mode_name(least->mode), waited(*least), least->why_not);
}

}  // namespace

std::string_view migration_mode_name(MigrationMode mode) {
  constexpr std::array<std::string_view, kMigrationModes> kNames{"pre-copy", "post-copy", "hybrid"};
  return kNames[static_cast<size_t>(mode)];
}

std::string_view plan_figure_name(PlanFigure figure) {
  constexpr std::array<std::string_view, kPlanFigures> kNames{"total_s", "downtime_s", "blocked_s",
                                                              "bytes"};
  return kNames[static_cast<size_t>(figure)];
}

PlanInput plan_input(const MemoryProfile& profile, double link_bytes_per_s, Nanos round_trip,
                     uint64_t referenced_bytes) {
  PlanInput input{.pages = profile.pages,
                  .zero_pages = profile.zero_pages,
                  .written_pages = profile.written_pages(),
                  .referenced_pages = referenced_bytes / kPageBytes,
                  .packed_ratio = profile.packed_ratio,
                  .is_profiled = !profile.rounds.empty(),
                  .link_bytes_per_s = link_bytes_per_s,
                  .round_trip = round_trip};
  if (profile.delta_samples >= kDeltaSamplesMin) input.delta_ratio = profile.delta_ratio;
  // The shortest round shows best how fast pages are written at first.
  for (size_t i = 1; i < profile.rounds.size(); ++i) {
    const double before_s = to_seconds(profile.rounds[i - 1].took);
    if (before_s > 0)
      input.dirty_pages_per_s = std::max(input.dirty_pages_per_s,
                                         static_cast<double>(profile.rounds[i].pages) / before_s);
  }
  // A guest that writes little is done before its second round has ended.
  if (profile.rounds.size() == 1 && profile.rounds[0].took > Nanos::zero())
    input.dirty_pages_per_s =
        static_cast<double>(input.written_pages) / to_seconds(profile.rounds[0].took);
  return input;
}

Result<MigrationPlan> plan_migration(const PlanInput& input, const PlanPolicy& policy,
                                     const PlanScores& scores) {
  if (input.pages == 0) return fail(ErrorCode::kInvalid, "a guest without memory cannot be moved");
  if (!(input.link_bytes_per_s > 0))
    return fail(ErrorCode::kInvalid, "the link's rate is not known");
  const CostModel model(input, policy);
  MigrationPlan plan;
  for (const MigrationMode mode : kModes)
    plan.modes[static_cast<size_t>(mode)] = estimate_mode(mode, model, input, policy, scores);
  choose(plan);
  return plan;
}

HotPages hot_pages_of(const PlanInput& input, const PlanPolicy& policy, MigrationMode mode) {
  if (mode == MigrationMode::kPostcopy) return HotPages::kSend;
  if (!input.is_profiled || !(input.delta_ratio > kHoldRatio)) return HotPages::kKeep;
  if (mode == MigrationMode::kHybrid) return HotPages::kHold;
  // QEMU knows nothing of pages held back: they must not take long while the guest stands still.
  const double hot_s = static_cast<double>(input.written_pages * kPageBytes) * input.packed_ratio /
                       input.link_bytes_per_s;
  return 2 * hot_s <= to_seconds(policy.downtime_max) ? HotPages::kHold : HotPages::kKeep;
}

void PlanScores::learn(const ModeEstimate& predicted,
                       const std::array<double, kPlanFigures>& actual) {
  for (size_t i = 0; i < kPlanFigures; ++i) {
    Score& score = scores_[static_cast<size_t>(predicted.mode)][i];
    const Estimate& said = predicted.figures[i];
    ++score.count;
    score.held += said.holds(actual[i]) ? 1 : 0;
    // What was said had the bias taken out already.
    const double off =
        std::log(std::max(actual[i], kNoise[i]) / std::max(said.expected, kNoise[i]));
    score.log_bias = std::clamp(score.log_bias + kScoreForget * off, -2.0, 2.0);
    score.log_spread += kScoreForget * (std::abs(off) - score.log_spread);
    score.log_spread = std::clamp(score.log_spread, 0.05, 2.0);
  }
}

bool needs_profile(uint64_t pages, uint64_t kept_pages_max, MigrationMode mode) {
  return mode == MigrationMode::kPostcopy ||
         (mode == MigrationMode::kHybrid && pages > kept_pages_max);
}

}  // namespace forerun::migrate
