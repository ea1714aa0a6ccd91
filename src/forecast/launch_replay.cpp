#include "forecast/launch_replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/bytes.h"
#include "core/rng.h"

namespace forerun::forecast {
namespace {

uint64_t hash_of(std::string_view text) {  // FNV-1a, then mixed
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return Rng(hash).next();
}

// Adds to a tick what another bin of it holds.
void add_to(LaunchTick& tick, std::span<const Launched> launched,
            std::span<const Stopped> stopped) {
  for (const Launched& one : launched) {
    const auto same =
        std::find_if(tick.launched.begin(), tick.launched.end(), [&](const Launched& other) {
          return other.host == one.host && other.manifest == one.manifest;
        });
    if (same == tick.launched.end()) {
      tick.launched.push_back(one);
      continue;
    }
    same->batches += one.batches;
    same->launches += one.launches;
    same->tenant = one.tenant;
  }
  for (const Stopped& one : stopped) {
    const auto same =
        std::find_if(tick.stopped.begin(), tick.stopped.end(), [&](const Stopped& other) {
          return other.host == one.host && other.manifest == one.manifest;
        });
    if (same == tick.stopped.end()) tick.stopped.push_back(one);
  }
}

}  // namespace

uint32_t LaunchDealer::tenant_number(const std::string& name) {
  if (name.empty()) return 0;
  const auto next = static_cast<uint32_t>(tenants_.size()) + 1;
  if (const auto known = tenants_.find(name); known != tenants_.end()) return known->second;
  if (next >= kLaunchTenantsMax) return 0;
  tenants_.emplace(name, next);
  return next;
}

std::vector<Launched> LaunchDealer::deal(const trace::LaunchBin& bin) {
  std::map<std::pair<uint32_t, uint32_t>, Launched> cells;
  uint64_t place = 0;
  for (const trace::LaunchBatch& batch : bin.batches) {
    if (batch.parts.empty()) continue;  // VMs that ended
    const uint64_t position = by_ == DealBy::kTrace ? position_ : place;
    ++position_;
    ++place;
    const auto host =
        static_cast<uint32_t>(Rng(seed_ ^ (position * 0x9e3779b97f4a7c15)).below(hosts_));
    for (const auto& part : batch.parts) {
      Launched& cell = cells[{host, part.manifest}];
      cell.host = host;
      cell.manifest = part.manifest;
      ++cell.batches;
      cell.launches += part.launches;
      cell.tenant = tenant_number(batch.tenant);
    }
  }
  std::vector<Launched> launched;
  for (const auto& [key, cell] : cells) launched.push_back(cell);
  return launched;
}

std::vector<Stopped> LaunchDealer::deal_stops(const trace::LaunchBin& bin) const {
  std::set<uint32_t> manifests;
  for (const trace::LaunchBatch& batch : bin.batches)
    for (const auto& part : batch.stops) manifests.insert(part.manifest);
  std::vector<Stopped> stopped;
  if (hosts_ == 1)
    for (const uint32_t manifest : manifests) stopped.push_back({0, manifest});
  return stopped;
}

Status LaunchTicks::add(const trace::LaunchBin& bin, bool counted) {
  if (!ticks_.empty() && bin.second < last_second_)
    return fail(ErrorCode::kInvalid,
                fmt::format("cannot replay launches: second {} does not come after {}; give the "
                            "files in the order of their time",
                            bin.second, last_second_));
  last_second_ = bin.second;
  const auto tick = static_cast<int64_t>(bin.second == 0 ? 0 : (bin.second - 1) / tick_s_);
  std::vector<Launched> launched = dealer_.deal(bin);
  std::vector<Stopped> stopped = dealer_.deal_stops(bin);
  if (!ticks_.empty() && ticks_.back().tick == tick) {
    add_to(ticks_.back(), launched, stopped);
    return {};
  }
  if (!ticks_.empty() && (tick - ticks_.back().tick) * tick_s_ <= kQuiet_s)
    for (int64_t quiet = ticks_.back().tick + 1; quiet < tick; ++quiet)
      ticks_.push_back({quiet, counted, {}, {}});
  ticks_.push_back({tick, counted, std::move(launched), std::move(stopped)});
  return {};
}

uint64_t size_by_name(std::string_view name) {
  const double part = static_cast<double>(hash_of(name) >> 11) * 0x1.0p-53;
  return static_cast<uint64_t>(128 * std::exp2(3 * part)) * kMiB;
}

Result<std::unique_ptr<LaunchReplay>> LaunchReplay::make(const LaunchShape& shape,
                                                         Options options) {
  if (options.sizes.size() != shape.manifests)
    return fail(ErrorCode::kInvalid, "a replay of launches needs one size for each manifest");
  const auto is_zero = [](uint64_t bytes) { return bytes == 0; };
  if (options.budgets.empty() ||
      std::any_of(options.budgets.begin(), options.budgets.end(), is_zero) ||
      std::any_of(options.sizes.begin(), options.sizes.end(), is_zero))
    return fail(ErrorCode::kInvalid, "a replay of launches needs budgets and sizes over 0 bytes");
  FR_TRY(auto engine, LaunchEngine::make(shape, options.engine));
  auto replay =
      std::unique_ptr<LaunchReplay>(new LaunchReplay(shape, std::move(options), std::move(engine)));
  return replay;
}

LaunchReplay::LaunchReplay(const LaunchShape& shape, Options options,
                           std::unique_ptr<LaunchEngine> engine)
    : shape_(shape),
      options_(std::move(options)),
      engine_(std::move(engine)),
      prices_(shape, options_.sizes, options_.prices) {
  for (const std::string_view name : launch_ranking_names()) {
    auto ranking = make_launch_ranking(name, shape_);
    FR_ASSERT(ranking.has_value());
    rankings_.push_back({std::move(*ranking), std::vector<double>(shape_.cells())});
  }
  for (const uint64_t budget : options_.budgets) {
    add_method(kEngine, budget, kNoRanking, true, true);
    add_method(kEngineUnsaved, budget, kNoRanking, false, true);
    for (size_t i = 0; i < rankings_.size(); ++i)
      add_method(launch_ranking_names()[i], budget, i, false, false);
    add_method(kPerByte, budget, 1, false, true);
  }
}

void LaunchReplay::add_method(std::string_view name, uint64_t budget, size_t ranking, bool saves,
                              bool per_byte) {
  const double per_tick = static_cast<double>(budget) * shape_.hosts / shape_.window_ticks;
  methods_.push_back({.result = {.method = std::string(name), .budget_bytes = budget},
                      .plan = LaunchPlan(shape_, {.bytes_per_tick = per_tick,
                                                  .saved_ticks = saves ? options_.saved_ticks : 0}),
                      .ranking = ranking,
                      .saves = saves,
                      .per_byte = per_byte,
                      .used = std::vector<bool>(shape_.cells())});
}

void LaunchReplay::feed(int64_t tick, std::span<const Launched> launched, bool counted,
                        std::span<const Stopped> stopped) {
  const LaunchEngine::Foresight& foresight = engine_->foresee(tick);
  if (counted) {
    if (result_.ticks_counted++ == 0) engine_->reset_scores();
    for (Ranking& ranking : rankings_) ranking.ranking->rank(tick, ranking.ranks);
    for (const Launched& one : launched) {
      result_.launches += one.launches;
      result_.batches += one.batches;
    }
    for (Method& method : methods_) {
      const auto& worth =
          method.ranking == kNoRanking ? foresight.expected : rankings_[method.ranking].ranks;
      const auto chosen = method.plan.plan(tick, worth, options_.sizes,
                                           method.saves ? &prices_ : nullptr, method.per_byte);
      method.result.prefetches += chosen.size();
      for (const LaunchPrefetch& one : chosen)
        method.used[shape_.cell(one.host, one.manifest)] = false;
      count(tick, launched, method);
    }
  } else {
    ++result_.ticks_learned;
  }
  prices_.see(tick, foresight.expected);
  engine_->learn(tick, launched, stopped);
  for (Ranking& ranking : rankings_) ranking.ranking->learn(tick, launched);
}

void LaunchReplay::count(int64_t tick, std::span<const Launched> launched, Method& method) {
  for (const Launched& one : launched) {
    if (!method.plan.ready(one.host, one.manifest, tick)) continue;
    method.result.launches_ready += one.launches;
    method.result.batches_ready += one.batches;
    const size_t cell = shape_.cell(one.host, one.manifest);
    if (!method.used[cell]) ++method.result.used;
    method.used[cell] = true;
  }
}

LaunchReplayResult LaunchReplay::result() const {
  LaunchReplayResult result = result_;
  for (const Method& method : methods_) {
    result.methods.push_back(method.result);
    MethodResult& one = result.methods.back();
    one.spent_bytes = method.plan.spent_bytes();
    one.granted_bytes =
        static_cast<uint64_t>(static_cast<double>(one.budget_bytes) * shape_.hosts /
                              shape_.window_ticks * static_cast<double>(result.ticks_counted));
  }
  result.reliability = engine_->reliability();
  result.scores = engine_->scores();
  return result;
}

}  // namespace forerun::forecast
