#include "forecast/overload_onset.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/result.h"

namespace forerun::forecast {
namespace {

constexpr size_t kEach_min = 100;  // rows of either outcome, to learn from
constexpr double kTiny = 1e-6;
constexpr double kChance_min = 1e-6;  // so that log odds stay finite
// Gauss–Hermite quadrature against the normal density: nodes and weights.
constexpr std::array<std::pair<double, double>, 7> kNodes = {{{-3.750439718, 0.000548269},
                                                              {-2.366759411, 0.030757124},
                                                              {-1.154405395, 0.240123179},
                                                              {0, 0.457142857},
                                                              {1.154405395, 0.240123179},
                                                              {2.366759411, 0.030757124},
                                                              {3.750439718, 0.000548269}}};

using Values = std::span<const float>;

Values last(Values values, size_t count) { return values.last(std::min(values.size(), count)); }

struct Moments {
  double mean = 0, sd = 0;
};
Moments moments_of(Values values) {
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += double{1} * value * value;
  }
  const double n = static_cast<double>(values.size());
  return {sum / n, std::sqrt(std::max(0.0, squares / n - sum / n * sum / n))};
}

double mean_of(Values values) { return moments_of(values).mean; }
double max_of(Values values) { return *std::max_element(values.begin(), values.end()); }
double min_of(Values values) { return *std::min_element(values.begin(), values.end()); }

double share_over(Values values, double limit) {
  return static_cast<double>(
             std::count_if(values.begin(), values.end(), [&](float v) { return v >= limit; })) /
         static_cast<double>(values.size());
}

double quantile(Values values, double share, std::vector<float>& scratch) {
  scratch.assign(values.begin(), values.end());
  const auto at =
      scratch.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(scratch.size() - 1));
  std::nth_element(scratch.begin(), at, scratch.end());
  return *at;
}

double smoothed(Values values, double rate) {
  double level = values.front();
  for (const float value : values) level += rate * (value - level);
  return level;
}

// Of neighbours.
double correlation(Values values, const Moments& moments) {
  if (moments.sd < kTiny || values.size() < 2) return 0;
  double sum = 0;
  for (size_t i = 1; i < values.size(); ++i)
    sum += (values[i] - moments.mean) * (values[i - 1] - moments.mean);
  return sum / static_cast<double>(values.size()) / (moments.sd * moments.sd);
}

class Row {
 public:
  void add(double value) {
    FR_ASSERT(count_ < row_.size());
    row_[count_++] = static_cast<float>(value);
  }
  const OnsetRow& done() const {
    FR_ASSERT(count_ == row_.size());
    return row_;
  }

 private:
  OnsetRow row_{};
  size_t count_ = 0;
};

// What the sum of the members did.
void add_host(Row& row, Values load, const OnsetOptions& options, std::vector<float>& scratch) {
  for (size_t lag = 0; lag < 12; ++lag) row.add(load[load.size() - 1 - lag]);
  for (const size_t n : {3, 6, 12, 24, 48, 96, 288}) row.add(mean_of(last(load, n)));
  for (const size_t n : {6, 12, 24, 48, 288}) row.add(moments_of(last(load, n)).sd);
  for (const size_t n : {6, 12, 24, 288}) row.add(max_of(last(load, n)));
  row.add(min_of(last(load, 12)));
  for (const size_t n : {12, 24, 48, 288}) row.add(share_over(last(load, n), options.limit));
  for (const double rate : {0.1, 0.2, 0.4}) row.add(smoothed(load, rate));
  row.add(mean_of(last(load, 6)) - mean_of(last(load, 12).first(6)));
  row.add(mean_of(last(load, 12)) - mean_of(last(load, 24).first(12)));
  const Moments recent = moments_of(last(load, 24)), all = moments_of(load);
  row.add((options.limit - smoothed(load, 0.2)) / (recent.sd + kTiny));
  row.add((options.limit - all.mean) / (all.sd + kTiny));
  for (const size_t n : {24, 288})
    for (const double share : {0.8, 0.95}) row.add(quantile(last(load, n), share, scratch));
  row.add(correlation(last(load, 48), moments_of(last(load, 48))));
  row.add(static_cast<double>(load.size()));
  size_t since = 0;  // overload was there
  while (since < load.size() && load[load.size() - 1 - since] < options.limit) ++since;
  row.add(static_cast<double>(since));
}

