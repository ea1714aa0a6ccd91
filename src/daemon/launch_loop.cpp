#include "daemon/launch_loop.h"

#include "core/log.h"

namespace forerun::daemon {
namespace {

using forecast::LaunchExpectation;
using forecast::LaunchOutcome;
using forecast::LaunchOutlook;
using prefetch::LaunchFetcher;
using prefetch::LaunchWish;

constexpr uint64_t kHeartbeatSeconds = 1800;  // a quiet hour must not look like nobody watched
constexpr size_t kHostsMax = 16;              // told apart; so the next
constexpr size_t kTenantsMax = 32;
constexpr size_t kImageBytesMax = 1024;
// Cells × periods that are learned at most, at about 5 µs each; periods at most.
constexpr uint64_t kLearnCells = 2'000'000, kLearnPeriods = 50'000;
// One host gives the mix an outcome a tick and image, where the fleets that its rate was measured
// on gave fifty. At ten times that rate a daily timer is believed after three days, an hourly one
// after one.
constexpr double kMixRate = 0.005;
constexpr size_t kForecastShown = 32;

std::vector<std::string> rule_names() {
  return {LaunchOutlook::rules().begin(), LaunchOutlook::rules().end()};
}

LaunchFetcher::Options fetcher_options(const LaunchLoop::Options& options) {
  LaunchFetcher::Options fetcher;
  fetcher.horizon = std::chrono::seconds(options.horizon_s);
  fetcher.boot_window = std::min<Nanos>(fetcher.boot_window, fetcher.horizon);
  fetcher.budget.max_bytes = options.budget_bytes;
  fetcher.budget.initial_bytes = options.budget_bytes / 2;
  // What comes true as often as it must to be fetched for keeps the budget as it is.
  fetcher.budget.usefulness_min = 0.8 * static_cast<double>(options.probability_min);
  fetcher.budget.probe_bytes = std::min<uint64_t>(1 << 20, options.budget_bytes);
  fetcher.budget.probe_interval = fetcher.horizon;
  fetcher.budget.probe_interval_max = std::chrono::hours(24);
  return fetcher;
}

std::string_view word(LaunchOutcome outcome) {
  switch (outcome) {
    case LaunchOutcome::kOpen:
      return "open";
    case LaunchOutcome::kHit:
      return "hit";
    case LaunchOutcome::kLate:
      return "late";
    case LaunchOutcome::kWasted:
      return "wasted";
  }
  return "open";
}

api::LaunchScoreInfo info_of(const forecast::LaunchScore& score) {
  api::LaunchScoreInfo info;
  info.from_unix_seconds = static_cast<int64_t>(score.second);
  info.launches = score.launches;
  info.launches_late = score.launches_late;
  info.windows_late = score.windows_late;
  info.fetched_bytes = score.fetched_bytes;
  info.used_bytes = score.used_bytes;
  info.wasted_bytes = score.wasted_bytes;
  for (size_t i = 0; i < score.methods.size(); ++i) {
    const forecast::LaunchTally& tally = score.methods[i];
    info.methods.push_back({i == 0 ? "forerun" : std::string(LaunchOutlook::rules()[i - 1]),
                            tally.windows, tally.windows_hit, tally.windows_wasted,
                            tally.launches_ready, tally.bytes});
  }
  return info;
}

}  // namespace

LaunchLoop::LaunchLoop(Options options, std::unique_ptr<LaunchHistory> history, Look look,
                       prefetch::Prefetcher::IsHere is_here)
    : options_(std::move(options)),
      history_(std::move(history)),
      look_(std::move(look)),
      account_({.window_s = options_.horizon_s}, rule_names()),
      fetcher_(fetcher_options(options_), std::move(is_here)) {}

LaunchOutlook::Names LaunchLoop::names() const {
  LaunchOutlook::Names names{.hosts = {options_.host}, .tenants = {}};
  const auto add = [](std::vector<std::string>& known, const std::string& name, size_t most) {
    if (!name.empty() && known.size() < most &&
        std::find(known.begin(), known.end(), name) == known.end())
      known.push_back(name);
  };
  for (const trace::LaunchBin& bin : history_->bins())
    for (const trace::LaunchBatch& batch : bin.batches) {
      add(names.hosts, batch.host, kHostsMax);
      add(names.tenants, batch.tenant, kTenantsMax);
    }
  return names;
}

void LaunchLoop::learn(uint64_t second) {
  // Some room, so that not every new image means to begin anew.
  const size_t known = history_->names().size();
  const size_t images =
      std::min<size_t>(known + std::max<size_t>(4, known / 4), forecast::kLaunchManifestsMax);
  LaunchOutlook::Options options;
  options.tick_s = options_.period_s;
  options.window_ticks = options_.horizon_s / options_.period_s;
  options.engine.mix.rate = kMixRate;
  const LaunchOutlook::Names names = this->names();
  tenants_ = {names.tenants.begin(), names.tenants.end()};
  auto outlook = LaunchOutlook::make(options, names, static_cast<uint32_t>(images));
  FR_ASSERT(outlook.has_value(), "the configuration bounds the outlook's shape");
  const uint64_t periods = std::min(kLearnPeriods, kLearnCells / (images * names.hosts.size()));
  const uint64_t span = periods * options_.period_s;
  for (const trace::LaunchBin& bin : history_->bins())
    if (bin.second + span >= second) (*outlook)->on_bin(bin);
  (*outlook)->advance(second);
  outlook_ = std::move(*outlook);
  learned_epoch_ = history_->epoch();
  ranked_ = outlook_->ranked();
}

void LaunchLoop::note(std::vector<trace::LaunchBatch> batches, uint64_t second) {
  if (const auto kept = history_->append(second, std::move(batches)); !kept)
    log::warn("a launch cannot be noted: {}", kept.error().message);
  const auto is_new = [&](const trace::LaunchBatch& batch) {
    return !batch.tenant.empty() && tenants_.size() < kTenantsMax &&
           !tenants_.contains(batch.tenant);
  };
  const auto& noted = history_->bins().back().batches;
  if (history_->epoch() != learned_epoch_ || history_->names().size() > outlook_->manifests() ||
      std::any_of(noted.begin(), noted.end(), is_new))
    learn(second);
  else
    outlook_->on_bin(history_->bins().back());
}

void LaunchLoop::on_launch(const std::string& image, const std::string& tenant, uint64_t second,
                           Time now) {
  const bool is_ready = !options_.acts || fetcher_.readiness(image).is_ready;
  account_.advance(second);
  account_.on_launch(image, is_ready, second);
  fetcher_.on_launch(image, now);
  note({trace::LaunchBatch{{{history_->number_of(image), 1}}, {}, options_.host, tenant}}, second);
}

void LaunchLoop::on_stop(const std::string& image, uint64_t second) {
  note({trace::LaunchBatch{{}, {{history_->number_of(image), 1}}, options_.host, {}}}, second);
}

Result<LaunchHistory::Reading> LaunchLoop::import(const std::string& path, uint64_t second) {
  FR_TRY(const auto reading, history_->import(path, second));
  if (outlook_) learn(second);
  return reading;
}

bool LaunchLoop::advance(uint64_t second, prefetch::LinkCost link, Time now) {
  fetcher_.tick(now);
  settle(second);
  account_.advance(second);
  if (history_->bins().empty() || second >= history_->bins().back().second + kHeartbeatSeconds)
    note({}, second);
  if (!outlook_->advance(second)) return false;
  ranked_ = outlook_->ranked();
  look_ahead(second, link, now);
  return true;
}

void LaunchLoop::look_ahead(uint64_t second, prefetch::LinkCost link, Time now) {
  std::vector<LaunchWish> wishes;
  for (const LaunchExpectation& one : ranked_) {
    if (one.manifest >= history_->names().size()) continue;
    const std::string& image = history_->names().name_of(one.manifest);
    const bool is_likely = one.probability >= options_.probability_min;
    if ((!is_likely && !account_.is_open(image)) || wishes.size() >= options_.images_max) continue;
    auto chunks = look_(image);
    if (!chunks && chunks.error().code == ErrorCode::kUnavailable) break;
    if (!chunks || chunks->empty()) continue;
    uint64_t bytes = 0;
    for (const LaunchWish::Chunk& chunk : *chunks) bytes += chunk.chunk.stored_size;
    if (image_bytes_.size() < kImageBytesMax) image_bytes_[image] = bytes;
    if (is_likely && !account_.is_open(image)) {
      account_.open(image, one.probability, bytes, second);
      hold(*chunks, one.probability, now);
    }
    const Nanos until = std::chrono::seconds(one.due_second > second ? one.due_second - second : 0);
    wishes.push_back({image, one.probability, now + until, std::move(*chunks)});
  }
  account_.spend_as([this](size_t rule) { return images_by(rule); },
                    [this](const std::string& image) { return bytes_of(image); }, second);
  if (!options_.acts || account_.muted()) wishes.clear();
  fetcher_.wish(std::move(wishes), link, now);
}

// Once a window: each call stands for one use.
void LaunchLoop::hold(const Chunks& chunks, float probability, Time now) const {
  if (!options_.need || !options_.acts || account_.muted()) return;
  const Time until = now + std::chrono::seconds(options_.horizon_s);
  for (const LaunchWish::Chunk& one : chunks)
    options_.need(one.chunk.id, probability * one.support, until);
}

std::vector<std::string> LaunchLoop::images_by(size_t rule) {
  std::vector<std::pair<double, std::string>> ranks;
  const std::vector<double> by_number = outlook_->ranks_by(rule);
  for (uint32_t m = 0; m < std::min(by_number.size(), history_->names().size()); ++m)
    if (by_number[m] > 0) ranks.emplace_back(-by_number[m], history_->names().name_of(m));
  std::sort(ranks.begin(), ranks.end());
  std::vector<std::string> images;
  for (auto& [rank, image] : ranks) images.push_back(std::move(image));
  return images;
}

// An image that was never looked at counts as large as the others are on average.
uint64_t LaunchLoop::bytes_of(const std::string& image) const {
  if (const auto known = image_bytes_.find(image); known != image_bytes_.end())
    return std::max<uint64_t>(1, known->second);
  uint64_t sum = 0;
  for (const auto& [name, bytes] : image_bytes_) sum += bytes;
  return std::max<uint64_t>(1, sum / std::max<size_t>(1, image_bytes_.size()));
}

void LaunchLoop::settle(uint64_t second) {
  for (const LaunchFetcher::Event& event : fetcher_.take_events()) {
    switch (event.came) {
      case LaunchFetcher::Came::kFetched:
        account_.on_fetched(event.image, event.bytes, second);
        break;
      case LaunchFetcher::Came::kUsed:
        account_.on_used(event.image, event.bytes, second);
        break;
      case LaunchFetcher::Came::kWasted:
        account_.on_wasted(event.image, event.bytes, second);
        break;
    }
  }
}

api::LaunchForecastInfo LaunchLoop::info(const LaunchExpectation& one) const {
  api::LaunchForecastInfo info;
  info.image = history_->names().name_of(one.manifest);
  info.probability = one.probability;
  info.expected_launches = one.expected_launches;
  info.due_unix_seconds = static_cast<int64_t>(one.due_second);
  for (const forecast::PieceSaid& piece : one.pieces)
    info.pieces.push_back({std::string(piece.name), piece.probability, piece.weight});
  const LaunchFetcher::Readiness ready = fetcher_.readiness(info.image);
  info.foreseen_bytes = ready.foreseen_bytes;
  info.foreseen_here_bytes = ready.here_bytes;
  info.foreseen_chunks = ready.foreseen_chunks;
  info.window_open = account_.is_open(info.image);
  return info;
}

void LaunchLoop::set_components(const std::string& image, std::vector<std::string> components) {
  if (image_components_.contains(image) || image_components_.size() < kImageBytesMax)
    image_components_[image] = std::move(components);
}

// Launches of different images count as independent.
std::vector<api::LaunchComponentInfo> LaunchLoop::components_of(
    const std::vector<api::LaunchForecastInfo>& forecast) const {
  std::map<std::string, api::LaunchComponentInfo> found;
  for (const api::LaunchForecastInfo& one : forecast) {  // likeliest first
    const auto known = image_components_.find(one.image);
    if (known == image_components_.end()) continue;
    for (const std::string& component : known->second) {
      api::LaunchComponentInfo& info = found[component];
      if (info.images.empty()) info.due_unix_seconds = one.due_unix_seconds;
      info.component = component;
      info.probability = 1 - (1 - info.probability) * (1 - one.probability);
      info.images.push_back(one.image);
    }
  }
  std::vector<api::LaunchComponentInfo> all;
  for (auto& [name, info] : found) all.push_back(std::move(info));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.probability != b.probability ? a.probability > b.probability
                                          : a.component < b.component;
  });
  return all;
}

