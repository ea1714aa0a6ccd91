// The data centre of the model "forerun": VMs of any size on hosts of one kind, with memory and
// links that limit what may move and how fast, and figures that count only what hurts.
// docs/simulate.md says the rules; cloudsim_world is the model that others' figures compare with.
#pragma once

#include <functional>
#include <vector>

#include "place/sim_world.h"

namespace forerun::place {

class FleetWorld final : public SimWorld {
 public:
  struct Options {
    int hosts = 0;  // 0: hosts_for()
    int cores = 16;
    double core_mhz = 2600;
    double memory_mb = 256 * 1024;
    double link_mb_per_s = 1250;  // 10 Gbit/s each way
    double watts_max = 400;       // of a host; its curve has the shape of hp_ml110_g5's
    double cpu_overcommit = 4;    // nominal CPU that may start on a host, of what it has
    double dirty_mb_per_core_s = 30;
    double downtime_s = 0.3;
    int moves_at_once = 2;  // of a host, in or out
    // Called after every tick with what was done by then, of 1.
    std::function<void(double)> progress;
  };
  // Returns how many hosts hold the trace's memory four fifths full, and its peak of demand at
  // three fifths.
  static int hosts_for(const trace::VmTrace& trace, const Options& options);

  // REQUIRES: `trace` outlives this and has at least one VM; all its VMs have as many samples.
  FleetWorld(const trace::VmTrace& trace, Options options);

  // Runs the trace. Once per object. ERRORS: kInvalid when a VM finds no host at the start.
  Result<SimResult> run(SimPolicy& policy);
  bool can_start(int host, const SimVm& vm) const override;
  // VMs with more memory than a host has: not simulated.
  size_t left_out() const { return left_out_; }

 private:
  struct Move {
    SimMove move;
    int from = 0;
    double left_mb = 0;     // still to send, if the VM dirtied nothing more
    double dirty_mb_s = 0;  // what it dirties
    double rate_mb_s = 0;   // what is sent
    double gain_mb_s = 0;   // by which `left_mb` shrinks
  };
  // What a host does until something changes; per second.
  struct Flow {
    double since = 0;
    double watts = 0;
    double asked = 0, lost_overload = 0, lost_moving = 0;  // MIPS
    double waited = 0;                                     // VMs, by the share that they miss
    double short_vms = 0;
    bool is_on = false, is_over = false, is_marked = false;  // marked: as CloudSim counts it
  };

  Status start(SimPolicy& policy);
  void measure();
  void load(size_t sample);
  void refresh(size_t host);
  void settle(size_t host);
  void order(std::vector<SimMove> moves);
  bool begin(const SimMove& move);
  void begin_waiting();
  void finish(const Move& move);
  void set_rates();
  void pass(double until);
  SimSample sample() const;
  SimResult result() const;

  const trace::VmTrace& trace_;
  Options options_;
  PowerCurve power_;
  size_t left_out_ = 0;
  std::vector<double> asked_;         // MIPS of VMs in this interval; vm.demand is of the last
  std::vector<double> touched_mb_;    // of VMs: what a move has to send
  std::vector<double> network_mb_s_;  // of VMs
  std::vector<double> memory_mb_;     // of hosts, of what is there and on its way
  std::vector<int> moves_of_;         // of hosts, in flight
  std::vector<Flow> flows_;
  std::vector<Move> moves_;       // in flight
  std::vector<SimMove> waiting_;  // for memory or for their turn
  // Sums.
  double energy_ws_ = 0, asked_sum_ = 0, lost_overload_ = 0, lost_moving_ = 0, waited_s_ = 0;
  double short_vm_s_ = 0, on_s_ = 0, over_s_ = 0, marked_s_ = 0, sent_mb_ = 0, moving_s_ = 0;
  double memory_share_max_ = 0;
  uint64_t migrations_ = 0, refused_ = 0, shutdowns_ = 0;
  std::vector<SimSample> samples_;
};

}  // namespace forerun::place
