// The schedulers that are compared: ours as the daemon has it, and others' rules.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "iosched/scheduler.h"

namespace forerun::bench {

// Decides which request a resource takes next. At most kDepth are in it.
class Policy {
 public:
  static constexpr uint32_t kDepth = 16;
  virtual ~Policy() = default;
  virtual void set_share(VmId vm, const iosched::Share& share) = 0;
  virtual void push(const iosched::Request& request, Time now) = 0;
  virtual std::optional<iosched::Request> pull(Time now) = 0;
  virtual Time ready_at(Time now) = 0;  // later than now if pull() gives nothing
  virtual void on_complete(const iosched::Request& request, Time now) = 0;
};

// forerun: iosched::Scheduler. fifo: in order of arrival. priority: a lower VM's last, strictly.
// drr: deficit round robin by weight (Shreedhar, Varghese 1995), quantum 64 KiB at weight 100.
// mclock: tags of each request as the paper's algorithm has them (Gulati et al., OSDI 2010), one
// queue whatever the class.
std::unique_ptr<Policy> make_policy(std::string_view name);
inline const std::vector<std::string_view> kPolicies{"forerun", "fifo", "priority", "drr",
                                                     "mclock"};

}  // namespace forerun::bench
