// What moving a guest will cost, by pre-copy, post-copy or both, and which is best: told before the
// start, with a range for each figure; and scored after it, so that ranges and figures follow what
// came of earlier ones.
//
// The model: a guest writes W pages again and again, at first r of them a second, so that of a time
// t it leaves W·(1 − e^(−r·t/W)) pages to send again (each page equally likely: the usual
// approximation, Nathan, Bellur, Kulkarni, "Towards a comprehensive performance model of virtual
// machine live migration", SoCC'15). Pages cost what profile and codec say; the link does the rest.
#pragma once

#include <array>
#include <string>

#include "migrate/memory_sender.h"

namespace forerun::migrate {

enum class MigrationMode : uint8_t {
  kPrecopy,   // all of it before the switch
  kPostcopy,  // the switch at once
  kHybrid,    // a pass before the switch, the rest after it
};
inline constexpr size_t kMigrationModes = 3;
std::string_view migration_mode_name(MigrationMode mode);

// What is known of guest and link. What is not known stays as it is.
struct PlanInput {
  uint64_t pages = 0;             // of the guest
  uint64_t zero_pages = 0;        // of them
  uint64_t written_pages = 0;     // that are written again and again
  double dirty_pages_per_s = 0;   // right after a round began
  uint64_t referenced_pages = 0;  // touched at all, by the guest's agent; 0: it does not say
  double packed_ratio = 1;
  double delta_ratio = 0.5;  // of a page written again, to its size
  bool is_profiled = false;  // written_pages and so on were seen, not guessed
  uint64_t kept_pages_max = TableLimits{}.kept_pages;
  double link_bytes_per_s = 0;
  Nanos round_trip{};
};

// Returns what a profile says, with this link. `referenced_bytes`: as the agent's working set says.
PlanInput plan_input(const MemoryProfile& profile, double link_bytes_per_s, Nanos round_trip,
                     uint64_t referenced_bytes = 0);

struct PlanPolicy {
  Nanos downtime_max = 300ms;
  double degradation_max = 0.5;        // share of the migration that the guest may be blocked
  Nanos switch_within = Nanos::max();  // the guest is to run at the target after so long
};

struct Estimate {
  double expected = 0, low = 0, high = 0;
  bool holds(double actual) const { return low <= actual && actual <= high; }
  bool operator==(const Estimate&) const = default;
};

// Of one way to move the guest, or what came of it.
enum class PlanFigure : uint8_t { kTotal, kDowntime, kBlocked, kBytes };
inline constexpr size_t kPlanFigures = 4;
std::string_view plan_figure_name(PlanFigure figure);  // "total_s", "downtime_s", …

struct ModeEstimate {
  MigrationMode mode = MigrationMode::kPrecopy;
  std::array<Estimate, kPlanFigures> figures;
  double to_switch_s = 0;  // until the guest runs at the target
  bool fits_policy = false;
  std::string why_not;  // where it does not: "2.1 s of downtime, 0.3 s are allowed"
  const Estimate& operator[](PlanFigure figure) const {
    return figures[static_cast<size_t>(figure)];
  }
};

struct MigrationPlan {
  MigrationMode mode = MigrationMode::kHybrid;
  std::string reason;  // a sentence
  std::array<ModeEstimate, kMigrationModes> modes;
  const ModeEstimate& chosen() const { return modes[static_cast<size_t>(mode)]; }
};

// How estimates were met so far, by mode and figure. One thread. Plain state: it may be kept.
class PlanScores {
 public:
  struct Score {
    double log_bias = 0;           // mean of ln(actual / expected), recent ones counting more
    double log_spread = 0.3;       // and their mean distance from it; before any: a guess
    uint64_t count = 0, held = 0;  // of `count`, those within their range
    bool operator==(const Score&) const = default;
  };
  // Learns what came of a migration of that mode. `actual`: as figures, in their order.
  void learn(const ModeEstimate& predicted, const std::array<double, kPlanFigures>& actual);
  const Score& of(MigrationMode mode, PlanFigure figure) const {
    return scores_[static_cast<size_t>(mode)][static_cast<size_t>(figure)];
  }
  void set(MigrationMode mode, PlanFigure figure, const Score& score) {
    scores_[static_cast<size_t>(mode)][static_cast<size_t>(figure)] = score;
  }

 private:
  std::array<std::array<Score, kPlanFigures>, kMigrationModes> scores_{};
};

// Returns the estimates of all modes and the choice: of those within the policy pre-copy before
// hybrid before post-copy, since memory that is split is lost if either host is; if none is, the
// one that a guest waits for least. ERRORS: kInvalid: no pages, or a link without a rate.
Result<MigrationPlan> plan_migration(const PlanInput& input, const PlanPolicy& policy,
                                     const PlanScores& scores);

// Returns what to do with pages that are written again and again. In a pre-copy they are held back,
// for QEMU's last round, where they would be sent whole in each round and sending them takes half
// of the downtime that is allowed, or less.
HotPages hot_pages_of(const PlanInput& input, const PlanPolicy& policy, MigrationMode mode);

// Returns whether a profile is worth its second before a guest is moved: where what both sides keep
// is too small for all of it, and where hot pages must be known before the first pass.
bool needs_profile(uint64_t pages, uint64_t kept_pages_max, MigrationMode mode);

}  // namespace forerun::migrate
