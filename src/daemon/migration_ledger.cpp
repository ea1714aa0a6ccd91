#include "daemon/migration_ledger.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "api/json_out.h"
#include "core/log.h"
#include "os/clock.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

namespace json = boost::json;
using migrate::MigrationMode;
using migrate::PlanFigure;

constexpr size_t kFileBytesMax = 16 << 20;
constexpr std::array<std::string_view, migrate::kMigrationModes> kWords{"precopy", "postcopy",
                                                                        "hybrid"};

// Members of the file. What is absent or of another type is complained of once, at the end.
class Reader {
 public:
  const json::object& object(const json::object& in, std::string_view key) {
    static const json::object kNone;
    const json::value* value = in.if_contains(key);
    if (value != nullptr && value->is_object()) return value->as_object();
    complain(key);
    return kNone;
  }
  const json::array& list(const json::object& in, std::string_view key) {
    static const json::array kNone;
    const json::value* value = in.if_contains(key);
    if (value != nullptr && value->is_array()) return value->as_array();
    complain(key);
    return kNone;
  }
  std::string text(const json::object& in, std::string_view key) {
    const json::value* value = in.if_contains(key);
    if (value != nullptr && value->is_string()) return std::string(value->as_string());
    complain(key);
    return {};
  }
  bool flag(const json::object& in, std::string_view key) {
    const json::value* value = in.if_contains(key);
    if (value != nullptr && value->is_bool()) return value->as_bool();
    complain(key);
    return false;
  }
  template <typename Number>
  Number number(const json::object& in, std::string_view key) {
    const json::value* value = in.if_contains(key);
    json::error_code error;
    const Number found = value == nullptr ? Number{} : value->to_number<Number>(error);
    if (value == nullptr || error || (std::is_floating_point_v<Number> && !std::isfinite(found)))
      complain(key);
    return found;
  }
  void complain(std::string_view key) {
    if (missing_.empty()) missing_ = key;
  }
  Status status() const {
    if (missing_.empty()) return {};
    return forerun::fail(ErrorCode::kCorrupt, fmt::format("'{}' is missing or wrong", missing_));
  }

 private:
  std::string missing_;
};

api::EstimateInfo read_estimate(Reader& reader, const json::object& in, std::string_view key) {
  const json::object& one = reader.object(in, key);
  return {reader.number<double>(one, "expected"), reader.number<double>(one, "low"),
          reader.number<double>(one, "high")};
}

api::MigrationForecast read_forecast(Reader& reader, const json::object& in) {
  api::MigrationForecast told;
  told.vm = reader.text(in, "vm");
  told.to = reader.text(in, "to");
  told.mode = reader.text(in, "mode");
  told.reason = reader.text(in, "reason");
  for (const json::value& value : reader.list(in, "modes")) {
    if (!value.is_object()) reader.complain("modes");
    const json::object none, &mode = value.is_object() ? value.as_object() : none;
    told.modes.push_back(
        {reader.text(mode, "mode"), read_estimate(reader, mode, "total_s"),
         read_estimate(reader, mode, "downtime_s"), read_estimate(reader, mode, "blocked_s"),
         read_estimate(reader, mode, "bytes"), reader.number<double>(mode, "to_switch_s"),
         reader.flag(mode, "fits_policy"), reader.text(mode, "why_not")});
  }
  told.memory_bytes = reader.number<uint64_t>(in, "memory_bytes");
  told.zero_bytes = reader.number<uint64_t>(in, "zero_bytes");
  told.written_bytes = reader.number<uint64_t>(in, "written_bytes");
  told.written_bytes_per_s = reader.number<double>(in, "written_bytes_per_s");
  told.packed_ratio = reader.number<double>(in, "packed_ratio");
  told.difference_ratio = reader.number<double>(in, "difference_ratio");
  told.dry_run_s = reader.number<double>(in, "dry_run_s");
  told.link_bytes_per_s = reader.number<double>(in, "link_bytes_per_s");
  told.round_trip_s = reader.number<double>(in, "round_trip_s");
  return told;
}

