#include "predict/component_history.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::predict {
namespace {

using Names = std::vector<ComponentName>;

// The companions of a base.
constexpr ComponentName kKernel = 1, kWeb = 10, kCache = 11, kData = 12, kOther = 13;

std::vector<FirstTouch> boot_of(const std::vector<uint64_t>& blocks) {
  std::vector<FirstTouch> boot;
  for (const uint64_t block : blocks)
    boot.push_back({block, static_cast<float>(boot.size()) * 0.1f});
  return boot;
}

void teach(ComponentHistory& history, const Names& companions,
           const std::vector<uint64_t>& blocks) {
  merge_boot(history, companions, boot_of(blocks), 100, {});
}

float probability(const ComponentHistory& history, const Names& companions, uint64_t block) {
  const auto sequence = foresee(history, companions);
  const auto index = sequence->find(block);
  return index ? sequence->entries[*index].support : 0;
}

TEST(ComponentHistory, OneBootSpeaksForOthersToo) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb}, {5});
  EXPECT_GT(probability(history, {kKernel, kWeb}, 5), 0.95f);
  EXPECT_GT(probability(history, {kKernel, kData}, 5), 0.75f);
  EXPECT_LT(probability(history, {kKernel, kData}, 5), 0.95f);
}

TEST(ComponentHistory, WhatEveryBootReadsIsSureBesideAnything) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb}, {5});
  teach(history, {kKernel, kCache}, {5});
  EXPECT_GT(probability(history, {kKernel, kOther}, 5), 0.9f);
}

TEST(ComponentHistory, WhatACompanionMakesItReadGoesWithThatCompanion) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb}, {1, 20});
  teach(history, {kKernel, kCache}, {1, 30});
  for (const uint64_t block : {1, 20, 30})
    EXPECT_GT(probability(history, {kKernel, kWeb, kCache}, block), 0.6f) << block;
  EXPECT_NEAR(probability(history, {kKernel, kOther}, 20), 0.5f, 0.15f);  // of two, one did
  EXPECT_LT(probability(history, {kKernel, kCache}, 20), 0.3f);
  teach(history, {kKernel, kOther}, {1});
  EXPECT_LT(probability(history, {kKernel, kData}, 20), 0.45f);
  EXPECT_LT(probability(history, {kKernel, kCache, kOther}, 20), 0.25f);  // none of them did
  EXPECT_GT(probability(history, {kKernel, kWeb, kData}, 20), 0.6f);
}

TEST(ComponentHistory, CompanionsAlwaysSeenTogetherShareTheBlame) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb, kOther}, {1, 20});
  teach(history, {kKernel, kCache, kData}, {1});
  const float with_one = probability(history, {kKernel, kWeb, kCache}, 20);
  const float with_both = probability(history, {kKernel, kWeb, kOther, kData}, 20);
  EXPECT_GT(with_both, with_one);
  EXPECT_GT(with_one, probability(history, {kKernel, kCache}, 20));
}

TEST(ComponentHistory, TheHeavierOfTwoSeenTogetherIsBlamedMore) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb, kData}, {1, 20});
  teach(history, {kKernel, kCache, kOther}, {1});
  const auto weight_of = [](ComponentName name) { return name == kData ? 250.0 : 15.0; };
  const auto beside = [&](ComponentName companion) {
    const auto sequence = foresee(history, {kKernel, companion, kCache}, nullptr, weight_of);
    return sequence->entries[*sequence->find(20)].support;
  };
  EXPECT_GT(beside(kData), 0.6f);
  EXPECT_LT(beside(kWeb), 0.3f);
}

TEST(ComponentHistory, TheBootPriorTellsWhoseBlockItIs) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb, kOther}, {1, 20, 21});
  teach(history, {kKernel, kCache, kData}, {1});
  const auto prior = make_block_sequence(1, {{1, 0.95f, 0, 1}, {20, 0.9f, 1, 2}});
  const auto support = [&](const Names& companions, uint64_t block) {
    const auto sequence = foresee(history, companions, prior.get());
    return sequence->entries[sequence->find(block).value()].support;
  };
  EXPECT_GT(support({kKernel, kWeb, kCache}, 20), 0.7f);
  EXPECT_LT(support({kKernel, kWeb, kCache}, 21), 0.4f);
  EXPECT_GT(support({kKernel, kWeb, kOther}, 21), 0.9f);  // that very disk did boot
}

