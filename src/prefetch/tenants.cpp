#include "prefetch/tenants.h"

#include <algorithm>

namespace forerun::prefetch {

TenantPtr Tenants::add(VmId vm, const std::string& name) {
  TenantPtr tenant;
  if (name.empty()) {
    tenant = std::make_shared<Tenant>();
  } else {
    TenantPtr& named = named_[name];
    if (!named) {
      named = std::make_shared<Tenant>();
      named->budget.emplace(options_.budget);
    }
    tenant = named;
  }
  if (tenant->vms.empty()) active_.push_back(tenant);
  tenant->vms[vm] = 0;
  tenant->used_at = ++uses_;
  forget_old();
  return tenant;
}

void Tenants::remove(VmId vm, Tenant& tenant) {
  if (tenant.vms.erase(vm) == 0 || !tenant.vms.empty()) return;
  std::erase_if(active_, [&](const TenantPtr& each) { return each.get() == &tenant; });
}

void Tenants::forget_old() {
  while (named_.size() > options_.names_max) {
    auto oldest = named_.end();
    for (auto each = named_.begin(); each != named_.end(); ++each) {
      if (!each->second->vms.empty()) continue;
      if (oldest == named_.end() || each->second->used_at < oldest->second->used_at) oldest = each;
    }
    if (oldest == named_.end()) return;
    named_.erase(oldest);
  }
}

void Tenants::tick(Time now) {
  for (const TenantPtr& tenant : active_)
    if (tenant->budget) tenant->budget->tick(now);
}

std::vector<Tenant*> Tenants::by_turn() const {
  std::vector<std::pair<uint64_t, size_t>> turns;
  for (size_t i = 0; i < active_.size(); ++i) turns.emplace_back(active_[i]->turn, i);
  std::sort(turns.begin(), turns.end());
  std::vector<Tenant*> order;
  for (const auto& [turn, index] : turns) order.push_back(active_[index].get());
  return order;
}

std::vector<VmId> Tenants::by_turn(const Tenant& tenant) {
  std::vector<VmId> order;
  for (const auto& [vm, turn] : tenant.vms) order.push_back(vm);
  std::sort(order.begin(), order.end(), [&](VmId a, VmId b) {
    const uint64_t turn_a = tenant.vms.at(a), turn_b = tenant.vms.at(b);
    return turn_a != turn_b ? turn_a < turn_b : a < b;
  });
  return order;
}

void Tenants::on_served(VmId vm, Tenant& tenant) {
  tenant.turn = ++turns_;
  tenant.vms[vm] = turns_;
}

}  // namespace forerun::prefetch
