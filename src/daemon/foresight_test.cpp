#include "daemon/foresight.h"

#include <gtest/gtest.h>

#include "repository/memory_store.h"

namespace forerun::daemon {
namespace {

struct Seen {
  std::mutex mutex;
  std::condition_variable changed;
  size_t starts = 0;
  size_t priors = 0;
  std::vector<uint64_t> blocks;
  std::vector<std::vector<float>> told;  // of behaviours; an entry a model, in the order of making
};

class Witness final : public predict::Model {
 public:
  explicit Witness(Seen& seen) : seen_(seen), number_(seen.told.size()) {
    seen_.told.emplace_back();
  }
  std::string_view name() const override { return "witness"; }
  void on_start(Time, std::vector<predict::Candidate>&) override {
    const std::lock_guard lock(seen_.mutex);
    ++seen_.starts;
  }
  void on_access(const trace::Access& access, std::vector<predict::Candidate>&) override {
    const std::lock_guard lock(seen_.mutex);
    seen_.blocks.push_back(access.first_block);
    seen_.changed.notify_all();
  }
  void on_behaviour(std::span<const float> inputs, size_t) override {
    seen_.told[number_].assign(inputs.begin(), inputs.end());
  }
  void on_end(Time) override {}
  size_t state_bytes() const override { return 0; }

 private:
  Seen& seen_;
  const size_t number_;
};

class ForesightTest : public testing::Test {
 protected:
  ForesightTest()
      : tier_(*tier::Tier::open({.memory_bytes_max = kMiB, .file_bytes_max = 0, .shards = 1},
                                nullptr, nullptr)),
        foresight_(
            Foresight::Options{}, clock_, [](ComponentId, uint64_t) { return chunk(); },
            [](const ChunkId&) { return true; },
            [this](const std::vector<ComponentId>&, const predict::Priors& priors, bool) {
              seen_.priors = priors.size();
              std::vector<std::unique_ptr<predict::Model>> models;
              models.push_back(std::make_unique<Witness>(seen_));
              return models;
            },
            [](ComponentId) {}),
        fetches_(FetchService::Options{}, clock_, *tier_, {&store_},
                 [](const prefetch::FetchEnd&) {}) {
    foresight_.also_tell([this](const trace::Access&) {
      const std::lock_guard lock(seen_.mutex);
      ++looked_at_;
      seen_.changed.notify_all();
    });
    foresight_.start(fetches_);
  }
  ~ForesightTest() override { foresight_.stop(); }

  static repository::ChunkRef chunk() { return {}; }

  // Shows reads of `count` blocks from `first` on, and returns when the loop has looked at all.
  void read(uint64_t first, size_t count) {
    for (uint64_t block = first; block < first + count; ++block) {
      const size_t before = looked_at();
      foresight_.observe({.vm = kVm, .first_block = block, .block_count = 1});
      std::unique_lock lock(seen_.mutex);
      seen_.changed.wait(lock, [&] { return looked_at_ > before; });
    }
  }
  size_t looked_at() {
    const std::lock_guard lock(seen_.mutex);
    return looked_at_;
  }

  static constexpr VmId kVm{1};
  ManualClock clock_;
  Seen seen_;
  size_t looked_at_ = 0;  // guarded by seen_.mutex
  repository::MemoryStore store_;
  std::unique_ptr<tier::Tier> tier_;
  Foresight foresight_;
  FetchService fetches_;
};

TEST_F(ForesightTest, WhatIsReadBeforeThePriorsComeIsShownToTheModelsAfterwards) {
  foresight_.start_vm_without_priors(kVm, {ComponentId{0}}, Foresight::Mode::kOn);
  read(10, 3);
  EXPECT_EQ(seen_.starts, 0u);
  EXPECT_TRUE(seen_.blocks.empty());
  foresight_.give_priors(kVm, {{ComponentId{0}, std::make_shared<predict::BlockSequence>()}});
  EXPECT_EQ(seen_.starts, 1u);
  EXPECT_EQ(seen_.priors, 1u);
  EXPECT_EQ(seen_.blocks, (std::vector<uint64_t>{10, 11, 12}));
  read(13, 1);
  EXPECT_EQ(seen_.blocks.back(), 13u);
  foresight_.give_priors(kVm, {});  // they are there already
  EXPECT_EQ(seen_.starts, 1u);
}

TEST_F(ForesightTest, TellsABehaviourToTheModelsOfItsVmOnly) {
  foresight_.start_vm(VmId{1}, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
  foresight_.start_vm(VmId{2}, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
  const std::vector<float> inputs{0.5f, 1};
  foresight_.tell_behaviour(VmId{2}, inputs, 1);
  foresight_.tell_behaviour(VmId{3}, inputs, 1);  // of no session
  EXPECT_TRUE(seen_.told.at(0).empty());
  EXPECT_EQ(seen_.told.at(1), inputs);
  foresight_.end_vm(VmId{2});
  foresight_.tell_behaviour(VmId{2}, {}, 1);
  EXPECT_EQ(seen_.told.at(1), inputs);
}

TEST_F(ForesightTest, SessionsOfLongAgoAreForgotten) {
  for (uint32_t number = 1; number <= 300; ++number) {
    foresight_.start_vm(VmId{number}, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
    if (number > 1) foresight_.end_vm(VmId{number});
  }
  EXPECT_FALSE(foresight_.read(VmId{1}).models.empty());  // it runs
  EXPECT_TRUE(foresight_.read(VmId{2}).models.empty());
  EXPECT_FALSE(foresight_.read(VmId{300}).models.empty());
}

TEST_F(ForesightTest, AVmThatEndsBeforeItsPriorsComeTeachesNothing) {
  foresight_.start_vm_without_priors(kVm, {ComponentId{0}}, Foresight::Mode::kOn);
  read(10, 1);
  foresight_.end_vm(kVm);
  foresight_.give_priors(kVm, {});
  EXPECT_EQ(seen_.starts, 0u);
  EXPECT_TRUE(foresight_.read(kVm).models.empty());
}

}  // namespace
}  // namespace forerun::daemon
