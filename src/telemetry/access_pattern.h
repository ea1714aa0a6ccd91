// How a process walks through its memory, told from the page numbers of a sample of its accesses.
// Scalars in the manner of the usual prefetch literature (delta entropy, dominant delta), and a
// label for each access: it continues a stream of a constant delta, or follows an order seen
// before, or neither. Labels are per access, so a mix of patterns shows as shares.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace forerun::telemetry {

using PageNumber = uint64_t;

struct AccessFeatures {
  double delta_entropy_bits = 0;  // of the differences of consecutive pages
  double plus_one_ratio = 0;      // share of the differences that are +1
  int64_t delta_mode = 0;         // the commonest difference, 0 if there is none
  double delta_mode_ratio = 0;    // and its share
  double run_pages = 0;           // mean length of runs of neighbouring pages, as a set
  uint64_t gap_mode_pages = 0;    // the commonest gap between neighbours of the set
  double gap_mode_ratio = 0;
  double jaccard_ratio = 0;  // of this window's pages and the last one's: both over either
  bool operator==(const AccessFeatures&) const = default;
};

// Shares of the accesses that were labelled; they sum to 1, or to 0 if nothing could be told.
struct PatternShares {
  double scan = 0;    // neighbours in order, not seen lately
  double loop = 0;    // neighbours in order, seen lately
  double stride = 0;  // a constant distance other than one page
  double chase = 0;   // no such distance, but the same order as before
  double random = 0;
  bool operator==(const PatternShares&) const = default;
};

enum class Pattern : uint8_t { kUnknown, kScan, kLoop, kStride, kChase, kRandom };
std::string_view pattern_name(Pattern pattern);

// Returns the features of the set `pages` (in any order, repeats allowed): run and gap only.
AccessFeatures set_features(std::span<const PageNumber> pages);

// Looks at a process's windows one after the other. One thread; deterministic. Memory: at most
// kSamplesMax + kRememberedMin pages twice, usually half of it.
class AccessObserver {
 public:
  static constexpr size_t kSamplesMax = 8192;  // of a window; more are not looked at
  // Of the past: the window before, and earlier ones until there are so many accesses. A loop or a
  // chase of up to so many pages is known again, if it takes several windows, too; what comes back
  // later is a scan.
  static constexpr size_t kRememberedMin = 8192;
  struct Reading {
    AccessFeatures features;
    PatternShares shares;
    Pattern dominant = Pattern::kUnknown;
    std::vector<Pattern> present;  // with a share of kPresentRatio or more, largest first
  };
  static constexpr double kPresentRatio = 0.08;
  static constexpr size_t kSamplesMin = 64;  // with fewer, nothing is told

  // Returns what the window's accesses, in their order, show; the first window knows no past.
  Reading observe(std::span<const PageNumber> accesses);
  // Forgets the past: another process.
  void forget();

 private:
  struct Window {
    size_t accesses = 0;
    std::vector<PageNumber> unordered;  // in order, without those of streams
    std::vector<PageNumber> set;        // all, sorted, unique
  };
  PatternShares shares_of(std::span<const PageNumber> accesses, Window& window) const;
  void remember(Window window);

  std::vector<Window> past_;  // the newest last
};

}  // namespace forerun::telemetry