api::LaunchReport LaunchLoop::report() const {
  api::LaunchReport report;
  report.state = account_.muted() ? "muted" : options_.acts ? "on" : "observe";
  report.host = options_.host;
  report.period_seconds = options_.period_s;
  report.horizon_seconds = options_.horizon_s;
  report.probability_min = static_cast<double>(options_.probability_min);
  report.came_true_ratio = account_.share_that_came_true();
  report.ticks_learned = outlook_ ? outlook_->ticks_learned() : 0;
  report.history_lines = history_->bins().size();
  report.history_bytes = history_->file_bytes();
  report.history_images = history_->names().size();
  report.history_refused_lines = history_->opened().refused;
  report.history_first_refusal = history_->opened().first_refusal;
  if (!history_->bins().empty()) {
    report.history_first_unix_seconds = static_cast<int64_t>(history_->bins().front().second);
    report.history_last_unix_seconds = static_cast<int64_t>(history_->bins().back().second);
  }
  report.budget_bytes_max = options_.budget_bytes;
  report.budget_bytes = fetcher_.budget().available_bytes();
  report.undecided_bytes = fetcher_.budget().undecided_bytes();
  for (const LaunchExpectation& one : ranked_) {
    if (report.forecast.size() >= kForecastShown) break;
    if (one.manifest < history_->names().size()) report.forecast.push_back(info(one));
  }
  report.components = components_of(report.forecast);
  for (const forecast::LaunchWindow& window : account_.windows())
    report.windows.push_back(
        {window.image, static_cast<double>(window.probability), static_cast<int64_t>(window.opened),
         static_cast<int64_t>(window.launched), std::string(word(window.outcome)),
         window.image_bytes, window.fetched_bytes, window.used_bytes, window.wasted_bytes});
  report.total = info_of(account_.total());
  for (const forecast::LaunchScore& hour : account_.hours()) report.hours.push_back(info_of(hour));
  return report;
}

