// The policies of CloudSim 4.0's example that others are measured against: their rules, and their
// slips. SOURCE: Beloglazov & Buyya, CCPE 24(13), 2012; behaviour of the tag cloudsim-4.0.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "place/sim_world.h"

namespace forerun::place {

// npa, dvfs, thr_mmt_0.8, iqr_mmt_1.5, mad_mmt_2.5, lr_mmt_1.2, and these four with any other
// number. Null: no such policy.
std::unique_ptr<SimPolicy> make_reference_policy(std::string_view name);
std::vector<std::string_view> reference_policy_names();

// When a host is over-utilised, from its demand now and its past utilisation, newest first, of at
// most 30 ticks. `demand` is of 1.
class Detector {
 public:
  virtual ~Detector() = default;
  // How many values of the past it looks at.
  virtual size_t depth() const = 0;
  virtual bool is_over(double demand, std::span<const double> past) const = 0;
};
// `safety` as the name says: "thr" 0.8, "iqr" 1.5, "mad" 2.5, "lr" 1.2.
std::unique_ptr<Detector> make_detector(std::string_view kind, double safety);

}  // namespace forerun::place