api::MigrationInfo read_migration(Reader& reader, const json::object& in) {
  api::MigrationInfo one;
  one.id = reader.text(in, "id");
  std::tm time{};
  if (::strptime(reader.text(in, "began_at").c_str(), "%Y-%m-%dT%H:%M:%SZ", &time) == nullptr)
    reader.complain("began_at");
  one.began_unix_seconds = ::timegm(&time);
  one.state = reader.text(in, "state");
  one.detail = reader.text(in, "detail");
  one.is_mode_asked = reader.flag(in, "is_mode_asked");
  one.forecast = read_forecast(reader, reader.object(in, "forecast"));
  if (const json::value* actual = in.if_contains("actual"); actual && actual->is_object()) {
    const json::object& figures = actual->as_object();
    one.actual = {
        reader.number<double>(figures, "total_s"), reader.number<double>(figures, "downtime_s"),
        reader.number<double>(figures, "blocked_s"), reader.number<double>(figures, "bytes")};
  }
  return one;
}

void read_score(Reader& reader, const json::object& in, migrate::PlanScores& scores) {
  const auto mode = std::find(kWords.begin(), kWords.end(), reader.text(in, "mode"));
  const std::string figure = reader.text(in, "figure");
  migrate::PlanScores::Score score;
  const auto factor = reader.number<double>(in, "factor");
  score.log_spread = reader.number<double>(in, "spread");
  score.count = reader.number<uint64_t>(in, "count");
  score.held = reader.number<uint64_t>(in, "held");
  if (mode == kWords.end() || !(factor > 0) || !(score.log_spread >= 0)) {
    reader.complain("scores");
    return;
  }
  score.log_bias = std::log(factor);
  for (size_t i = 0; i < migrate::kPlanFigures; ++i)
    if (figure == migrate::plan_figure_name(PlanFigure(i)))
      scores.set(MigrationMode(mode - kWords.begin()), PlanFigure(i), score);
}

}  // namespace

std::string_view mode_word(MigrationMode mode) { return kWords[static_cast<size_t>(mode)]; }

api::MigrationModeInfo info_of(const migrate::ModeEstimate& mode) {
  const auto told = [&](PlanFigure figure) {
    return api::EstimateInfo{mode[figure].expected, mode[figure].low, mode[figure].high};
  };
  return {std::string(mode_word(mode.mode)),
          told(PlanFigure::kTotal),
          told(PlanFigure::kDowntime),
          told(PlanFigure::kBlocked),
          told(PlanFigure::kBytes),
          mode.to_switch_s,
          mode.fits_policy,
          mode.why_not};
}

Result<migrate::ModeEstimate> estimate_of(const api::MigrationModeInfo& info) {
  const auto word = std::find(kWords.begin(), kWords.end(), info.mode);
  if (word == kWords.end())
    return fail(ErrorCode::kInvalid, fmt::format("no mode is called '{}'", info.mode));
  migrate::ModeEstimate mode;
  mode.mode = MigrationMode(word - kWords.begin());
  const std::array<const api::EstimateInfo*, migrate::kPlanFigures> figures{
      &info.total_s, &info.downtime_s, &info.blocked_s, &info.bytes};
  for (size_t i = 0; i < figures.size(); ++i)
    mode.figures[i] = {figures[i]->expected, figures[i]->low, figures[i]->high};
  mode.to_switch_s = info.to_switch_s;
  mode.fits_policy = info.fits_policy;
  mode.why_not = info.why_not;
  return mode;
}

