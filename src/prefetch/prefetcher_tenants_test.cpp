// Many VMs of several tenants: nobody's budget is exceeded, and turns are fair.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/rng.h"
#include "prefetch/prefetcher.h"

namespace forerun::prefetch {
namespace {

constexpr uint32_t kStored = 20000;

repository::ChunkRef chunk_at(uint64_t block) {
  repository::ChunkRef ref;
  std::memcpy(ref.id.bytes.data(), &block, sizeof block);
  ref.size = 65536;
  ref.stored_size = kStored;
  return ref;
}

class PrefetcherTenantsTest : public testing::Test {
 protected:
  void start(PrefetcherOptions options) {
    prefetcher_ = std::make_unique<Prefetcher>(
        options, [](ComponentId, uint64_t block) { return chunk_at(block); },
        [](const ChunkId&) { return false; });
  }
  void start_vm(uint32_t vm, const std::string& tenant) {
    prefetcher_->start_vm(VmId{vm}, {"replay"}, now_, tenant);
    tenants_[vm] = tenant;
  }
  // Each VM's blocks are its own.
  void offer(uint32_t vm, uint64_t first, uint32_t count) {
    const predict::Proposal proposal{ComponentId{1}, vm * 1'000'000 + first, count, 0.9f, 0, now_};
    prefetcher_->offer(VmId{vm}, {&proposal, 1}, now_);
  }
  // Returns the blocks handed over, by VM.
  std::map<uint32_t, std::vector<uint64_t>> pull() {
    std::vector<PrefetchCommand> commands;
    prefetcher_->pull(now_, commands);
    std::map<uint32_t, std::vector<uint64_t>> wanted;
    for (const auto& command : commands) {
      uint64_t block = 0;
      std::memcpy(&block, command.chunk.id.bytes.data(), sizeof block);
      if (command.kind == PrefetchCommand::Kind::kWant)
        wanted[command.vm.value].push_back(block);
      else
        prefetcher_->on_cancelled(command.chunk.id, now_);
    }
    return wanted;
  }
  static PrefetcherOptions options(uint64_t chunks, uint32_t tenant_vms) {
    PrefetcherOptions options;
    options.handed_over_max = 10'000;
    options.budget.initial_bytes = options.budget.max_bytes = chunks * kStored;
    options.budget.probe_bytes = kStored;
    options.tenant_budget_vms = tenant_vms;
    return options;
  }

