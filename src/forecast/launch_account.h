// What came of getting ready for launches. A prefetch opens a window for its image; a launch within
// it is a hit, or late if it came before the prefetch was done; a window without one is wasted. A
// gate mutes whoever wastes, and listens on. Beside it, simple rules spend the same bytes at the
// same times, so that the score always has something to be compared with.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "score/gate.h"

namespace forerun::forecast {

enum class LaunchOutcome : uint8_t { kOpen, kHit, kLate, kWasted };

// One prefetch of one image. Times are seconds since the epoch.
struct LaunchWindow {
  std::string image;
  float probability = 0;  // when it was opened
  uint64_t opened = 0, ends = 0;
  uint64_t launched = 0;     // the first launch within it; 0: none
  uint64_t image_bytes = 0;  // foreseen to be read, here already or not
  uint64_t fetched_bytes = 0, used_bytes = 0, wasted_bytes = 0;
  bool acted = true;  // false: muted, only watched
  LaunchOutcome outcome = LaunchOutcome::kOpen;
};

// How one way of choosing did. Ready: launches whose image had a window open.
struct LaunchTally {
  uint64_t windows = 0, windows_hit = 0, windows_wasted = 0;
  uint64_t launches_ready = 0;
  uint64_t bytes = 0;  // of images, each window counted again
};

// One hour, or all.
struct LaunchScore {
  uint64_t second = 0;  // the hour's beginning
  uint64_t launches = 0;
  uint64_t windows_late = 0, launches_late = 0;  // the engine's
  uint64_t fetched_bytes = 0, used_bytes = 0, wasted_bytes = 0;
  std::vector<LaunchTally> methods;  // the engine first, then the rules
};

// One thread. Time comes with the calls and does not go back.
class LaunchAccount {
 public:
  struct Options {
    uint32_t window_s = 600;
    size_t hours_max = 48;    // kept hour by hour
    size_t windows_max = 64;  // closed ones kept one by one
    // A guess said at 0.3 may fail twice in three; one that fails nine times in ten is noise.
    score::Gate::Options gate{
        .share_min = 0.12, .share_back = 0.2, .evidence_min = 10, .memory = 40};
  };
  // `rules`: names of what the engine is compared with.
  LaunchAccount(Options options, std::vector<std::string> rules);

  // Closes windows whose time is over. Called before all else at each tick.
  void advance(uint64_t now);
  bool is_open(std::string_view image) const { return open_.contains(image); }
  // Opens a window, unless one is open. Muted ones only teach the gate.
  void open(const std::string& image, float probability, uint64_t image_bytes, uint64_t now);
  // The rules spend what open() spent since the last call. `rank_of(rule)`: images, best first.
  // `bytes_of`: an image's bytes, over 0.
  void spend_as(const std::function<std::vector<std::string>(size_t rule)>& images_of,
                const std::function<uint64_t(const std::string& image)>& bytes_of, uint64_t now);
  // An image was launched here. `is_ready`: what was foreseen of it was here.
  void on_launch(const std::string& image, bool is_ready, uint64_t now);
  // Bytes that were fetched for an image, and what came of them.
  void on_fetched(const std::string& image, uint64_t bytes, uint64_t now);
  void on_used(const std::string& image, uint64_t bytes, uint64_t now);
  void on_wasted(const std::string& image, uint64_t bytes, uint64_t now);

  bool muted() const { return gate_.muted(); }
  double share_that_came_true() const { return gate_.share(); }
  const LaunchScore& total() const { return total_; }
  const std::deque<LaunchScore>& hours() const { return hours_; }  // oldest first
  // Returns open windows and the last closed ones, newest first.
  std::vector<LaunchWindow> windows() const;

 private:
  struct Rule {
    double purse = 0;                         // bytes not spent yet
    std::map<std::string, uint64_t> covered;  // image → second until which it is ready
    std::map<std::string, bool> hit;
  };
  LaunchScore& hour(uint64_t now);
  LaunchWindow* find(const std::string& image);
  template <typename Change>
  void change(uint64_t now, const Change& change);
  void close(LaunchWindow window, uint64_t now);

  Options options_;
  score::Gate gate_;
  std::map<std::string, LaunchWindow, std::less<>> open_;
  std::deque<LaunchWindow> closed_;
  std::vector<Rule> rules_;
  double income_ = 0;  // of the rules, since spend_as
  LaunchScore total_;
  std::deque<LaunchScore> hours_;
};

}  // namespace forerun::forecast
