#include "forecast/volume_piece.h"

#include <cmath>

namespace forerun::forecast {

VolumePiece::VolumePiece(const LaunchShape& shape)
    : shape_(shape),
      volume_(shape, LaunchUnit::kBatches),
      placement_(shape, LaunchUnit::kBatches),
      expected_(shape.manifests) {}

void VolumePiece::foresee(int64_t tick, std::span<float> probability) {
  volume_.foresee(tick, expected_);
  for (uint32_t h = 0; h < shape_.hosts; ++h)
    for (uint32_t m = 0; m < shape_.manifests; ++m)
      probability[shape_.cell(h, m)] =
          static_cast<float>(-std::expm1(-expected_[m] * placement_.share(h, m)));
}

void VolumePiece::learn(int64_t tick, std::span<const Launched> launched) {
  volume_.learn(tick, launched);
  placement_.learn(tick, launched);
}

}  // namespace forerun::forecast