std::unique_ptr<MigrationLedger> MigrationLedger::open(std::string path, size_t kept_max) {
  std::unique_ptr<MigrationLedger> ledger(new MigrationLedger(std::move(path), kept_max));
  if (!os::path_exists(ledger->path_)) return ledger;
  if (const Status loaded = ledger->load(); !loaded) {
    std::rename(ledger->path_.c_str(), (ledger->path_ + ".damaged").c_str());
    log::warn("what migrations took is of no use and set aside, {}.damaged: {}", ledger->path_,
              loaded.error().message);
    ledger->kept_.clear();
    ledger->scores_ = {};
  }
  return ledger;
}

Status MigrationLedger::load() {
  FR_TRY(const Buffer bytes, os::read_file(path_, kFileBytesMax));
  json::error_code error;
  const json::value value = json::parse(as_text(bytes), error);
  if (error || !value.is_object())
    return forerun::fail(ErrorCode::kCorrupt, "it is no JSON object");
  Reader reader;
  for (const json::value& item : reader.list(value.as_object(), "items")) {
    if (!item.is_object() || kept_.size() == kept_max_) break;
    kept_.push_back(read_migration(reader, item.as_object()));
    api::MigrationInfo& one = kept_.back();
    if (one.state != "running") continue;
    one.state = "failed";
    one.detail = "the daemon ended amid it";
  }
  for (const json::value& item : reader.list(value.as_object(), "scores"))
    if (item.is_object()) read_score(reader, item.as_object(), scores_);
  return reader.status();
}

void MigrationLedger::save() const {
  const std::string text = api::to_json(report_locked(), os::unix_seconds());
  if (const Status saved = os::write_file_atomic(path_, as_bytes(text)); !saved)
    log::warn("what migrations took is not kept: {}", saved.error().message);
}

migrate::PlanScores MigrationLedger::scores() const {
  const std::lock_guard lock(mutex_);
  return scores_;
}

api::MigrationInfo* MigrationLedger::find(const std::string& id) {
  const auto found = std::find_if(kept_.begin(), kept_.end(),
                                  [&](const api::MigrationInfo& one) { return one.id == id; });
  return found == kept_.end() ? nullptr : &*found;
}

void MigrationLedger::begin(api::MigrationInfo told) {
  const std::lock_guard lock(mutex_);
  kept_.insert(kept_.begin(), std::move(told));
  if (kept_.size() > kept_max_) kept_.pop_back();
  save();
}

void MigrationLedger::end(const std::string& id, const api::MigrationFigures& actual,
                          bool is_typical, std::string detail) {
  const std::lock_guard lock(mutex_);
  api::MigrationInfo* one = find(id);
  if (one == nullptr) return;
  one->state = "moved";
  one->detail = std::move(detail);
  one->actual = actual;
  for (const api::MigrationModeInfo& mode : one->forecast.modes)
    if (mode.mode == one->forecast.mode && is_typical)
      if (const auto told = estimate_of(mode))
        scores_.learn(*told, {actual.total_s, actual.downtime_s, actual.blocked_s, actual.bytes});
  save();
}

void MigrationLedger::fail(const std::string& id, std::string why) {
  const std::lock_guard lock(mutex_);
  api::MigrationInfo* one = find(id);
  if (one == nullptr) return;
  one->state = "failed";
  one->detail = std::move(why);
  save();
}

api::MigrationReport MigrationLedger::report() const {
  const std::lock_guard lock(mutex_);
  return report_locked();
}

api::MigrationReport MigrationLedger::report_locked() const {
  api::MigrationReport report{kept_, {}};
  for (size_t mode = 0; mode < migrate::kMigrationModes; ++mode)
    for (size_t figure = 0; figure < migrate::kPlanFigures; ++figure) {
      const auto& score = scores_.of(MigrationMode(mode), PlanFigure(figure));
      if (score.count == 0) continue;
      report.scores.push_back(
          {std::string(kWords[mode]), std::string(migrate::plan_figure_name(PlanFigure(figure))),
           score.count, score.held, std::exp(score.log_bias), score.log_spread});
    }
  return report;
}

}  // namespace forerun::daemon