// What of that each member did, summed over them.
void add_members(Row& row, std::span<const OnsetMember> members, const OnsetOptions& options) {
  double squares_short = 0, squares_all = 0, foreseen = 0, uncertain = 0, above = 0, below = 0;
  double active = 0, most_mean = 0, most_now = 0, min_short = 0, min_all = 0;
  std::array<double, 4> maxima{};
  std::array<double, 3> medians{};
  double high = 0;
  for (const OnsetMember& member : members) {
    const MemberFigures& f = *member.figures;
    const double share = member.share;
    const double mean = share * f.means[6], variance = std::pow(share * f.sds[4], 2);
    const double now = share * f.lags[0], recent = share * f.means[3];
    const double r = std::clamp<double>(f.correlation, 0.0, 0.99), r3 = r * r * r;
    squares_short += std::pow(share * f.sds[1], 2);
    squares_all += variance;
    foreseen += mean + r3 * (now - mean);
    uncertain += variance * (1 - r3 * r3);
    above += std::max(0.0, now - recent);
    below += std::max(0.0, recent - now);
    active += f.lags[0] > 0.005f;
    most_mean = std::max(most_mean, recent);
    most_now = std::max(most_now, now);
    min_short += share * f.minima[1];
    min_all += share * f.minima[3];
    for (size_t i = 0; i < maxima.size(); ++i) maxima[i] += share * f.maxima[i];
    medians[0] += share * f.quantiles_hour[0];
    medians[1] += share * f.quantiles_recent[0];
    medians[2] += share * f.quantiles_all[2];
    high += share * f.quantiles_recent[1];
  }
  row.add(std::sqrt(squares_short));
  row.add(std::sqrt(squares_all));
  row.add(foreseen);
  row.add(std::sqrt(uncertain));
  row.add((options.limit - foreseen) / (std::sqrt(uncertain) + kTiny));
  for (const double value : {above, below, active, most_mean, most_now, min_short, min_all})
    row.add(value);
  for (const double value : maxima) row.add(value);
  for (const double value : medians) row.add(value);
  row.add(high);
}

}  // namespace

std::optional<OnsetRow> onset_row(std::span<const float> load, std::span<const OnsetMember> members,
                                  const OnsetOptions& options) {
  if (members.empty() || load.size() < options.past_min || load.back() >= options.limit)
    return std::nullopt;
  Row row;
  std::vector<float> scratch;
  add_host(row, last(load, options.past_max), options, scratch);
  add_members(row, members, options);
  return row.done();
}

bool is_onset(std::span<const float> next, const OnsetOptions& options) {
  return std::count_if(next.begin(), next.end(), [&](float v) { return v >= options.limit; }) >=
         options.over_min;
}

void OnsetForecaster::observe(const OnsetRow& row, bool happened) {
  if (rows_max_ == 0) return;
  if (happened_.size() < rows_max_) {
    rows_.insert(rows_.end(), row.begin(), row.end());
    happened_.push_back(happened);
    return;
  }
  std::copy(row.begin(), row.end(), rows_.begin() + static_cast<ptrdiff_t>(next_ * row.size()));
  happened_[next_] = happened;
  next_ = (next_ + 1) % rows_max_;
}

bool OnsetForecaster::train(const BoostedTrees::Options& options) {
  const auto onsets = static_cast<size_t>(std::count(happened_.begin(), happened_.end(), 1.0f));
  if (onsets < kEach_min || happened_.size() - onsets < kEach_min) return false;
  trees_.emplace(rows_, kOnsetColumns, happened_, options);
  return true;
}

double onset_chance(const MemberOutlook& expected, const OnsetOptions& options) {
  const double swing = std::sqrt(expected.spread + kTiny);
  double chance = 0;
  for (const auto& [node, weight] : kNodes) {
    const double mean = expected.mean + node * std::sqrt(expected.variance);
    const double over = std::erfc((options.limit - mean) / swing / std::numbers::sqrt2) / 2;
    if (over >= 1) {
      chance += weight;
      continue;
    }
    // Fewer than over_min of the samples: binomial, term by term.
    double term = std::pow(1 - over, options.ahead), fewer = 0;
    for (uint32_t k = 0; k < options.over_min && k <= options.ahead; ++k) {
      fewer += term;
      term *= over / (1 - over) * (options.ahead - k) / (k + 1);
    }
    chance += weight * (1 - fewer);
  }
  return std::clamp(chance, kChance_min, 1 - kChance_min);
}

double OnsetForecaster::probability(const OnsetRow& row, const MemberOutlook& expected) const {
  const double chance = onset_chance(expected, options_);
  const double log_odds = (trees_->score(row) + std::log(chance / (1 - chance))) / 2;
  return 1 / (1 + std::exp(-log_odds));
}

}  // namespace forerun::forecast
