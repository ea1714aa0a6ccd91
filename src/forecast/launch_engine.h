// Which manifests will be launched on which host within the window, how likely, how many, when.
//
// Each piece gives a probability per (manifest, host); a logistic mix per manifest, learned online,
// makes one of them. How many launches are worth to be ready for is foreseen apart: the fleet's
// number per manifest (Volume) times the host's share (Placement), moved by what the mix knows more
// than the volume piece alone. Every probability said meets its outcome.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "forecast/launch.h"
#include "forecast/logistic_mix.h"
#include "forecast/placement.h"
#include "forecast/volume.h"
#include "score/calibration.h"

namespace forerun::forecast {

struct LaunchPrediction {
  uint32_t host = 0;
  uint32_t manifest = 0;
  float probability = 0;        // of at least one launch within the window
  float expected_launches = 0;  // within the window
  float due_s = 0;              // expected first launch, from the window's beginning, if any
};

// What one piece said of a cell, and its weight in the mix.
struct PieceSaid {
  std::string_view name;
  float probability = 0;
  double weight = 0;
};

// How well one piece's probabilities, or the mix's, coded what happened. Nats per cell and window.
struct PieceScore {
  std::string name;
  double log_loss = 0;     // mean over all outcomes counted
  double weight_mean = 0;  // in the mix, over manifests that were launched
};

// One thread.
class LaunchEngine {
 public:
  struct Options {
    std::vector<std::string> pieces;  // by name; empty: all
    LogisticMix::Options mix;
    double tilt = 0.5;  // how far the mix moves the expected number; 0: not at all
  };
  // ERRORS: as make_launch_pieces; kTooLarge for a shape over the limits, kInvalid for an empty
  // one.
  static Result<std::unique_ptr<LaunchEngine>> make(const LaunchShape& shape, Options options);

  struct Foresight {
    std::vector<float> probability;  // by cell
    std::vector<double> expected;    // launches, by cell
  };
  // Foresees the window that begins with `tick` from what was learned of ticks before it.
  const Foresight& foresee(int64_t tick);
  // Learns what was launched in `tick`, and what ended. Ticks that nobody observed are left out.
  void learn(int64_t tick, std::span<const Launched> launched,
             std::span<const Stopped> stopped = {});

  // Returns the `count` likeliest of the last foresight, likeliest first.
  std::vector<LaunchPrediction> ranked(size_t count) const;
  // Returns the last foresight of one cell.
  LaunchPrediction prediction(uint32_t host, uint32_t manifest) const;
  // Returns what each piece said of it; empty before the first foresight.
  std::vector<PieceSaid> said(uint32_t host, uint32_t manifest) const;

  // Outcomes are counted from here on only.
  void reset_scores();
  const score::Reliability& reliability() const { return reliability_; }
  std::vector<PieceScore> scores() const;

 private:
  struct Pending {
    int64_t tick;
    std::vector<float> logits;  // by cell, then piece
    std::vector<float> mixed;   // by cell
    std::vector<bool> happened;
    uint32_t ticks_seen = 0;
  };
  LaunchEngine(const LaunchShape& shape, Options options,
               std::vector<std::unique_ptr<LaunchPiece>> pieces);
  void settle(const Pending& pending);

  LaunchShape shape_;
  Options options_;
  std::vector<std::unique_ptr<LaunchPiece>> pieces_;
  LogisticMix mix_;
  Volume volume_;
  Placement placement_;
  Foresight foresight_;
  std::vector<float> said_;  // by cell: one piece's
  std::vector<double> volumes_;
  std::deque<Pending> pending_;
  score::Reliability reliability_;
  std::vector<double> losses_;  // by piece, the mix last
  uint64_t outcomes_ = 0;
  std::vector<uint64_t> manifest_launches_;
};

}  // namespace forerun::forecast
