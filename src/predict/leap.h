// The delta that most of the last requests had, whatever the others did: one trend amid noise.
//
// SOURCE: Al Maruf, Chowdhury, "Effectively Prefetching Remote Memory with Leap", ATC'20: majority
// vote (Boyer, Moore) over windows that double, and a prefetch window that follows its success.
// Changed: requests instead of pages, and the size of the majority is said.
#pragma once

#include <array>
#include <optional>

#include "predict/model.h"

namespace forerun::predict {

// One thread.
class LeapModel final : public Model {
 public:
  struct Options {
    uint32_t steps_max = 8;  // requests ahead
  };
  LeapModel() : LeapModel(Options{}) {}
  explicit LeapModel(Options options) : options_(options) {}

  std::string_view name() const override { return "leap"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override { return sizeof(*this); }

 private:
  static constexpr size_t kHistory = 32, kWindowFirst = 4;
  struct Trend {
    int64_t delta = 0;
    size_t window = 0, votes = 0;
  };
  std::optional<Trend> trend() const;
  int64_t delta_before(size_t age) const { return deltas_[(count_ - 1 - age) % kHistory]; }

  Options options_;
  std::array<int64_t, kHistory> deltas_{};
  size_t count_ = 0;  // of all deltas so far
  ComponentId component_;
  uint64_t last_ = 0;
  bool has_last_ = false;
  uint64_t foreseen_ = 0;  // where the next request was said to begin
  bool has_foreseen_ = false;
  uint32_t steps_ = 1;
  Time last_at_{};
  float pace_s_ = 0;  // mean time between requests
};

}  // namespace forerun::predict
