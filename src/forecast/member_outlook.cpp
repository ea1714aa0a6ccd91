#include "forecast/member_outlook.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/result.h"

namespace forerun::forecast {
namespace {

constexpr size_t kRows_min = 1000;
constexpr size_t kHour = 12, kHalf = 6;  // samples
constexpr float kJump = 0.05f, kIdle = 0.005f;
constexpr double kTiny = 1e-6;
constexpr double kWidth = 0.04;  // of the kernel: values this far apart count half
constexpr size_t kGrid = 100;    // steps of a quantile, and of the kernel
constexpr std::array<size_t, 5> kSdWindows = {6, 12, 24, 48, kMemberPast_max};

using Row = std::array<float, kMemberColumns>;

size_t step_of(double value) {
  return static_cast<size_t>(static_cast<int>(std::clamp(value, 0.0, 1.0) * kGrid + 0.5));
}

// The past, and what more than one figure needs of it: sums up to each sample, and the samples in
// hundredths.
struct Past {
  MemberPast values;
  std::array<double, kMemberPast_max + 1> sums, squares;
  std::array<uint8_t, kMemberPast_max> steps;

  explicit Past(MemberPast past) : values(past) {
    sums[0] = squares[0] = 0;
    for (size_t i = 0; i < past.size(); ++i) {
      const double value = past[i];
      sums[i + 1] = sums[i] + value;
      squares[i + 1] = squares[i] + value * value;
      steps[i] = static_cast<uint8_t>(step_of(value));
    }
  }
  size_t size() const { return values.size(); }
  double mean(size_t from, size_t count) const {
    return (sums[from + count] - sums[from]) / static_cast<double>(count);
  }
  // Of the last `count`.
  float sd(size_t count) const {
    const size_t n = size(), from = n - std::min(n, count);
    const double share = 1 / static_cast<double>(n - from), mean = (sums[n] - sums[from]) * share;
    const double variance = (squares[n] - squares[from]) * share - mean * mean;
    return variance > kTiny * kTiny ? static_cast<float>(std::sqrt(variance)) : 0;
  }
  // Of the last `count`, by ascending `shares` of the values that are smaller.
  template <size_t N>
  std::array<float, N> quantiles(size_t count, const std::array<double, N>& shares) const {
    std::array<uint16_t, kGrid + 1> counts{};
    const size_t from = size() - std::min(size(), count), total = size() - from;
    for (size_t i = from; i < size(); ++i) ++counts[steps[i]];
    std::array<float, N> found{};
    size_t step = 0, seen = counts[0];
    for (size_t i = 0; i < N; ++i) {
      const auto rank = static_cast<size_t>(shares[i] * static_cast<double>(total - 1));
      while (seen <= rank) seen += counts[++step];
      found[i] = static_cast<float>(step) / kGrid;
    }
    return found;
  }
};

// Weights by distance in hundredths.
const std::array<float, kGrid + 1>& kernel() {
  static const auto weights = [] {
    std::array<float, kGrid + 1> all{};
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = static_cast<float>(1 / (1 + std::pow(static_cast<double>(i) / kGrid / kWidth, 4)));
    return all;
  }();
  return weights;
}

float sd_of(MemberPast values) {
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += double{1} * value * value;
  }
  const double n = static_cast<double>(values.size());
  return static_cast<float>(std::sqrt(std::max(0.0, squares / n - sum / n * sum / n)));
}

void add_windows(MemberFigures& f, const Past& all) {
  const MemberPast past = all.values;
  const size_t n = past.size();
  const auto last = [&](size_t count) { return past.last(std::min(n, count)); };
  for (size_t i = 0; i < f.lags.size(); ++i) f.lags[i] = past[n - 1 - i];
  constexpr std::array<size_t, 7> kMeans = {3, 6, 12, 24, 48, 96, kMemberPast_max};
  for (size_t i = 0; i < kMeans.size(); ++i) {
    const size_t count = std::min(n, kMeans[i]);
    f.means[i] = static_cast<float>(all.mean(n - count, count));
  }
  for (size_t i = 0; i < kSdWindows.size(); ++i) f.sds[i] = all.sd(kSdWindows[i]);
  constexpr std::array<size_t, 4> kExtremes = {6, 12, 24, kMemberPast_max};
  for (size_t i = 0; i < kExtremes.size(); ++i) {
    float least = past[n - 1], most = least;
    for (const float value : last(kExtremes[i])) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
    f.minima[i] = least;
    f.maxima[i] = most;
  }
  f.quantiles_all = all.quantiles<6>(n, {.1, .25, .5, .75, .9, .97});
  f.quantiles_hour = all.quantiles<2>(kHour, {.5, .85});
  f.quantiles_recent = all.quantiles<2>(24, {.5, .85});
  for (const float value : last(24)) f.idle += value < kIdle;
}

void add_course(MemberFigures& f, const Past& all) {
  const MemberPast past = all.values;
  const size_t n = past.size();
  constexpr std::array<float, 3> kRates = {.1f, .2f, .4f};
  const MemberPast recent = past.last(std::min<size_t>(n, 72));  // .9^72 < .001
  f.smoothed.fill(recent[0]);
  for (const float value : recent)
    for (size_t i = 0; i < kRates.size(); ++i) f.smoothed[i] += kRates[i] * (value - f.smoothed[i]);
  const double mean = all.mean(0, n);
  double product = 0, steps = 0, steps_hour = 0;
  for (size_t i = 1; i < n; ++i) {
    product += (past[i] - mean) * (past[i - 1] - mean);
    const double step = std::abs(past[i] - past[i - 1]);
    steps += step;
    if (i + kHour >= n) steps_hour += step;
  }
  const double variance = double{1} * f.sds.back() * f.sds.back();
  const auto count = static_cast<double>(n);
  f.correlation = variance > kTiny * kTiny ? static_cast<float>(product / count / variance) : 0;
  f.step_all = static_cast<float>(steps / (count - 1));
  f.step_hour = static_cast<float>(steps_hour / static_cast<double>(std::min(n - 1, kHour)));
  size_t age = 0;
  while (age + 1 < n && std::abs(past[n - 2 - age] - past[n - 1 - age]) < kJump) ++age;
  f.level_age = static_cast<float>(age);
  f.samples = static_cast<float>(n);
}

// What was in the next half hour, an hour ago and at every hour before.
void add_phase(MemberFigures& f, const Past& all) {
  const size_t n = all.size();
  double sum = 0, count = 0;
  for (size_t ago = kHour; ago <= n; ago += kHour) {
    sum += all.mean(n - ago, kHalf);
    count += 1;
  }
  f.phase_all = static_cast<float>(sum / count);
  f.phase_hour = static_cast<float>(all.mean(n - kHour, kHalf));
}

// What followed values like now's; one value of the mean of all stands for what is not known.
void add_followed(MemberFigures& f, const Past& all) {
  const size_t n = all.size();
  const auto& weights = kernel();
  const double mean = all.mean(0, n), variance = double{1} * f.sds.back() * f.sds.back();
  double total = 1, sum = mean, squares = mean * mean + variance, total3 = 1, sum3 = mean;
  const int now = all.steps[n - 1], now3 = static_cast<int>(step_of(f.means[0]));
  const auto& sums = all.sums;
  for (size_t i = 2; i + kHalf < n; ++i) {
    const double next = (sums[i + 1 + kHalf] - sums[i + 1]) * (1.0 / kHalf);
    const int three = static_cast<int>(step_of((sums[i + 1] - sums[i - 2]) * (1.0 / 3)));
    const double w = weights[static_cast<size_t>(std::abs(all.steps[i] - now))];
    const double w3 = weights[static_cast<size_t>(std::abs(three - now3))];
    total += w;
    sum += w * next;
    squares += w * next * next;
    total3 += w3;
    sum3 += w3 * next;
  }
  const double followed = sum / total;
  f.followed = static_cast<float>(followed);
  f.followed_sd =
      static_cast<float>(std::sqrt(std::max(0.0, squares / total - followed * followed)));
  f.followed_weight = static_cast<float>(total - 1);
  f.followed_mean = static_cast<float>(sum3 / total3);
}

constexpr BoostedTrees::Options kTreesOfMean{.loss = BoostedTrees::Loss::kSquared,
                                             .trees = 100,
                                             .depth = 5,
                                             .rate = 0.08,
                                             .leaf_weight_min = 200};
constexpr BoostedTrees::Options kTreesOfSquares{.loss = BoostedTrees::Loss::kSquared,
                                                .trees = 40,
                                                .depth = 5,
                                                .rate = 0.15,
                                                .leaf_weight_min = 200};

}  // namespace