// All boots had the database beside them; the prior of a disk without it says of the base what
// every boot reads, but for a few blocks, and nothing of what only the database wanted.
TEST(ComponentHistory, WhatOnlyAnAbsentCompanionWantsIsToldByHowLittleOfItThePriorSays) {
  const auto support_of_unsaid = [](uint64_t blocks_of_database, bool is_everywhere) {
    std::vector<uint64_t> blocks;
    std::vector<SequenceEntry> said;
    for (uint64_t block = 0; block < 100; ++block) {
      blocks.push_back(block);
      if (block >= 4) said.push_back({block, 0.9f, static_cast<float>(block), 1});
    }
    for (uint64_t block = 0; block < blocks_of_database; ++block) blocks.push_back(200 + block);
    ComponentHistory history;
    teach(history, {kKernel, kData, kWeb}, blocks);
    teach(history, {kKernel, kData, kCache}, blocks);
    const auto prior = make_block_sequence(1, std::move(said));
    const auto sequence = foresee(history, {kKernel, kOther}, prior.get(), {}, is_everywhere);
    EXPECT_GT(sequence->entries[*sequence->find(50)].support, 0.9f);
    return sequence->entries[*sequence->find(0)].support;
  };
  // 0.55: what an arbiter asks for.
  EXPECT_GT(support_of_unsaid(0, true), 0.55f);
  EXPECT_LT(support_of_unsaid(60, true), 0.35f);
  // Nobody asks a service's own component for what is its own.
  EXPECT_GT(support_of_unsaid(60, false), 0.8f);
}

// Two of three services want it: any of them does.
TEST(ComponentHistory, SeveralCompanionsMayWantABlock) {
  ComponentHistory history;
  teach(history, {kKernel, kWeb}, {1, 20});
  teach(history, {kKernel, kCache}, {1, 20});
  teach(history, {kKernel, kData}, {1});
  teach(history, {kKernel, kOther}, {1});
  EXPECT_GT(probability(history, {kKernel, kWeb, kData}, 20), 0.7f);
  EXPECT_LT(probability(history, {kKernel, kData, kOther}, 20), 0.3f);
}

TEST(ComponentHistory, BootsOfTheVerySameDiskCountMost) {
  ComponentHistory history;
  for (int i = 0; i < 5; ++i) teach(history, {kKernel, kWeb}, {1, 20});
  teach(history, {kKernel, kCache}, {1});
  teach(history, {kKernel, kCache}, {1});
  EXPECT_LT(probability(history, {kKernel, kCache}, 20), 0.2f);
}

TEST(ComponentHistory, ForgetsTheKindOfTheLeastBoots) {
  ComponentHistory history;
  for (ComponentName name = 100; name < 116; ++name) {
    teach(history, {name}, {1, name});
    if (name != 105) teach(history, {name}, {1, name});
  }
  ASSERT_EQ(history.kinds.size(), ComponentHistory::kKindsMax);
  teach(history, {999}, {1});
  EXPECT_EQ(history.kinds.size(), ComponentHistory::kKindsMax);
  EXPECT_EQ(probability(history, {105}, 105), 0);
  EXPECT_GT(probability(history, {106}, 106), 0.7f);
}

TEST(ComponentHistory, ProbabilitiesAreSoWhateverWasSeen) {
  Rng rng(3);
  for (int round = 0; round < 20; ++round) {
    ComponentHistory history;
    const auto names = [&] {
      Names some;
      for (ComponentName name = 1; name < 8; ++name)
        if (rng.chance(0.4)) some.push_back(name);
      return some;
    };
    for (int i = 0; i < 12; ++i) {
      std::vector<uint64_t> blocks;
      for (uint64_t block = 0; block < 20; ++block)
        if (rng.chance(0.5)) blocks.push_back(block);
      teach(history, names(), blocks);
    }
    for (const SequenceEntry& entry : foresee(history, names())->entries) {
      EXPECT_GE(entry.support, 0);
      EXPECT_LE(entry.support, 1);
    }
  }
}

}  // namespace
}  // namespace forerun::predict
