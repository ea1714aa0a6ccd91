#include "forecast/contention.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

namespace forerun::forecast {
namespace {

constexpr double kSdsOf90 = 1.645;  // half the width of a normal's 90 %
// logistic(kLogisticScale x) is the normal's distribution within 0.01.
constexpr double kLogisticScale = 1.702;
// The prior's weights: as if so many outcomes had said that the normal is right.
constexpr double kPriorBias = 0.5, kPriorSlope = 8, kPriorNow = 0.5;
constexpr int kNewtonSteps = 25, kHalvings = 20;
constexpr double kLossStill = 1e-7;
constexpr double kLimitWidth = 0.05;  // of the capacity
constexpr double kCurveWeight = 12;   // outcomes of a cell that the curve counts as much as
constexpr uint64_t kFitEvery = 12;    // outcomes
constexpr double kCellMax = 1e12;

double logistic(double logit) { return 1 / (1 + std::exp(-logit)); }
// log(1 + exp(x)), for any x.
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double normal_below(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// Solves a symmetric system of three, by Cramer's rule. Nothing if it has no one solution.
std::optional<std::array<double, 3>> solve(const std::array<std::array<double, 3>, 3>& a,
                                           const std::array<double, 3>& b) {
  const auto determinant = [](const auto& m) {
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
           m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  };
  const double whole = determinant(a);
  if (!(std::abs(whole) > 1e-12)) return std::nullopt;
  std::array<double, 3> x{};
  for (size_t column = 0; column < 3; ++column) {
    auto replaced = a;
    for (size_t row = 0; row < 3; ++row) replaced[row][column] = b[row];
    x[column] = determinant(replaced) / whole;
  }
  return x;
}

// Makes values rise, changing them as little as can be (weighted squares).
// SOURCE: M. Ayer et al., "An empirical distribution function for sampling with incomplete
// information", 1955: pool adjacent violators.
void make_rising(std::span<double> values, std::span<const double> weights) {
  struct Block {
    double sum, weight;
    size_t count;
    double mean() const { return sum / weight; }
  };
  std::vector<Block> blocks;
  for (size_t i = 0; i < values.size(); ++i) {
    blocks.push_back({values[i] * weights[i], weights[i], 1});
    while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() > blocks.back().mean()) {
      const Block last = blocks.back();
      blocks.pop_back();
      blocks.back().sum += last.sum;
      blocks.back().weight += last.weight;
      blocks.back().count += last.count;
    }
  }
  size_t at = 0;
  for (const Block& block : blocks)
    for (size_t i = 0; i < block.count; ++i) values[at++] = block.mean();
}

}  // namespace

std::optional<bool> contended(const ContentionSigns& signs, const ContentionRule& rule) {
  if (signs.vcpu_wait_ratio) return *signs.vcpu_wait_ratio >= rule.vcpu_wait_ratio;
  if (signs.cpu_stall_ratio) return *signs.cpu_stall_ratio >= rule.cpu_stall_ratio;
  return std::nullopt;
}

size_t ContentionTally::cell_of(double excess, bool is_contended_now) {
  const double place = (excess + kExcessMax) / (2 * kExcessMax) * kCells;
  const double inside = std::clamp(place, 0.0, static_cast<double>(kCells - 1));
  return static_cast<size_t>(inside) + (is_contended_now ? kCells : 0);
}

double ContentionTally::excess_of(size_t cell) {
  const auto place = static_cast<double>(cell % kCells) + 0.5;
  return place / kCells * 2 * kExcessMax - kExcessMax;
}

void ContentionTally::add(double excess, bool is_contended_now, bool came) {
  Cell& cell = cells_[cell_of(excess, is_contended_now)];
  cell.count += 1;
  cell.contended += came ? 1 : 0;
}

void ContentionTally::add(const ContentionTally& other) {
  for (size_t i = 0; i < cells_.size(); ++i) {
    cells_[i].count += other.cells_[i].count;
    cells_[i].contended += other.cells_[i].contended;
  }
}

void ContentionTally::forget(double share) {
  for (Cell& cell : cells_) {
    cell.count *= 1 - share;
    cell.contended *= 1 - share;
  }
}

double ContentionTally::count() const {
  double sum = 0;
  for (const Cell& cell : cells_) sum += cell.count;
  return sum;
}

bool ContentionTally::set(size_t cell, const Cell& to) {
  const bool can_be = cell < cells_.size() && to.count >= 0 && to.count <= kCellMax &&
                      to.contended >= 0 && to.contended <= to.count;
  if (can_be) cells_[cell] = to;
  return can_be;
}

double ContentionCalibration::logit(const Weights& weights, double excess, bool is_contended_now) {
  return weights.bias + weights.slope * kLogisticScale * excess +
         (is_contended_now ? weights.now : 0);
}

double ContentionCalibration::loss(const Weights& weights, const ContentionTally& tally) {
  const double off = weights.slope - 1;
  double sum = 0.5 * (kPriorBias * weights.bias * weights.bias + kPriorSlope * off * off +
                      kPriorNow * weights.now * weights.now);
  for (size_t i = 0; i < tally.cells_.size(); ++i) {
    const ContentionTally::Cell& cell = tally.cells_[i];
    if (cell.count <= 0) continue;
    const double at = logit(weights, ContentionTally::excess_of(i), i >= ContentionTally::kCells);
    sum += cell.count * softplus(at) - cell.contended * at;
  }
  return sum;
}

// Newton's, as far as it makes the loss smaller.
ContentionCalibration::Weights ContentionCalibration::step(const Weights& from,
                                                           const ContentionTally& tally) {
  std::array<double, 3> gradient = {-kPriorBias * from.bias, -kPriorSlope * (from.slope - 1),
                                    -kPriorNow * from.now};
  std::array<std::array<double, 3>, 3> curvature{};
  curvature[0][0] = kPriorBias;
  curvature[1][1] = kPriorSlope;
  curvature[2][2] = kPriorNow;
  for (size_t i = 0; i < tally.cells_.size(); ++i) {
    const ContentionTally::Cell& cell = tally.cells_[i];
    if (cell.count <= 0) continue;
    const bool is_now = i >= ContentionTally::kCells;
    const double excess = ContentionTally::excess_of(i);
    const std::array<double, 3> inputs = {1, kLogisticScale * excess, is_now ? 1.0 : 0.0};
    const double said = logistic(logit(from, excess, is_now));
    for (size_t a = 0; a < 3; ++a) {
      gradient[a] += (cell.contended - cell.count * said) * inputs[a];
      for (size_t b = 0; b < 3; ++b)
        curvature[a][b] += cell.count * said * (1 - said) * inputs[a] * inputs[b];
    }
  }
  const auto move = solve(curvature, gradient);
  if (!move) return from;
  const double before = loss(from, tally);
  double share = 1;
  for (int i = 0; i < kHalvings; ++i, share /= 2) {
    // More demand is never less contention.
    const Weights to = {from.bias + share * (*move)[0],
                        std::max(0.0, from.slope + share * (*move)[1]),
                        from.now + share * (*move)[2]};
    if (loss(to, tally) < before - kLossStill) return to;
  }
  return from;
}

ContentionCalibration::ContentionCalibration(const ContentionTally& tally) {
  for (int i = 0; i < kNewtonSteps; ++i) {
    const Weights to = step(weights_, tally);
    if (to.bias == weights_.bias && to.slope == weights_.slope && to.now == weights_.now) break;
    weights_ = to;
  }
  has_cells_ = tally.count() > 0;
  std::array<double, 2 * ContentionTally::kCells> counted{};
  for (size_t i = 0; i < cells_.size(); ++i) {
    const ContentionTally::Cell& cell = tally.cells_[i];
    const double curve =
        logistic(logit(weights_, ContentionTally::excess_of(i), i >= ContentionTally::kCells));
    counted[i] = kCurveWeight + cell.count;
    cells_[i] = (kCurveWeight * curve + cell.contended) / counted[i];
  }
  constexpr size_t kHalf = ContentionTally::kCells;
  for (const size_t begin : {size_t{0}, kHalf})
    make_rising(std::span(cells_).subspan(begin, kHalf), std::span(counted).subspan(begin, kHalf));
}

double ContentionCalibration::probability(double excess, bool is_contended_now) const {
  const double inside = std::clamp(excess, -kExcessMax, kExcessMax);
  if (!has_cells_) return logistic(logit(weights_, inside, is_contended_now));
  // Between the middles of two cells.
  constexpr size_t kHalf = ContentionTally::kCells;
  const double place = std::clamp((inside + kExcessMax) / (2 * kExcessMax) * kHalf - 0.5, 0.0,
                                  static_cast<double>(kHalf - 1));
  const size_t cell = std::min(static_cast<size_t>(place), kHalf - 2);
  const double share = place - static_cast<double>(cell);
  const size_t first = cell + (is_contended_now ? kHalf : 0);
  return (1 - share) * cells_[first] + share * cells_[first + 1];
}

ContentionForecaster::ContentionForecaster(Options options)
    : options_(std::move(options)),
      demand_({.horizons = options_.horizons, .season = options_.season}) {
  for (const uint32_t ticks : options_.horizons) {
    Horizon horizon;
    horizon.ticks = std::max<uint32_t>(ticks, 1);
    horizons_.push_back(std::move(horizon));
  }
}

// Demand may be over at any moment until then: the most probable of those that are foreseen.
ContentionForecaster::Said ContentionForecaster::foreseen(size_t index) const {
  Said most{.excess = -kExcessMax, .is_contended_now = is_contended_now_};
  for (size_t i = 0; i <= index; ++i) {
    const auto said = demand_.forecast(i);
    if (!said) continue;
    const double sd = (said->high - said->low) / (2 * kSdsOf90);
    const double over = said->value - capacity_;
    const double width = std::hypot(sd, kLimitWidth * capacity_);
    if (width > 0) most.excess = std::max(most.excess, std::min(over / width, kExcessMax));
    const double raw = sd > 0 ? normal_below(over / sd) : (over > 0 ? 1.0 : 0.0);
    most.raw = std::max(most.raw, raw);
  }
  most.probability = horizons_[index].calibration.probability(most.excess, is_contended_now_);
  return most;
}

void ContentionForecaster::learn(Horizon& horizon, const Said& said, bool came) {
  ContentionScore& score = horizon.score;
  const double outcome = came ? 1 : 0;
  const double base = score.count == 0
                          ? 0.5
                          : static_cast<double>(score.contended) / static_cast<double>(score.count);
  ++score.count;
  score.contended += came ? 1 : 0;
  const double share = 1 / static_cast<double>(score.count);
  const auto average = [&](double& mean, double of) {
    mean += share * ((of - outcome) * (of - outcome) - mean);
  };
  average(score.brier, said.probability);
  average(score.brier_raw, said.raw);
  average(score.brier_base, base);
  const auto bin = std::min(static_cast<size_t>(said.probability * ContentionScore::kBins),
                            ContentionScore::kBins - 1);
  ++score.bins[bin].count;
  score.bins[bin].contended += came ? 1 : 0;
  score.bins[bin].said += said.probability;
  horizon.tally.forget(1 - std::exp2(-1 / options_.half_life));
  horizon.tally.add(said.excess, said.is_contended_now, came);
  if (++horizon.learned % kFitEvery == 0)
    horizon.calibration = ContentionCalibration(horizon.tally);
}

void ContentionForecaster::observe(double demand, double capacity,
                                   std::optional<bool> is_contended) {
  labels_.push_back(is_contended);
  if (labels_.size() > options_.horizons.back()) labels_.pop_front();
  for (Horizon& horizon : horizons_) {
    if (horizon.said.size() < horizon.ticks) continue;
    const Said said = horizon.said.front();
    horizon.said.pop_front();
    // What was said of these ticks meets them. Most of them must have been looked at.
    const auto first = labels_.end() - static_cast<ptrdiff_t>(horizon.ticks);
    const auto known =
        std::count_if(first, labels_.end(), [](auto one) { return one.has_value(); });
    if (2 * known <= static_cast<ptrdiff_t>(horizon.ticks)) continue;
    learn(horizon, said, std::any_of(first, labels_.end(), [](auto one) { return one == true; }));
  }
  demand_.observe(demand);
  capacity_ = capacity;
  is_contended_now_ = is_contended.value_or(is_contended_now_);
  for (size_t i = 0; i < horizons_.size(); ++i) horizons_[i].said.push_back(foreseen(i));
}

std::optional<ContentionOutlook> ContentionForecaster::outlook(size_t index) const {
  const auto demand = demand_.forecast(index);
  if (!demand || horizons_[index].said.empty()) return std::nullopt;
  const Said& said = horizons_[index].said.back();
  return ContentionOutlook{*demand, said.raw, said.probability, is_contended_now_};
}

}  // namespace forerun::forecast
