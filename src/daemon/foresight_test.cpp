#include "daemon/foresight.h"

#include <gtest/gtest.h>

#include "repository/memory_store.h"

namespace forerun::daemon {
namespace {

struct Seen {
  std::mutex mutex;
  std::condition_variable changed;
  size_t starts = 0;
  size_t ends = 0;
  size_t writes = 0;
  size_t priors = 0;
  uint32_t foresees = 0;  // blocks from 0 on
  std::vector<uint64_t> blocks;
  std::vector<std::vector<float>> told;  // of behaviours; an entry a model, in the order of making
};

// Says at the start what it was told to, and covers that.
class Witness final : public predict::Model {
 public:
  explicit Witness(Seen& seen) : seen_(seen), number_(seen.told.size()) {
    seen_.told.emplace_back();
  }
  std::string_view name() const override { return "witness"; }
  void on_start(Time, std::vector<predict::Candidate>& out) override {
    const std::lock_guard lock(seen_.mutex);
    ++seen_.starts;
    if (seen_.foresees > 0)
      out.push_back({.first_block = 0, .block_count = seen_.foresees, .confidence = 0.9f});
  }
  void on_access(const trace::Access& access, std::vector<predict::Candidate>&) override {
    const std::lock_guard lock(seen_.mutex);
    if (access.op == trace::Op::kWrite) ++seen_.writes;
    seen_.blocks.push_back(access.first_block);
    seen_.changed.notify_all();
  }
  void on_behaviour(std::span<const float> inputs, size_t) override {
    seen_.told[number_].assign(inputs.begin(), inputs.end());
  }
  void on_end(Time) override {
    const std::lock_guard lock(seen_.mutex);
    ++seen_.ends;
  }
  float coverage(ComponentId) const override { return seen_.foresees > 0 ? 0.9f : 0.0f; }
  size_t state_bytes() const override { return 0; }

 private:
  Seen& seen_;
  const size_t number_;
};

// Two threads look at it.
class TestClock final : public Clock {
 public:
  Time now() const override { return kTimeZero + Nanos{nanos_.load()}; }
  void advance(Nanos span) { nanos_ += span.count(); }

 private:
  std::atomic<Nanos::rep> nanos_{0};
};

class ForesightTest : public testing::Test {
 protected:
  ForesightTest()
      : tier_(*tier::Tier::open({.memory_bytes_max = kMiB, .file_bytes_max = 0, .shards = 1},
                                nullptr, nullptr)),
        foresight_(
            options(), clock_, [](ComponentId, uint64_t) { return chunk(); },
            [](const ChunkId&) { return true; }, models(), [](ComponentId, const std::string&) {}),
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

  SessionModels models() {
    SessionModels models;
    models.for_boot = [this](const std::vector<ComponentId>&, const predict::Priors& priors, bool,
                             const std::string&) {
      seen_.priors = priors.size();
      SessionModels::Models boot;
      boot.push_back(std::make_unique<Witness>(seen_));
      return boot;
    };
    models.for_work = [this](VmId, const std::vector<ComponentId>&, const std::string&) {
      SessionModels::Models work;
      work.push_back(std::make_unique<Witness>(at_work_));
      return work;
    };
    models.on_work_end = [this](VmId, std::unique_ptr<predict::Arbiter> arbiter) {
      ended_ += arbiter->models().size();
    };
    return models;
  }

  // Shows reads of `count` blocks from `first` on, and returns when the loop has looked at all.
  void read(uint64_t first, size_t count, trace::Op op = trace::Op::kRead) {
    for (uint64_t block = first; block < first + count; ++block) {
      const size_t before = looked_at();
      foresight_.observe({.vm = kVm, .first_block = block, .block_count = 1, .op = op});
      std::unique_lock lock(seen_.mutex);
      seen_.changed.wait(lock, [&] { return looked_at_ > before; });
    }
  }
  size_t looked_at() {
    const std::lock_guard lock(seen_.mutex);
    return looked_at_;
  }

  static Foresight::Options options() {
    Foresight::Options options;
    options.boot_end = {.foreseen_min = 4, .reads = 8, .span = 15s};
    return options;
  }

