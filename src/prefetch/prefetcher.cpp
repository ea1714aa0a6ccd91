#include "prefetch/prefetcher.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "predict/price.h"
#include "prefetch/tenants.h"

namespace forerun::prefetch {

using score::Outcome;

namespace {

constexpr size_t kEndedVmsMax = 256;  // whose figures are kept

// What is worth most for its bytes first; within a band what is due first goes first. By
// probability alone a small chunk would wait behind all large ones that are a little likelier.
uint8_t band_of(float worth) { return worth >= 0.5f ? 0 : worth >= 0.2f ? 1 : 2; }

struct BlockKey {
  ComponentId component;
  uint64_t block = 0;
  auto operator<=>(const BlockKey&) const = default;
};

struct CandidateOrder {
  uint8_t band = 0;
  Time due{};
  uint64_t sequence = 0;
  BlockKey key;
  auto operator<=>(const CandidateOrder&) const = default;
};

struct Candidate {
  CandidateOrder order;
  float probability = 0;
  uint8_t model = 0;
  Time offered_at{};
  bool is_told = false;  // the tier has it, and knows that it is needed
};

struct Issued {
  repository::ChunkRef chunk;
  VmId vm{};
  TenantPtr tenant;  // settles with it even if the VM is long forgotten
  BlockKey key;
  uint8_t model = 0;
  float probability = 0;
  Time at{};
  bool is_under_way = true;
  bool was_charged = false;  // to the budget, as wasted: it stayed unused beyond the patience
};

struct Vm {
  Vm(const score::Budget::Options& budget_options, TenantPtr its_tenant,
     std::vector<std::string> models)
      : budget(budget_options), tenant(std::move(its_tenant)), ledger({}, std::move(models)) {}

  score::Budget budget;
  TenantPtr tenant;
  score::Ledger ledger;
  std::map<BlockKey, Candidate> candidates;
  std::set<CandidateOrder> order;
  PrefetchStats stats;
  bool has_ended = false;
  uint64_t ended_sequence = 0;

  void drop(std::map<BlockKey, Candidate>::iterator candidate) {
    order.erase(candidate->second.order);
    candidates.erase(candidate);
  }
};

void settle(score::Budget& budget, Outcome outcome, uint64_t bytes) {
  if (outcome == Outcome::kWasted) budget.on_wasted(bytes);
  if (outcome == Outcome::kCancelled) budget.on_cancelled(bytes);
  if (outcome == Outcome::kHit || outcome == Outcome::kLate) budget.on_used(bytes);
}

Tenants::Options tenant_options(const PrefetcherOptions& options) {
  Tenants::Options tenants{.budget = options.budget};
  tenants.budget.initial_bytes *= options.tenant_budget_vms;
  tenants.budget.max_bytes *= options.tenant_budget_vms;
  tenants.budget.memory_bytes *= options.tenant_budget_vms;
  return tenants;
}

}  // namespace

struct Prefetcher::Impl {
  Impl(PrefetcherOptions with, Resolve how, IsHere where)
      : options(with),
        resolve(std::move(how)),
        is_here(std::move(where)),
        bucket(with.stagger),
        tenants(tenant_options(with)) {}

  PrefetcherOptions options;
  Resolve resolve;
  IsHere is_here;
  Need need;
  iosched::TokenBucket bucket;
  Tenants tenants;
  std::map<VmId, Vm> vms;
  std::unordered_map<ChunkId, Issued> issued;
  std::multimap<Time, ChunkId> patience_ends;
  std::vector<PrefetchCommand> cancels;
  uint32_t under_way = 0;
  uint64_t sequence = 0;

  // Returns whether the chunk at `key` is here, and tells that it is needed.
  bool tell(const BlockKey& key, float probability, Time due, Time now) {
    if (!need) return false;
    const repository::ChunkRef chunk = resolve(key.component, key.block);
    return !chunk.is_zero() && need(chunk.id, probability, std::max(due, now) + options.patience);
  }

