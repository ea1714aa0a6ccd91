#include "place/power_curve.h"

#include <algorithm>
#include <cmath>

namespace forerun::place {
namespace {

constexpr PowerCurve kG4({86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117});
constexpr PowerCurve kG5({93.7, 97, 101, 105, 110, 116, 121, 125, 129, 133, 135});

}  // namespace

double PowerCurve::at(double utilisation) const {
  const double u = std::clamp(utilisation, 0.0, 1.0);
  if (std::fmod(u, 0.1) == 0) return watts_[static_cast<size_t>(u * 10)];
  const double low = std::floor(u * 10);
  const double high = std::ceil(u * 10);
  const double from = watts_[static_cast<size_t>(low)];
  const double delta = (watts_[static_cast<size_t>(high)] - from) / 10;
  return from + delta * (u - low / 10) * 100;
}

const PowerCurve& hp_ml110_g4() { return kG4; }
const PowerCurve& hp_ml110_g5() { return kG5; }

}  // namespace forerun::place
