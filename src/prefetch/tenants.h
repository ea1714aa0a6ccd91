// Whose VMs want prefetches: tenants take turns, and inside of a tenant its VMs; and each tenant
// has an earned budget beside those of its VMs, so that many VMs, or a VM started again and again,
// cannot multiply it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/time.h"
#include "score/budget.h"

namespace forerun::prefetch {

// A VM of no tenant is one of its own, whose budget is the VM's alone.
struct Tenant {
  std::optional<score::Budget> budget;  // of a named one
  std::map<VmId, uint64_t> vms;         // running; the turn in which each was served last
  uint64_t turn = 0;                    // in which any was
  uint64_t used_at = 0;                 // a count, for forgetting the oldest

  uint64_t available_bytes() const { return budget ? budget->available_bytes() : UINT64_MAX; }
};
using TenantPtr = std::shared_ptr<Tenant>;

// One thread.
class Tenants {
 public:
  struct Options {
    score::Budget::Options budget;
    size_t names_max = 1024;  // remembered; of those without a VM the oldest is forgotten
  };
  explicit Tenants(Options options) : options_(options) {}

  // Returns the tenant, to which the VM belongs until remove(). What a tenant has earned or wasted
  // outlives its VMs.
  TenantPtr add(VmId vm, const std::string& name);
  void remove(VmId vm, Tenant& tenant);
  void tick(Time now);
  // Returns those with running VMs: who was served longest ago first.
  std::vector<Tenant*> by_turn() const;
  static std::vector<VmId> by_turn(const Tenant& tenant);
  void on_served(VmId vm, Tenant& tenant);
  size_t names() const { return named_.size(); }

 private:
  void forget_old();

  Options options_;
  std::map<std::string, TenantPtr> named_;
  std::vector<TenantPtr> active_;  // with VMs, in the order they came
  uint64_t turns_ = 0, uses_ = 0;
};

}  // namespace forerun::prefetch
