// P(manifest | host, hour, day, what the host launched before and for whom, what stopped there
// last) from a Chow–Liu tree, times the host's decayed rate of batches.
#pragma once

#include <array>
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
  void learn_stops(int64_t tick, std::span<const Stopped> stopped) override;

  const ChowLiuTree& tree() const { return tree_; }
  enum Variable : size_t {
    kManifest,
    kHost,
    kHour,
    kDay,
    kPrevious,  // the manifest that the host launched before
    kTenant,    // whose that was
    kStopped,   // the manifest that stopped there last, lately
    kVariables
  };

 private:
  // Manifests and hosts above share the last value, which bounds the tables.
  static constexpr uint32_t kManifestsMax = 64, kHostsMax = 256;
  uint32_t manifest_value(uint32_t manifest) const;
  uint32_t host_value(uint32_t host) const;
  uint32_t manifest_values() const;
  // What is known of a host before a tick, with a manifest that is to be told or learned.
  std::array<uint32_t, kVariables> evidence(uint32_t manifest, uint32_t host, int64_t tick) const;

  struct Host {
    double batches = 0;  // decayed
    uint32_t previous;   // manifest_values() if none; so the last two
    uint32_t tenant = 0;
    uint32_t stopped;
    int64_t stopped_tick = 0;
  };
  LaunchShape shape_;
  ChowLiuTree tree_;
  double keep_;
  double weight_ = 0;
  std::vector<Host> hosts_;
};

}  // namespace forerun::forecast