  // Ends the account of one prefetched chunk.
  void decide(const ChunkId& id, Outcome outcome, Nanos waited, Time now) {
    const auto found = issued.find(id);
    const Issued record = found->second;
    issued.erase(found);
    if (record.is_under_way) --under_way;
    if (!record.was_charged && record.tenant->budget)
      settle(*record.tenant->budget, outcome, record.chunk.stored_size);
    const auto owner = vms.find(record.vm);
    if (owner == vms.end()) return;
    Vm& vm = owner->second;
    const uint64_t bytes = record.chunk.stored_size;
    switch (outcome) {
      case Outcome::kHit:
        ++vm.stats.hit;
        vm.stats.hit_bytes += bytes;
        break;
      case Outcome::kLate:
        ++vm.stats.late;
        vm.stats.late_bytes += bytes;
        break;
      case Outcome::kWasted:
        ++vm.stats.wasted;
        vm.stats.wasted_bytes += bytes;
        break;
      case Outcome::kCancelled:
        ++vm.stats.cancelled;
        --vm.stats.issued;
        vm.stats.issued_bytes -= bytes;
        break;
    }
    --vm.stats.undecided;
    if (!record.was_charged) settle(vm.budget, outcome, bytes);
    score::Record line;
    line.issued_at = record.at;
    line.decided_at = now;
    line.component = record.key.component;
    line.block = record.key.block;
    line.bytes = static_cast<uint32_t>(bytes);
    line.probability = record.probability;
    line.model = record.model;
    line.outcome = outcome;
    vm.ledger.on_outcome(line, waited);
  }

  // Returns whether the candidate was handed over.
  bool issue(VmId id, Vm& vm, const CandidateOrder& order, const repository::ChunkRef& chunk,
             Time now, std::vector<PrefetchCommand>& out) {
    const Candidate& candidate = vm.candidates.at(order.key);
    if (chunk.stored_size > vm.tenant->available_bytes()) return false;
    if (!vm.budget.take(chunk.stored_size)) return false;
    if (vm.tenant->budget) vm.tenant->budget->take(chunk.stored_size);
    Issued record{chunk, id,   vm.tenant, order.key, candidate.model, candidate.probability,
                  now,   true, false};
    issued.emplace(chunk.id, record);
    patience_ends.emplace(std::max(order.due, now) + options.patience, chunk.id);
    ++under_way;
    ++vm.stats.issued;
    ++vm.stats.undecided;
    vm.stats.issued_bytes += chunk.stored_size;
    vm.ledger.on_issued(candidate.model, chunk.stored_size);
    out.push_back({PrefetchCommand::Kind::kWant, chunk, id, order.due});
    vm.drop(vm.candidates.find(order.key));
    return true;
  }

  // Hands over this VM's best candidate. Returns false if it has none that may go now.
  bool serve(VmId id, Vm& vm, Time now, std::vector<PrefetchCommand>& out) {
    while (!vm.order.empty()) {
      const CandidateOrder best = *vm.order.begin();
      const repository::ChunkRef chunk = resolve(best.key.component, best.key.block);
      // A guest slower than foreseen wants it late, not never: patience begins with the last word.
      const Time wanted = std::max(best.due, vm.candidates.at(best.key).offered_at);
      const bool is_stale = now - wanted > options.patience;
      if (chunk.is_zero() || is_stale || issued.contains(chunk.id) || is_here(chunk.id)) {
        const Candidate& candidate = vm.candidates.at(best.key);
        if (!is_stale && !candidate.is_told) tell(best.key, candidate.probability, best.due, now);
        vm.drop(vm.candidates.find(best.key));
        continue;
      }
      if (available_bytes(vm) < chunk.stored_size) return false;
      if (!bucket.take(chunk.stored_size, now)) return false;
      return issue(id, vm, best, chunk, now, out);
    }
    return false;
  }

  static uint64_t available_bytes(const Vm& vm) {
    return std::min(vm.budget.available_bytes(), vm.tenant->available_bytes());
  }

  // Hands over one chunk of the tenant's VM that was served longest ago and has one. Returns false
  // if none has.
  bool serve(Tenant& tenant, Time now, std::vector<PrefetchCommand>& out) {
    for (const VmId id : Tenants::by_turn(tenant)) {
      if (!serve(id, vms.at(id), now, out)) continue;
      tenants.on_served(id, tenant);
      return true;
    }
    return false;
  }

