#include "forecast/launch_outlook.h"

#include <algorithm>
#include <array>

namespace forerun::forecast {
namespace {

constexpr std::array<std::string_view, 2> kRules = {"last_value", "most_frequent"};

}  // namespace

std::span<const std::string_view> LaunchOutlook::rules() { return kRules; }

Result<std::unique_ptr<LaunchOutlook>> LaunchOutlook::make(Options options, Names names,
                                                           uint32_t manifests) {
  const LaunchShape shape{.hosts = static_cast<uint32_t>(names.hosts.size()),
                          .manifests = manifests,
                          .tick_s = options.tick_s,
                          .window_ticks = options.window_ticks,
                          .tenants = static_cast<uint32_t>(names.tenants.size()) + 1};
  FR_TRY(auto engine, LaunchEngine::make(shape, std::move(options.engine)));
  auto outlook =
      std::unique_ptr<LaunchOutlook>(new LaunchOutlook(shape, std::move(names), std::move(engine)));
  for (const std::string_view rule : kRules) {
    FR_TRY(auto ranking, make_launch_ranking(rule, shape));
    outlook->rankings_.push_back(std::move(ranking));
  }
  return outlook;
}

LaunchOutlook::LaunchOutlook(LaunchShape shape, Names names, std::unique_ptr<LaunchEngine> engine)
    : shape_(shape), names_(std::move(names)), engine_(std::move(engine)) {}

int64_t LaunchOutlook::tick_of(uint64_t second) const {
  return static_cast<int64_t>(second == 0 ? 0 : (second - 1) / shape_.tick_s);
}

void LaunchOutlook::on_bin(const trace::LaunchBin& bin) {
  move_to(tick_of(bin.second));
  for (const trace::LaunchBatch& batch : bin.batches) {
    const auto named = std::find(names_.hosts.begin(), names_.hosts.end(), batch.host);
    if (named == names_.hosts.end() && !batch.host.empty()) continue;
    add(batch,
        batch.host.empty() ? 0 : static_cast<uint32_t>(std::distance(names_.hosts.begin(), named)));
  }
}

void LaunchOutlook::add(const trace::LaunchBatch& batch, uint32_t host) {
  const auto tenant = std::find(names_.tenants.begin(), names_.tenants.end(), batch.tenant);
  const auto tenant_number =
      tenant == names_.tenants.end()
          ? 0
          : static_cast<uint32_t>(std::distance(names_.tenants.begin(), tenant)) + 1;
  for (const auto& part : batch.parts) {
    if (part.manifest >= shape_.manifests) continue;
    const auto same = std::find_if(launched_.begin(), launched_.end(), [&](const Launched& other) {
      return other.host == host && other.manifest == part.manifest;
    });
    if (same == launched_.end()) {
      launched_.push_back({host, part.manifest, 1, part.launches, tenant_number});
    } else {
      ++same->batches;
      same->launches += part.launches;
      same->tenant = tenant_number;
    }
  }
  for (const auto& part : batch.stops) {
    if (part.manifest >= shape_.manifests) continue;
    const auto same = std::find_if(stopped_.begin(), stopped_.end(), [&](const Stopped& other) {
      return other.host == host && other.manifest == part.manifest;
    });
    if (same == stopped_.end()) stopped_.push_back({host, part.manifest});
  }
}

bool LaunchOutlook::advance(uint64_t now) { return move_to(tick_of(now)); }

bool LaunchOutlook::move_to(int64_t tick) {
  if (tick <= tick_) return false;
  if (tick_ >= 0) {
    learn(tick_);
    if ((tick - tick_) * shape_.tick_s <= kQuietSeconds)
      for (int64_t quiet = tick_ + 1; quiet < tick; ++quiet) {
        engine_->foresee(quiet);
        learn(quiet);
      }
  }
  tick_ = tick;
  engine_->foresee(tick_);
  return true;
}

void LaunchOutlook::learn(int64_t tick) {
  engine_->learn(tick, launched_, stopped_);
  for (const auto& ranking : rankings_) ranking->learn(tick, launched_);
  launched_.clear();
  stopped_.clear();
  ++ticks_learned_;
}

std::vector<LaunchExpectation> LaunchOutlook::ranked() const {
  std::vector<LaunchExpectation> all;
  if (tick_ < 0) return all;
  const uint64_t begin = static_cast<uint64_t>(tick_) * shape_.tick_s;
  for (uint32_t m = 0; m < shape_.manifests; ++m) {
    const LaunchPrediction one = engine_->prediction(0, m);
    all.push_back({.manifest = m,
                   .probability = one.probability,
                   .expected_launches = one.expected_launches,
                   .due_second = begin + static_cast<uint64_t>(one.due_s),
                   .pieces = engine_->said(0, m)});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.manifest < b.manifest;
  });
  return all;
}

std::vector<double> LaunchOutlook::ranks_by(size_t rule) {
  std::vector<double> cells(shape_.cells());
  rankings_.at(rule)->rank(std::max<int64_t>(tick_, 0), cells);
  cells.resize(shape_.manifests);  // the own host's come first
  return cells;
}

}  // namespace forerun::forecast
