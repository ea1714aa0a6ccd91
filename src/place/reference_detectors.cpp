#include <algorithm>
#include <array>
#include <cmath>

#include "place/reference_policies.h"

namespace forerun::place {
namespace {

constexpr double kFallback = 0.7;  // where the past is too short
constexpr size_t kPastEnough = 12;
constexpr size_t kRegressionPoints = 10;

class Threshold final : public Detector {
 public:
  explicit Threshold(double limit) : limit_(limit) {}
  size_t depth() const override { return 0; }
  bool is_over(double demand, std::span<const double> /*past*/) const override {
    return demand > limit_;
  }

 private:
  double limit_;
};

// Sorts `data`. SOURCE: commons-math, DescriptiveStatistics.getPercentile(50).
double median(std::vector<double>& data) {
  std::sort(data.begin(), data.end());
  const size_t n = data.size();
  if (n % 2 == 1) return data[n / 2];
  return data[n / 2 - 1] + 0.5 * (data[n / 2] - data[n / 2 - 1]);
}

double interquartile_range(std::vector<double> data) {
  std::sort(data.begin(), data.end());
  const double n = static_cast<double>(data.size() + 1);
  const auto low = static_cast<size_t>(std::floor(0.25 * n + 0.5)) - 1;
  const auto high = static_cast<size_t>(std::floor(0.75 * n + 0.5)) - 1;
  return data[high] - data[low];
}

double median_deviation(std::vector<double> data) {
  const double middle = median(data);
  for (double& value : data) value = std::abs(middle - value);
  return median(data);
}

// A threshold that falls as the past spreads.
class Spread final : public Detector {
 public:
  Spread(double safety, double (*spread)(std::vector<double>)) : safety_(safety), spread_(spread) {}
  size_t depth() const override { return 30; }
  bool is_over(double demand, std::span<const double> past) const override {
    if (past.size() < kPastEnough) return demand > kFallback;
    return demand > 1 - safety_ * spread_({past.begin(), past.end()});
  }

 private:
  double safety_;
  double (*spread_)(std::vector<double>);
};

// A straight line through the last ten, one step ahead. The sums are updated point by point as
// commons-math's SimpleRegression does.
class Regression final : public Detector {
 public:
  explicit Regression(double safety) : safety_(safety) {}
  size_t depth() const override { return kRegressionPoints; }
  bool is_over(double demand, std::span<const double> past) const override {
    if (past.size() < kRegressionPoints) return demand > kFallback;
    double x_mean = 0, y_mean = 0, x_sum = 0, y_sum = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < kRegressionPoints; ++i) {
      const double n = static_cast<double>(i);
      const double x = n + 1;
      const double y = past[kRegressionPoints - 1 - i];
      if (i == 0) {
        x_mean = x;
        y_mean = y;
      } else {
        const double dx = x - x_mean, dy = y - y_mean;
        xx += dx * dx * (n / (1.0 + n));
        xy += dx * dy * (n / (1.0 + n));
        x_mean += dx / (1.0 + n);
        y_mean += dy / (1.0 + n);
      }
      x_sum += x;
      y_sum += y;
    }
    const double slope = xy / xx;
    const double intercept = (y_sum - slope * x_sum) / kRegressionPoints;
    return (intercept + slope * (kRegressionPoints + 1)) * safety_ >= 1;
  }

 private:
  double safety_;
};

}  // namespace

std::unique_ptr<Detector> make_detector(std::string_view kind, double safety) {
  if (kind == "thr") return std::make_unique<Threshold>(safety);
  if (kind == "iqr") return std::make_unique<Spread>(safety, interquartile_range);
  if (kind == "mad") return std::make_unique<Spread>(safety, median_deviation);
  if (kind == "lr") return std::make_unique<Regression>(safety);
  return nullptr;
}

}  // namespace forerun::place