  Time now_ = kTimeZero + 1s;
  std::map<uint32_t, std::string> tenants_;
  std::unique_ptr<Prefetcher> prefetcher_;
};

TEST_F(PrefetcherTenantsTest, ManyVmsOfOneTenantDoNotMultiplyItsBudget) {
  start(options(10, 2));
  for (uint32_t vm = 1; vm <= 8; ++vm) {
    start_vm(vm, "a");
    offer(vm, 0, 100);
  }
  start_vm(9, "");
  offer(9, 0, 100);
  size_t of_a = 0;
  const auto wanted = pull();
  for (const auto& [vm, blocks] : wanted) of_a += vm <= 8 ? blocks.size() : 0;
  EXPECT_EQ(of_a, 20u);
  EXPECT_EQ(wanted.at(9).size(), 10u);
}

TEST_F(PrefetcherTenantsTest, WhatATenantWastedOutlivesItsVms) {
  start(options(10, 1));
  for (uint32_t vm = 1; vm <= 4; ++vm) {
    start_vm(vm, "a");
    offer(vm, 0, 100);
    for (const auto& [of, blocks] : pull())
      for (const uint64_t block : blocks) prefetcher_->on_fetched(chunk_at(block).id, true, now_);
    prefetcher_->end_vm(VmId{vm}, now_);  // all of it unused
  }
  start_vm(5, "a");
  offer(5, 0, 100);
  EXPECT_LE(pull()[5].size(), 1u);
  start_vm(6, "b");
  offer(6, 0, 100);
  EXPECT_EQ(pull().at(6).size(), 10u);
}

TEST_F(PrefetcherTenantsTest, TenantsTakeTurnsThenTheirVms) {
  PrefetcherOptions few = options(1000, 100);
  few.handed_over_max = 12;
  start(few);
  for (uint32_t vm = 1; vm <= 3; ++vm) start_vm(vm, "many");
  start_vm(4, "one");
  for (uint32_t vm = 1; vm <= 4; ++vm) offer(vm, 0, 500);
  const auto wanted = pull();
  EXPECT_EQ(wanted.at(4).size(), 6u);
  for (uint32_t vm = 1; vm <= 3; ++vm) EXPECT_EQ(wanted.at(vm).size(), 2u);
}

TEST_F(PrefetcherTenantsTest, TurnsStayFairWhenSlotsComeOneByOne) {
  PrefetcherOptions few = options(1000, 100);
  few.handed_over_max = 1;
  start(few);
  start_vm(1, "");
  start_vm(2, "");
  offer(1, 0, 500);
  offer(2, 0, 500);
  std::map<uint32_t, size_t> counts;
  for (int i = 0; i < 100; ++i)
    for (const auto& [vm, blocks] : pull()) {
      counts[vm] += blocks.size();
      for (const uint64_t block : blocks) prefetcher_->on_fetched(chunk_at(block).id, true, now_);
    }
  EXPECT_EQ(counts[1], 50u);
  EXPECT_EQ(counts[2], 50u);
}

// Whatever VMs do and whatever becomes of what was fetched for them.
TEST_F(PrefetcherTenantsTest, BudgetsAreNeverExceeded) {
  constexpr uint64_t kVmChunks = 8, kTenantVms = 2;
  Rng rng(17);
  start(options(kVmChunks, kTenantVms));
  std::map<uint64_t, uint32_t> open;  // undecided blocks, and whose
  const auto close = [&](uint64_t block) { open.erase(block); };
  for (uint32_t vm = 1; vm <= 9; ++vm) start_vm(vm, vm <= 6 ? (vm % 2 ? "a" : "b") : "");
  for (int i = 0; i < 20'000; ++i, now_ += 20ms) {
    const auto vm = static_cast<uint32_t>(rng.between(1, 9));
    const uint64_t block =
        open.empty()
            ? 0
            : std::next(open.begin(), static_cast<ptrdiff_t>(rng.below(open.size())))->first;
    switch (rng.below(7)) {
      case 0:
      case 1:
        offer(vm, rng.below(100'000), static_cast<uint32_t>(rng.between(1, 64)));
        break;
      case 2:
        for (const auto& [of, blocks] : pull())
          for (const uint64_t each : blocks) ASSERT_TRUE(open.emplace(each, of).second);
        break;
      case 3:
        prefetcher_->on_fetched(chunk_at(block).id, true, now_);
        break;
      case 4:
        prefetcher_->on_cancelled(chunk_at(block).id, now_);
        close(block);
        break;
      case 5:
        prefetcher_->on_access({now_, VmId{vm}, ComponentId{1}, block, 1, trace::Op::kRead,
                                trace::ServedFrom::kMemory, 0},
                               now_);
        close(block);
        break;
      case 6:
        if (rng.chance(0.05)) {
          prefetcher_->end_vm(VmId{vm}, now_);
          for (const auto& [of, blocks] : pull())
            for (const uint64_t each : blocks) open.emplace(each, of);
          std::erase_if(open, [&](const auto& each) { return each.second == vm; });
          start_vm(vm, tenants_[vm]);
        }
        break;
    }
    std::map<std::string, uint64_t> of_tenant;
    for (const auto& [each, tenant] : tenants_) {
      const auto undecided = static_cast<uint64_t>(
          std::ranges::count_if(open, [&](const auto& entry) { return entry.second == each; }));
      ASSERT_LE(undecided, kVmChunks);
      of_tenant[tenant] += tenant.empty() ? 0 : undecided;
    }
    for (const auto& [tenant, undecided] : of_tenant)
      ASSERT_LE(undecided, kVmChunks * kTenantVms) << tenant;
  }
}

}  // namespace
}  // namespace forerun::prefetch