  void charge_the_overdue(Time now) {
    while (!patience_ends.empty() && patience_ends.begin()->first <= now) {
      const ChunkId id = patience_ends.begin()->second;
      patience_ends.erase(patience_ends.begin());
      const auto found = issued.find(id);
      if (found == issued.end() || found->second.was_charged || found->second.is_under_way)
        continue;
      if (now - found->second.at < options.patience)
        continue;  // an earlier prefetch of the same chunk set this alarm
      found->second.was_charged = true;
      if (found->second.tenant->budget)
        found->second.tenant->budget->on_wasted(found->second.chunk.stored_size);
      if (const auto vm = vms.find(found->second.vm); vm != vms.end())
        vm->second.budget.on_wasted(found->second.chunk.stored_size);
    }
  }

  void forget_old_vms() {
    const auto has_ended = [](const auto& entry) { return entry.second.has_ended; };
    while (static_cast<size_t>(std::count_if(vms.begin(), vms.end(), has_ended)) > kEndedVmsMax) {
      auto oldest = vms.end();
      for (auto entry = vms.begin(); entry != vms.end(); ++entry)
        if (entry->second.has_ended &&
            (oldest == vms.end() || entry->second.ended_sequence < oldest->second.ended_sequence))
          oldest = entry;
      vms.erase(oldest);
    }
  }
};

Prefetcher::Prefetcher(PrefetcherOptions options, Resolve resolve, IsHere is_here)
    : impl_(std::make_unique<Impl>(options, std::move(resolve), std::move(is_here))) {}
Prefetcher::~Prefetcher() = default;

void Prefetcher::on_need(Need need) { impl_->need = std::move(need); }

void Prefetcher::start_vm(VmId vm, std::vector<std::string> models, Time,
                          const std::string& tenant) {
  if (const auto known = impl_->vms.find(vm); known != impl_->vms.end()) {
    impl_->tenants.remove(vm, *known->second.tenant);
    impl_->vms.erase(known);
  }
  impl_->vms.emplace(vm,
                     Vm(impl_->options.budget, impl_->tenants.add(vm, tenant), std::move(models)));
}

uint8_t Prefetcher::add_models(VmId vm, std::vector<std::string> models) {
  const auto found = impl_->vms.find(vm);
  return found == impl_->vms.end() ? 0 : found->second.ledger.add_models(std::move(models));
}

void Prefetcher::end_vm(VmId id, Time now) {
  const auto found = impl_->vms.find(id);
  if (found == impl_->vms.end() || found->second.has_ended) return;
  Vm& vm = found->second;
  vm.candidates.clear();
  vm.order.clear();
  vm.has_ended = true;
  impl_->tenants.remove(id, *vm.tenant);
  vm.ended_sequence = ++impl_->sequence;
  std::vector<ChunkId> unused;
  for (const auto& [chunk, record] : impl_->issued) {
    if (record.vm != id) continue;
    if (record.is_under_way)
      impl_->cancels.push_back({PrefetchCommand::Kind::kCancel, record.chunk, id, {}});
    else
      unused.push_back(chunk);
  }
  std::sort(unused.begin(), unused.end());
  for (const ChunkId& chunk : unused) impl_->decide(chunk, Outcome::kWasted, 0ns, now);
  std::sort(impl_->cancels.begin(), impl_->cancels.end(),
            [](const auto& a, const auto& b) { return a.chunk.id < b.chunk.id; });
  impl_->forget_old_vms();
}

void Prefetcher::offer(VmId id, std::span<const predict::Proposal> proposals, Time now) {
  const auto found = impl_->vms.find(id);
  if (found == impl_->vms.end() || found->second.has_ended) return;
  Vm& vm = found->second;
  for (const predict::Proposal& proposal : proposals) {
    for (uint32_t i = 0; i < proposal.block_count; ++i) {
      const BlockKey key{proposal.component, proposal.first_block + i};
      const uint32_t bytes = impl_->resolve(key.component, key.block).stored_size;
      CandidateOrder order{band_of(predict::worth_of(proposal.probability, bytes)), proposal.due,
                           impl_->sequence++, key};
      const auto known = vm.candidates.find(key);
      bool is_told = false;
      if (known != vm.candidates.end()) {
        // The newest word counts: a boot that diverges makes what follows less likely.
        if (known->second.order.band == order.band && known->second.order.due <= order.due)
          continue;
        order.due = std::min(order.due, known->second.order.due);
        is_told = known->second.is_told;
        vm.drop(known);
      }
      if (!is_told) is_told = impl_->tell(key, proposal.probability, order.due, now);
      vm.candidates[key] = {order, proposal.probability, proposal.model, now, is_told};
      vm.order.insert(order);
      if (vm.candidates.size() > impl_->options.candidates_max)
        vm.drop(vm.candidates.find(std::prev(vm.order.end())->key));
    }
  }
}

void Prefetcher::on_access(const trace::Access& access, Time now) {
  if (access.op != trace::Op::kRead) return;
  const auto reader = impl_->vms.find(access.vm);
  for (uint32_t i = 0; i < access.block_count; ++i) {
    const BlockKey key{access.component, access.first_block + i};
    if (reader != impl_->vms.end()) {
      if (const auto candidate = reader->second.candidates.find(key);
          candidate != reader->second.candidates.end())
        reader->second.drop(candidate);
    }
    if (impl_->issued.empty()) continue;
    const repository::ChunkRef chunk = impl_->resolve(key.component, key.block);
    if (chunk.is_zero() || !impl_->issued.contains(chunk.id)) continue;
    // A read that waited may have found some of its chunks here.
    const bool waited = access.served_from == trace::ServedFrom::kRepository &&
                        impl_->issued.at(chunk.id).is_under_way;
    impl_->decide(chunk.id, waited ? Outcome::kLate : Outcome::kHit,
                  std::chrono::microseconds(access.waited_us), now);
  }
}

void Prefetcher::on_fetched(const ChunkId& id, bool is_here, Time now) {
  const auto found = impl_->issued.find(id);
  if (found == impl_->issued.end() || !found->second.is_under_way) return;
  const auto owner = impl_->vms.find(found->second.vm);
  if (!is_here) {
    if (owner != impl_->vms.end()) ++owner->second.stats.failed;
    impl_->decide(id, Outcome::kCancelled, 0ns, now);
    return;
  }
  found->second.is_under_way = false;
  --impl_->under_way;
  impl_->tell(found->second.key, found->second.probability, now, now);
  if (owner == impl_->vms.end() || owner->second.has_ended)
    impl_->decide(id, Outcome::kWasted, 0ns, now);
}

void Prefetcher::on_cancelled(const ChunkId& id, Time now) {
  if (impl_->issued.contains(id)) impl_->decide(id, Outcome::kCancelled, 0ns, now);
}

void Prefetcher::on_evicted_unused(const ChunkId& id, Time now) {
  const auto found = impl_->issued.find(id);
  if (found != impl_->issued.end() && !found->second.is_under_way)
    impl_->decide(id, Outcome::kWasted, 0ns, now);
}

void Prefetcher::set_link_rate(double rate_bytes_per_s, Time now) {
  const double configured = impl_->options.stagger.rate_bytes_per_s;
  double rate = rate_bytes_per_s * impl_->options.stagger_ratio;
  if (configured > 0) rate = rate > 0 ? std::min(rate, configured) : configured;
  if (rate > 0) impl_->bucket.set_rate(rate, now);
}

void Prefetcher::pull(Time now, std::vector<PrefetchCommand>& out) {
  out.insert(out.end(), impl_->cancels.begin(), impl_->cancels.end());
  impl_->cancels.clear();
  impl_->charge_the_overdue(now);
  for (auto& [id, vm] : impl_->vms) vm.budget.tick(now);
  impl_->tenants.tick(now);
  // One chunk a tenant and turn, beginning with who was served longest ago.
  for (bool served = true; served && impl_->under_way < impl_->options.handed_over_max;) {
    served = false;
    for (Tenant* const tenant : impl_->tenants.by_turn()) {
      if (impl_->under_way >= impl_->options.handed_over_max) break;
      served |= impl_->serve(*tenant, now, out);
    }
  }
}

PrefetchStats Prefetcher::stats(VmId id) const {
  const auto found = impl_->vms.find(id);
  if (found == impl_->vms.end()) return {};
  PrefetchStats stats = found->second.stats;
  stats.waiting = found->second.candidates.size();
  stats.budget_bytes = Impl::available_bytes(found->second);
  stats.earned_bytes = found->second.budget.allowance_bytes();
  stats.usefulness = found->second.budget.usefulness();
  return stats;
}

const score::Ledger* Prefetcher::ledger(VmId id) const {
  const auto found = impl_->vms.find(id);
  return found == impl_->vms.end() ? nullptr : &found->second.ledger;
}

}  // namespace forerun::prefetch
