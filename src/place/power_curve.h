// Electric power of a host by its CPU utilisation.
// SOURCE: SPECpower_ssj2008 results of the two machines, as used by Beloglazov & Buyya, "Optimal
// online deterministic algorithms and adaptive heuristics …", CCPE 24(13), 2012, table II.
#pragma once

#include <array>
#include <cstddef>

namespace forerun::place {

// Watts at 0, 10 … 100 %, linear between.
class PowerCurve {
 public:
  constexpr explicit PowerCurve(std::array<double, 11> watts) : watts_(watts) {}

  // Returns watts at `utilisation` in [0, 1]; what is outside is clamped. The order of the
  // operations is CloudSim's: within a decile all hosts of a type tie, and the last bit decides.
  double at(double utilisation) const;
  double max() const { return watts_[10]; }
  // Returns this curve for a machine that draws `factor` as much.
  constexpr PowerCurve scaled(double factor) const {
    PowerCurve curve = *this;
    for (double& watts : curve.watts_) watts *= factor;
    return curve;
  }

 private:
  std::array<double, 11> watts_;
};

const PowerCurve& hp_ml110_g4();
const PowerCurve& hp_ml110_g5();

}  // namespace forerun::place
