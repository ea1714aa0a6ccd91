// The boot prior: what a first boot will probably read, known from the file system before any boot
// (who is started, which libraries it loads, where those files lie). It stands in the repository
// beside the image's index and says, in time, what replay would say had it seen a boot.
//
// It is an estimate: some of its blocks are never read, some that are read are not in it. So it is
// said only so far ahead of what came true, which bounds the waste of a wrong one and lets the
// arbiter's calibration weigh the rest; and how much of the guest's reads it knows is measured, not
// claimed.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "predict/block_table.h"
#include "predict/model.h"
#include "predict/sequence.h"
#include "predict/sequence_walk.h"

namespace forerun::predict {

// One thread.
class PriorModel final : public Model {
 public:
  struct Options {
    Nanos boot_window = std::chrono::minutes(10);  // what is touched later is no part of the boot
    uint32_t blocks_max = kSequenceBlocksMax;      // of the guest's first touches remembered
    Nanos slack = std::chrono::seconds(1);         // said to be due later than estimated
    SequenceWalk::Options walk{.unconfirmed_max = 384};
  };
  PriorModel(Options options, std::vector<ComponentId> components, Priors priors);

  std::string_view name() const override { return "prior"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  float coverage(ComponentId component) const override;
  size_t state_bytes() const override { return seen_.state_bytes() + walk_.state_bytes(); }

 private:
  void put_off(size_t from, std::vector<Candidate>& out) const;

  Options options_;
  Priors priors_;
  BlockTable<uint8_t> seen_;  // first touches of this boot
  SequenceWalk walk_;
  bool is_booting_ = false;                    // between on_start and the end of the window
  std::map<ComponentId, float> known_shares_;  // of recent first touches, those the prior knew
};

}  // namespace forerun::predict