MemberFigures member_figures(MemberPast past) {
  FR_ASSERT(past.size() >= kHour);
  past = past.last(std::min(past.size(), kMemberPast_max));
  const Past all(past);
  MemberFigures figures{};
  add_windows(figures, all);
  add_course(figures, all);
  add_phase(figures, all);
  add_followed(figures, all);
  return figures;
}

void MemberOutlook::add(const MemberOutlook& other, float share) {
  mean += share * other.mean;
  variance += share * share * other.variance;
  spread += share * share * other.spread;
}

void MemberForecaster::observe(const MemberFigures& figures, std::span<const float> next) {
  FR_ASSERT(!next.empty());
  if (rows_max_ == 0) return;
  const Row row = std::bit_cast<Row>(figures);
  double sum = 0;
  for (const float value : next) sum += value;
  const auto mean = static_cast<float>(sum / static_cast<double>(next.size()));
  const float sd = sd_of(next);
  if (means_.size() < rows_max_) {
    rows_.insert(rows_.end(), row.begin(), row.end());
    means_.push_back(mean);
    spreads_.push_back(sd * sd);
    return;
  }
  std::copy(row.begin(), row.end(), rows_.begin() + static_cast<ptrdiff_t>(next_ * row.size()));
  means_[next_] = mean;
  spreads_[next_] = sd * sd;
  next_ = (next_ + 1) % rows_max_;
}

bool MemberForecaster::train() {
  if (means_.size() < kRows_min) return false;
  mean_.emplace(rows_, kMemberColumns, means_, kTreesOfMean);
  std::vector<float> squares(means_.size());
  for (size_t i = 0; i < squares.size(); ++i) {
    const auto row = std::span(rows_).subspan(i * kMemberColumns, kMemberColumns);
    squares[i] = static_cast<float>(std::pow(means_[i] - mean_->score(row), 2));
  }
  variance_.emplace(rows_, kMemberColumns, squares, kTreesOfSquares);
  spread_.emplace(rows_, kMemberColumns, spreads_, kTreesOfSquares);
  return true;
}

MemberOutlook MemberForecaster::outlook(const MemberFigures& figures) const {
  const Row row = std::bit_cast<Row>(figures);
  const auto positive = [&](const BoostedTrees& trees) {
    return static_cast<float>(std::max(kTiny, trees.score(row)));
  };
  return {static_cast<float>(mean_->score(row)), positive(*variance_), positive(*spread_)};
}

}  // namespace forerun::forecast
