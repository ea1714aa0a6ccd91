// What a word about a run of blocks is worth beyond what its model's calibration says, by what is
// known of those blocks themselves: how long ago they were read or written last, how many they are,
// how far from the access that made the model speak. Read by every model alike, which know the
// order of requests and forget the rest.
//
// SOURCE: logistic regression learned online by gradient descent, each trait a bias that is added
// to the log odds (as Mattern, "Linear and geometric mixing", DCC'12, has it for bits). docs/
// prediction.md has what it gives.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "predict/model.h"
#include "trace/access.h"

namespace forerun::predict {

// One VM session. One thread. State: a fixed 1 MiB, and some KiB.
class WordOdds {
 public:
  static constexpr size_t kModelsMax = 32;

  // What a word is told apart by: classes.
  struct Traits {
    uint8_t age = 0, blocks = 0, distance = 0, track = 0;
  };

  explicit WordOdds(size_t models);

  // The guest reads or writes these blocks now. `were_right`: a bit for each model that had said
  // one of them.
  void remember(const trace::Access& access, uint32_t were_right);
  // Returns the traits of what a model says at `access`.
  Traits traits_of(uint8_t model, const Candidate& candidate, const trace::Access& access) const;
  // Returns the probability of a word whose calibrated one is `probability`, in (0, 1).
  float probability(uint8_t model, Traits traits, float probability) const;
  // It came true, or not; `probability` is what probability() returned.
  void learn(uint8_t model, Traits traits, float probability, bool happened);
  // What was learned as not happened came true after all.
  void revise(uint8_t model, Traits traits);
  // Brings to the processor what traits_of() will look at.
  void prefetch(const Candidate& candidate) const;

  size_t state_bytes() const;

 private:
  static constexpr size_t kAges = 24;           // powers of two of reads since; the last: never
  static constexpr size_t kSizes = 8;           // powers of two of blocks
  static constexpr size_t kTracks = 16;         // of the last three reads, those the model had said
  static constexpr size_t kDistances = 64;      // sign and power of two
  static constexpr uint32_t kPlaces = 1 << 18;  // blocks remembered, by hash
  static constexpr uint32_t kLine = 8;          // blocks that lie together

  struct Biases {
    std::array<float, kAges> age{};
    std::array<float, kSizes> blocks{};
    std::array<float, kDistances> distance{};
    std::array<float, kTracks> track{};
  };
  static uint32_t line_of(ComponentId component, uint64_t block);
  void move(uint8_t model, Traits traits, float error);

  std::vector<uint32_t> last_;  // 8 bits of the hash, 24 of the count of reads
  uint32_t reads_ = 0;
  std::array<uint8_t, kModelsMax> tracks_{};  // by model: the last reads, the newest lowest
  std::vector<Biases> biases_;                // by model
};

}  // namespace forerun::predict
