// The fleet's number of batches per manifest (volume.h), dealt to hosts by their share
// (placement.h).
#pragma once

#include <vector>

#include "forecast/launch.h"
#include "forecast/placement.h"
#include "forecast/volume.h"

namespace forerun::forecast {

class VolumePiece final : public LaunchPiece {
 public:
  static constexpr std::string_view kName = "volume";
  explicit VolumePiece(const LaunchShape& shape);
  std::string_view name() const override { return kName; }
  void foresee(int64_t tick, std::span<float> probability) override;
  void learn(int64_t tick, std::span<const Launched> launched) override;

 private:
  LaunchShape shape_;
  Volume volume_;
  Placement placement_;
  std::vector<double> expected_;
};

}  // namespace forerun::forecast
