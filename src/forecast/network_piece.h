// P(manifest | host, hour, day, what the host launched before) from a Chow–Liu tree, times the
// host's decayed rate of batches.
#pragma once

#include <vector>

#include "forecast/chow_liu.h"
#include "forecast/launch.h"

namespace forerun::forecast {

class NetworkPiece final : public LaunchPiece {
 public:
  static constexpr std::string_view kName = "chow_liu";
  explicit NetworkPiece(const LaunchShape& shape);
  std::string_view name() const override { return kName; }
  void foresee(int64_t tick, std::span<float> probability) override;
  void learn(int64_t tick, std::span<const Launched> launched) override;

  const ChowLiuTree& tree() const { return tree_; }
  enum Variable : size_t { kManifest, kHost, kHour, kDay, kPrevious, kVariables };

 private:
  // Manifests and hosts above share the last value, which bounds the tables.
  static constexpr uint32_t kManifestsMax = 64, kHostsMax = 256;
  uint32_t manifest_value(uint32_t manifest) const;
  uint32_t host_value(uint32_t host) const;

  LaunchShape shape_;
  ChowLiuTree tree_;
  double keep_;
  double weight_ = 0;
  std::vector<double> hosts_;       // decayed batches
  std::vector<uint32_t> previous_;  // by host; manifest_values() if none
};

}  // namespace forerun::forecast
