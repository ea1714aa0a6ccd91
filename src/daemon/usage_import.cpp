#include "daemon/usage_import.h"

#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "core/id.h"
#include "core/log.h"
#include "os/file.h"
#include "telemetry/sample_grid.h"

namespace forerun::daemon {
namespace {

using telemetry::HistoryPoint;
using telemetry::MetricQuery;
using telemetry::MinuteValues;
using telemetry::Resolution;
using telemetry::SeriesName;

constexpr int64_t kHour_s = 3600;
constexpr int64_t kWindow_s = 6 * kHour_s;
// What is younger may still be on its way to where it is kept.
constexpr int64_t kSettled_s = 120;
constexpr double kValueMax = 1e30;
constexpr size_t kQueriesBytesMax = 1 << 20;

using Values = std::map<SeriesName, MinuteValues>;

// Of one metric of hosts or of VMs: all its queries, what each says added up.
Status add_metric(const UsageImportJob& job, const std::vector<const MetricQuery*>& queries,
                  int64_t begin_s, size_t minutes, std::set<std::string>& refused, Values& values) {
  std::map<std::string, MinuteValues> sums;
  for (size_t i = 0; i < queries.size(); ++i) {
    const MetricQuery& query = *queries[i];
    telemetry::RemoteQuery asked;
    asked.from_ms = (begin_s - telemetry::kStale_s) * 1000;
    asked.until_ms =
        (begin_s + static_cast<int64_t>(minutes) * telemetry::kMinute_s + telemetry::kStale_s) *
        1000;
    asked.matchers = query.select;
    if (!job.instance.empty())
      asked.matchers.push_back(telemetry::matcher_of_instance(job.instance));
    FR_TRY(const auto series, job.read(asked));
    auto joined = telemetry::joined_minutes(query, series, begin_s, minutes);
    if (i == 0) {
      sums = std::move(joined);
      continue;
    }
    std::erase_if(sums, [&](const auto& sum) { return !joined.contains(sum.first); });
    for (auto& [vm, sum] : sums) telemetry::add_where_both(sum, joined[vm]);
  }
  const MetricQuery& first = *queries.front();
  for (auto& [vm, sum] : sums) {
    if (!first.vm_label.empty() && !is_valid_name(vm)) {
      refused.insert(vm);
      continue;
    }
    values[{first.vm_label.empty() ? "host" : "vm/" + vm, first.metric}] = std::move(sum);
  }
  return {};
}

// Queries by what they are of, in their order.
std::map<std::pair<bool, std::string>, std::vector<const MetricQuery*>> by_metric(
    const std::vector<MetricQuery>& queries) {
  std::map<std::pair<bool, std::string>, std::vector<const MetricQuery*>> groups;
  for (const MetricQuery& query : queries)
    groups[{query.vm_label.empty(), query.metric}].push_back(&query);
  return groups;
}

// Rows of one resolution: whole spans that end at `until_s` or before.
Status fill(const Values& values, Resolution resolution, int64_t begin_s, int64_t until_s,
            store::HistoryStore& history, UsageImported& imported, std::set<SeriesName>& seen) {
  const int64_t span = telemetry::rule(resolution).seconds;
  const auto step = static_cast<size_t>(span / telemetry::kMinute_s);
  store::HistoryStore::Rows rows;
  for (const auto& [name, minutes] : values) {
    std::optional<uint32_t> id;
    for (size_t m = 0; m + step <= minutes.size(); m += step) {
      const int64_t at = begin_s + static_cast<int64_t>(m) * telemetry::kMinute_s;
      if (at + span > until_s) break;
      double sum = 0, most = -kValueMax;
      size_t count = 0;
      for (size_t i = m; i < m + step; ++i) {
        if (!minutes[i] || !(std::abs(*minutes[i]) < kValueMax)) continue;
        sum += *minutes[i];
        most = std::max(most, *minutes[i]);
        ++count;
      }
      if (count == 0) continue;
      if (!id) {
        FR_TRY(id, history.series(name));
        seen.insert(name);
      }
      rows[at].push_back(
          {*id, static_cast<float>(sum / static_cast<double>(count)), static_cast<float>(most)});
    }
  }
  FR_TRY(const uint64_t added, history.fill(resolution, rows));
  imported.points += added;
  return {};
}

}  // namespace

Result<UsageImported> import_usage(const UsageImportJob& job, store::HistoryStore& history) {
  UsageImported imported;
  std::set<SeriesName> seen;
  std::set<std::string> refused;
  const auto groups = by_metric(job.queries);
  const int64_t first = job.from_s / kHour_s * kHour_s;
  int64_t window = kWindow_s;
  for (int64_t at = first; at < job.until_s;) {
    const int64_t end = std::min(at + window, (job.until_s + kHour_s - 1) / kHour_s * kHour_s);
    const auto minutes = static_cast<size_t>((end - at) / telemetry::kMinute_s);
    Values values;
    Status asked;
    for (const auto& [of, queries] : groups)
      if (asked) asked = add_metric(job, queries, at, minutes, refused, values);
    if (!asked && asked.error().code == ErrorCode::kTooLarge && window > kHour_s) {
      window = std::max(kHour_s, window / 2 / kHour_s * kHour_s);  // less at once
      continue;
    }
    FR_CHECK(asked);
    for (const Resolution each : {Resolution::k1min, Resolution::k5min, Resolution::k1h})
      if (end > job.until_s - telemetry::rule(each).kept_seconds)
        FR_CHECK(fill(values, each, at, job.until_s, history, imported, seen));
    at = end;
    imported.until_s = std::min(end, job.until_s);
    imported.series = seen.size();
    imported.refused = refused.size();
    if (job.go_on && !job.go_on(static_cast<uint64_t>(imported.until_s - first),
                                static_cast<uint64_t>(job.until_s - first)))
      break;
  }
  return imported;
}

std::string words_of(const UsageImported& imported) {
  std::string text = fmt::format("{} points of {} series added", imported.points, imported.series);
  if (imported.refused > 0)
    text += fmt::format("; {} VMs left out, whose label is no name of a VM", imported.refused);
  return text;
}

UsageImporter::UsageImporter(Options options, store::HistoryStore& history,
                             std::function<int64_t()> unix_seconds,
                             std::shared_ptr<net::Prometheus> source)
    : options_(std::move(options)),
      history_(history),
      unix_seconds_(std::move(unix_seconds)),
      source_(std::move(source)) {}

Result<std::unique_ptr<UsageImporter>> UsageImporter::create(
    Options options, store::HistoryStore& history, std::function<int64_t()> unix_seconds) {
  std::shared_ptr<net::Prometheus> source;
  if (!options.source.url.empty()) {
    FR_TRY(source, net::Prometheus::create(options.source));
  }
  return std::unique_ptr<UsageImporter>(
      new UsageImporter(std::move(options), history, std::move(unix_seconds), std::move(source)));
}

Result<std::unique_ptr<UsageImporter>> UsageImporter::create(
    const Config& config, store::HistoryStore& history, std::function<int64_t()> unix_seconds) {
  Options options;
  options.source.url = config.prometheus_url;
  options.source.ca_file = config.prometheus_ca;
  options.source.certificate_file = config.prometheus_certificate;
  options.source.key_file = config.prometheus_key;
  options.source.token_file = config.prometheus_token_file;
  options.instance = config.prometheus_instance;
  options.state_file = config.state_dir + "/usage_import";
  if (!config.prometheus_queries.empty()) {
    FR_TRY(const Buffer bytes, os::read_file(config.prometheus_queries, kQueriesBytesMax));
    auto queries = telemetry::parse_metric_queries(as_text(bytes));
    if (!queries)
      return std::unexpected(std::move(queries.error()).within(config.prometheus_queries));
    options.queries = std::move(*queries);
  }
  return create(std::move(options), history, std::move(unix_seconds));
}

UsageImporter::~UsageImporter() { ask_to_stop(); }

void UsageImporter::start() {
  if (source_) thread_ = std::jthread([this] { run(); });
}

void UsageImporter::ask_to_stop() {
  const std::lock_guard lock(mutex_);
  is_stopping_ = true;
  stop_changed_.notify_all();
}

bool UsageImporter::is_stopping() {
  const std::lock_guard lock(mutex_);
  return is_stopping_;
}

void UsageImporter::run() {
  for (;;) {
    round();
    std::unique_lock lock(mutex_);
    stop_changed_.wait_for(lock, kRound, [&] { return is_stopping_; });
    if (is_stopping_) return;
  }
}

void UsageImporter::round() {
  int64_t past = options_.past_s;
  if (const auto text = os::read_file(options_.state_file, 64)) {
    int64_t until = 0;
    const std::string_view digits = as_text(*text);
    std::from_chars(digits.data(), digits.data() + digits.size(), until);
    // The hour that goes on is read again: it was not summed up then.
    past = std::clamp<int64_t>(unix_seconds_() - until + kHour_s, kHour_s, options_.past_s);
  }
  Asked asked;
  asked.past_s = past;
  const auto work = prepare(asked);
  const auto done = work ? (*work)([this](uint64_t, uint64_t) { return !is_stopping(); })
                         : Result<UsageImported>(std::unexpected(work.error()));
  const bool was_failing = std::exchange(is_failing_, !done);
  if (is_stopping()) return;
  if (!done) {
    if (!was_failing) log::warn("history: {}", done.error().message);
    return;
  }
  if (was_failing) log::info("history: {} answers again", source_->url());
  if (const Status saved =
          os::write_file_atomic(options_.state_file, as_bytes(fmt::format("{}\n", done->until_s)));
      !saved)
    log::warn("{}", saved.error().message);
}

Result<UsageImporter::Work> UsageImporter::prepare(const Asked& asked) {
  std::shared_ptr<net::Prometheus> source = source_;
  // Secrets go to the configured server only.
  if (!asked.url.empty() && asked.url != options_.source.url) {
    net::PrometheusOptions other;
    other.url = asked.url;
    other.ca_file = options_.source.ca_file;
    FR_TRY(source, net::Prometheus::create(std::move(other)));
  }
  if (!source)
    return fail(ErrorCode::kInvalid, "no URL is given, and history.prometheus_url is not set");
  UsageImportJob job;
  job.queries = !asked.queries.empty() ? asked.queries : options_.queries;
  if (job.queries.empty()) job.queries = telemetry::usual_metric_queries();
  job.instance = asked.instance.empty() ? options_.instance : asked.instance;
  job.until_s = unix_seconds_() - kSettled_s;
  job.from_s = std::max<int64_t>(0, unix_seconds_() - asked.past_s);
  job.read =
      [this, source](
          const telemetry::RemoteQuery& query) -> Result<std::vector<telemetry::RemoteSeries>> {
    if (is_stopping()) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
    return source->read(query);
  };
  return [this, job](const GoOn& go_on) {
    UsageImportJob with = job;
    with.go_on = go_on;
    return import_usage(with, history_);
  };
}

}  // namespace forerun::daemon