std::string launch_metrics(const api::LaunchReport& report) {
  std::string text;
  const auto family = [&text](std::string_view name, std::string_view help, std::string_view type) {
    text += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  };
  const api::LaunchScoreInfo& total = report.total;
  family("forerun_launches_total", "Launches of VMs on this host.", "counter");
  text += fmt::format("forerun_launches_total {}\n", total.launches);
  family("forerun_launches_ready_total",
         "Launches whose image had been fetched for, or would have been by a simple rule.",
         "counter");
  for (const auto& method : total.methods)
    text += fmt::format("forerun_launches_ready_total{{method=\"{}\"}} {}\n", method.name,
                        method.launches_ready);
  family("forerun_launch_windows_total", "Images fetched for, by what came of it.", "counter");
  if (!total.methods.empty()) {
    const std::pair<std::string_view, uint64_t> outcomes[] = {
        {"hit", total.methods[0].windows_hit},
        {"late", total.windows_late},
        {"wasted", total.methods[0].windows_wasted}};
    for (const auto& [outcome, count] : outcomes)
      text += fmt::format("forerun_launch_windows_total{{outcome=\"{}\"}} {}\n", outcome, count);
  }
  family("forerun_launch_bytes_total", "Bytes fetched for launches, and what came of them.",
         "counter");
  const std::pair<std::string_view, uint64_t> bytes[] = {
      {"fetched", total.fetched_bytes}, {"used", total.used_bytes}, {"wasted", total.wasted_bytes}};
  for (const auto& [what, count] : bytes)
    text += fmt::format("forerun_launch_bytes_total{{what=\"{}\"}} {}\n", what, count);
  family("forerun_launch_budget_bytes", "What may be fetched for launches now.", "gauge");
  text += fmt::format("forerun_launch_budget_bytes {}\n", report.budget_bytes);
  family("forerun_launch_muted", "1 while fetching for launches is silenced: it wasted.", "gauge");
  text += fmt::format("forerun_launch_muted {}\n", report.state == "muted" ? 1 : 0);
  family("forerun_launch_history_lines", "Lines of the history of launches.", "gauge");
  text += fmt::format("forerun_launch_history_lines {}\n", report.history_lines);
  return text;
}

}  // namespace forerun::daemon
