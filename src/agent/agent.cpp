#include "agent/agent.h"

#include <algorithm>

namespace forerun::agent {
namespace {

using telemetry::Metric;

constexpr uint64_t kWatchedBytesMin = 4ull << 20;  // smaller processes are not worth it
// One this much less busy than the busiest is watched in its turn: who walks through memory that is
// there needs far less CPU time than who is given new pages.
constexpr uint64_t kLessBusy = 16;
constexpr double kTickCostWeight = 0.2;
// What is cheap again (a boot is over) shows sooner: ticks are rare then.
constexpr double kTickCostWeightDown = 0.5;
// Of the budget; the rest is for windows of page watching.
constexpr double kTicksShare = 0.6;
// Until a window has been paid for: 30 µs a MiB for clearing and reading (docs/SPECIFICATION.md).
constexpr double kWindowCostPerByte = 30e-6 / (1 << 20);

bool is_watching(telemetry::Metrics metrics) {
  return metrics.has(Metric::kWorkingSet) || metrics.has(Metric::kPattern);
}

}  // namespace

Agent::Agent(AgentOptions options, std::string instance, PageSources sources)
    : options_(std::move(options)), instance_(std::move(instance)), watch_(std::move(sources)) {}

Status Agent::obey(std::string_view line) {
  FR_TRY(const telemetry::Control control, telemetry::parse_control(line));
  if (control.period_ms) options_.period_ms = *control.period_ms;
  if (control.metrics) metrics_ = *control.metrics;
  return {};
}

Nanos Agent::period() const {
  const auto asked = std::chrono::milliseconds(options_.period_ms);
  return std::max<Nanos>(
      asked, std::min<Nanos>(from_seconds(tick_cost_s_ / (kTicksShare * options_.cpu_budget_ratio)),
                             std::chrono::minutes(1)));
}

std::optional<PageWatch::Target> Agent::pick_target() {
  const CpuCounters& now = *now_->cpu;
  std::vector<std::pair<uint64_t, PageWatch::Target>> busy;
  uint64_t most = 0;
  for (const auto& [pid, process] : now.processes) {
    const auto past = before_->cpu->processes.find(pid);
    if (past == before_->cpu->processes.end() || process.rss_bytes < kWatchedBytesMin) continue;
    const uint64_t ticks = process.cpu_ticks - std::min(process.cpu_ticks, past->second.cpu_ticks);
    if (ticks == 0) continue;
    most = std::max(most, ticks);
    busy.push_back({ticks, {pid, process.start_ticks, process.name, process.minor_faults}});
  }
  // No more than it is remembered of what they did before.
  std::ranges::sort(busy, [](const auto& a, const auto& b) { return a.first > b.first; });
  if (busy.size() > PageWatch::kPastsMax)
    busy.erase(busy.begin() + PageWatch::kPastsMax, busy.end());
  // The one that was not watched for longest; of those never watched, the busiest.
  std::optional<PageWatch::Target> target;
  std::pair<Time, uint64_t> best{};
  for (const auto& [ticks, one] : busy) {
    if (ticks * kLessBusy < most) continue;
    const std::pair rank{watch_.last_watched(one), most - ticks};
    if (target && rank >= best) continue;
    best = rank;
    target = one;
  }
  return target;
}

void Agent::watch_pages(Time now, Nanos cpu_used, telemetry::Profile& profile) {
  const double seconds = to_seconds(now - before_->at);
  allowance_s_ += seconds * options_.cpu_budget_ratio - to_seconds(cpu_used);
  allowance_s_ = std::clamp(allowance_s_, -1.0, std::max(0.02, 2 * window_cost_s_));
  if (watch_.is_open()) {
    const Nanos harm = watch_.end(now, profile);
    const double rest_s = std::min(60.0, to_seconds(harm) / options_.harm_budget_ratio);
    windows_not_before_ = now + from_seconds(rest_s);
    return;
  }
  why_no_window_ = "no process of 4 MiB or more was busy";
  if (!before_->cpu || !now_->cpu || !watch_.sources().referenced) return;
  const auto target = pick_target();
  if (!target) return;
  const uint64_t rss = now_->cpu->processes.at(target->pid).rss_bytes;
  why_no_window_ = fmt::format("process {} is over 2 GiB", target->pid);
  if (rss > PageWatch::kRssBytesMax) return;
  window_cost_s_ = static_cast<double>(rss) * kWindowCostPerByte;
  why_no_window_ = "the budget allows a window only now and then";
  if (allowance_s_ < window_cost_s_ || now < windows_not_before_) return;
  watch_.begin(*target, now);
}

void Agent::say_what_is_missing(telemetry::Profile& profile) const {
  const PageSources& sources = watch_.sources();
  const auto say = [&](Metric metric, const std::string& reason) {
    if (metrics_.has(metric)) profile.missing.push_back({std::string(metric_name(metric)), reason});
  };
  if (!profile.working_set)
    say(Metric::kWorkingSet, sources.referenced ? why_no_window_ : sources.why_not);
  if (!profile.pattern) {
    const bool can = sources.referenced && sources.soft_dirty;
    say(Metric::kPattern, can ? why_no_window_ : sources.why_not);
  }
}

std::optional<telemetry::Profile> Agent::tick(Time now, Nanos cpu_used) {
  before_ = std::move(now_);
  now_ = read_counters(options_.root, metrics_, now);
  const Nanos spent = cpu_used - cpu_before_;
  cpu_before_ = cpu_used;
  if (!before_ || before_->at >= now) return std::nullopt;
  if (metrics_.has(Metric::kCpu) && before_->cpu && now_->cpu)
    add_threads(options_.root, *before_->cpu, *now_->cpu);
  telemetry::Profile profile = profile_between(*before_, *now_);
  // A tick that worked at a window is the allowance's, not the period's.
  if (!watch_.is_open()) {
    const double more = to_seconds(spent) - tick_cost_s_;
    tick_cost_s_ += (more > 0 ? kTickCostWeight : kTickCostWeightDown) * more;
  }
  if (is_watching(metrics_)) {
    watch_pages(now, spent, profile);
    say_what_is_missing(profile);
  }
  if (!metrics_.has(Metric::kCpu)) profile.cpu.reset();  // was read to find whom to watch
  if (!metrics_.has(Metric::kPattern)) profile.pattern.reset();
  if (!metrics_.has(Metric::kWorkingSet)) profile.working_set.reset();
  profile.instance = instance_;
  profile.sequence = ++sequence_;
  profile.monotonic_ns = static_cast<uint64_t>(now.time_since_epoch().count());
  profile.period_ms = static_cast<uint64_t>(period() / 1ms);
  profile.agent.cpu_ratio = std::max(0.0, to_seconds(spent) / to_seconds(now - before_->at));
  profile.agent.unsent = unsent_;
  if (const auto text = read_text("/proc/self/stat", 1024)) {
    if (const auto self = parse_process(*text)) profile.agent.rss_bytes = self->rss_bytes;
  }
  return profile;
}

}  // namespace forerun::agent
