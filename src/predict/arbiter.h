// The arbiter: asks every model, turns what each says into a calibrated probability, merges the
// answers per block, and proposes what is likely enough. It scores every candidate against what the
// guest then did, issued or not, so a model that was silenced is still watched and can earn its way
// back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "predict/model.h"
#include "score/calibration.h"
#include "score/phase_change.h"
#include "trace/access.h"

namespace forerun::predict {

// A run of blocks worth fetching, most probable model first. Blocks as in trace::Access.
struct Proposal {
  ComponentId component;
  uint64_t first_block = 0;
  uint32_t block_count = 0;
  float probability = 0;  // calibrated: of those said at 0.8, 80 % are read before they expire
  uint8_t model = 0;      // index into Arbiter::models(), whose idea it was
  Time due{};
};

struct ModelReport {
  std::string name;
  uint64_t said = 0;  // blocks predicted, and since then decided
  uint64_t came_true = 0;
  float calibration_gap = 0;  // mean |said − happened| over the bins in use, weighted by count
  bool muted = false;
  Time muted_changed_at{};  // when it was muted or heard again last; 0: never
  uint32_t times_muted = 0;
  float proposals_true = 1;    // share of what it would propose that came true, recent ones first
  uint64_t phase_changes = 0;  // that were noticed in what came of its words
  Time phase_changed_at{};     // the last
  size_t state_bytes = 0;
  struct Bin {
    float said = 0, happened = 0;
    uint64_t count = 0;
  };
  std::vector<Bin> bins;  // ten equal ones of calibrated probability
};

class RunArbiter;

// One VM session. One thread.
class Arbiter {
 public:
  struct Options {
    float probability_min =
        0.55f;  // below: not proposed (still scored); the choice is shown in docs/prediction.md
    // … of a block that no boot has shown, once boots have shown others of the disk: the guest is
    // mostly known then, and guesses at what is new are mostly in vain.
    float probability_min_unseen = 0.9f;
    // What a run said as one needs more each time it is twice as long: all of it must be there to
    // save its request, and it costs twice the bytes.
    float probability_per_doubling = 0;
    uint32_t pending_max = 1 << 16;  // candidates that await their outcome; the oldest expire first
    Nanos horizon =
        std::chrono::seconds(60);  // a candidate not read by due + horizon did not come true
    // … nor one not read within so many reads of the guest after it was said; 0: no such limit.
    uint32_t horizon_reads = 0;
    uint32_t proposals_per_access_max = 64;
    // Returns the bytes that a block costs on the link; 0: nothing, it is zeroes. A wrong prefetch
    // costs its bytes, a right one saves a round trip too: small blocks are proposed from a lower
    // probability on. Empty: all are of the size that probability_min is meant for.
    std::function<uint32_t(ComponentId component, uint64_t block)> bytes_of;
    // Returns whether a block is where a prefetch would bring it: then nothing said of it is heard.
    // Empty: what was read within the horizon is thought to be there.
    std::function<bool(ComponentId component, uint64_t block)> is_here;
    // The same of up to 64 blocks at once: returns a bit for each that is here, the lowest for
    // first_block. Asked instead of is_here if it is set; only with Unit::kRuns.
    std::function<uint64_t(ComponentId component, uint64_t first_block, uint32_t block_count)>
        which_are_here;
    // What is weighed and scored: blocks, each by itself; or what a model said as one, for disks at
    // work (run_arbiter.h). With runs the surest word counts, and nobody covers a component.
    enum class Unit : uint8_t { kBlocks, kRuns };
    Unit unit = Unit::kBlocks;
    // With runs: how many blocks may be fetched in vain for each that the guest wants of the slow
    // tier. While there are fewer, less likely runs are proposed too, down to probability_least;
    // while there are more, only likelier ones, as far above
    // probability_min. 0: that it is.
    float waste_max = 0;
    float probability_least = 0.3f;
    // How words of several models about one block become one: as those of witnesses who saw much
    // the same, or the surest alone.
    enum class Merge : uint8_t { kWitnesses, kSurest };
    Merge merge = Merge::kWitnesses;
    score::Calibration::Options calibration;
    // Watches each model for changes of its guest's ways; then what was learned of it counts for
    // little. None: as a boot is over before any could be told.
    std::optional<score::PhaseChange::Options> phase_change;
  };
  Arbiter(Options options, std::vector<std::unique_ptr<Model>> models);
  ~Arbiter();

  void on_start(Time now, std::vector<Proposal>& out);
  void on_access(const trace::Access& access, std::vector<Proposal>& out);
  void on_end(Time now);
  // Tells the models how this session's guest behaves; as Model::on_behaviour.
  void on_behaviour(std::span<const float> inputs, size_t category);

  // Returns a line per model, in the order of models(), and one more, "proposed": of what was
  // proposed.
  std::vector<ModelReport> report() const;
  std::span<const std::unique_ptr<Model>> models() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::unique_ptr<RunArbiter> runs_;  // instead of impl_
};

}  // namespace forerun::predict