  static constexpr VmId kVm{1};
  TestClock clock_;
  Seen seen_;
  Seen at_work_;
  size_t ended_ = 0;      // models at work
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

TEST_F(ForesightTest, AVmFoundRunningIsAtWorkAtOnce) {
  foresight_.start_vm(kVm, {ComponentId{0}}, {}, Foresight::Mode::kOn, false);
  read(10, 2);
  read(50, 1, trace::Op::kWrite);
  EXPECT_EQ(at_work_.blocks, (std::vector<uint64_t>{10, 11, 50}));
  EXPECT_EQ(at_work_.starts, 0u);
  EXPECT_TRUE(seen_.blocks.empty());
  const auto reading = foresight_.read(kVm);
  EXPECT_EQ(reading.phase, Foresight::Phase::kWork);
  ASSERT_EQ(reading.models.size(), 2u);  // and their sum
  EXPECT_EQ(reading.models[0].tally->model, "witness");
  EXPECT_FALSE(reading.models[1].tally);
  foresight_.tell_behaviour(kVm, std::vector<float>{0.5f}, 1);
  EXPECT_EQ(at_work_.told.at(0), (std::vector<float>{0.5f}));
  foresight_.end_vm(kVm);
  EXPECT_EQ(at_work_.ends, 1u);
  EXPECT_EQ(ended_, 1u);
  EXPECT_EQ(foresight_.read(kVm).models.size(), 2u);
}

TEST_F(ForesightTest, ABootThatReadNothingMoreOfWhatWasForeseenIsOver) {
  seen_.foresees = 8;
  foresight_.start_vm(kVm, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
  read(0, 6);
  read(20, 8);  // many others, but soon
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kBoot);
  EXPECT_EQ(seen_.writes, 0u);
  clock_.advance(16s);
  read(6, 1);  // it is not over yet
  read(30, 8);
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kBoot);
  clock_.advance(16s);
  read(40, 2);  // by the second the loop has seen what time it is
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kWork);
  read(42, 2);
  EXPECT_EQ(at_work_.blocks.back(), 43u);
  EXPECT_EQ(seen_.blocks.back(), 43u);  // it still learns how this boot went
  EXPECT_EQ(seen_.ends, 0u);
  EXPECT_EQ(foresight_.read(kVm).models.size(), 4u);
}

TEST_F(ForesightTest, ABootThatStillReadsWhatWasForeseenGoesOnBehindTheWindow) {
  seen_.foresees = 8;
  foresight_.start_vm(kVm, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
  read(0, 5);
  clock_.advance(110s);
  read(5, 1);
  clock_.advance(20s);
  read(6, 2);  // by the second the loop has seen what time it is
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kBoot);
  EXPECT_EQ(seen_.ends, 0u);
  clock_.advance(31s);
  read(20, 2);
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kWork);
  EXPECT_EQ(seen_.ends, 1u);
}

TEST_F(ForesightTest, NoBootGoesOnForEver) {
  seen_.foresees = 64;
  foresight_.start_vm(kVm, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
  for (uint64_t block = 0; block < 24; ++block) {
    read(block, 1);
    clock_.advance(25s);
  }
  read(30, 2);
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kWork);
  EXPECT_EQ(seen_.ends, 1u);
}

TEST_F(ForesightTest, WhatNobodyForesawIsABootUntilTheWindowCloses) {
  foresight_.start_vm(kVm, {ComponentId{0}}, {}, Foresight::Mode::kOn, true);
  read(0, 20);
  clock_.advance(119s);
  read(20, 20);
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kBoot);
  read(40, 1, trace::Op::kWrite);
  EXPECT_EQ(seen_.writes, 0u);  // of no meaning for a boot
  clock_.advance(2s);
  read(41, 2);  // by the second the loop has seen what time it is
  EXPECT_EQ(foresight_.read(kVm).phase, Foresight::Phase::kWork);
  EXPECT_EQ(seen_.ends, 1u);
  read(60, 1);
  EXPECT_EQ(at_work_.blocks.back(), 60u);
  EXPECT_NE(seen_.blocks.back(), 60u);  // its history is written
  EXPECT_EQ(foresight_.read(kVm).models.size(), 4u);
}

}  // namespace
}  // namespace forerun::daemon
