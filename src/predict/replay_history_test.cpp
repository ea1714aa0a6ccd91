// The saved form of a replay history: docs/format_history.md.
#include <gtest/gtest.h>

#include "core/codec.h"
#include "core/rng.h"
#include "predict/replay.h"

namespace forerun::predict {
namespace {

constexpr ComponentId kOne{1};

// A boot on a disk that also holds component `companion`.
void teach(ReplayHistory& history, uint64_t blocks, uint32_t companion = 2) {
  std::vector<FirstTouch> boot;
  for (uint64_t i = 0; i < blocks; ++i)
    boot.push_back({i * 7 % 1000, static_cast<float>(i) * 0.01f});
  history.merge(kOne, std::array{kOne, ComponentId{companion}}, boot);
}

// Returns `saved` with a fresh checksum, as an attacker would write it.
Buffer sealed(Buffer saved) {
  saved.resize(saved.size() - 32);
  const Digest digest = sha256(saved);
  for (const uint8_t byte : digest.bytes) saved.push_back(std::byte{byte});
  return saved;
}

TEST(SavedHistory, ComesBackAsItWas) {
  ReplayHistory history, loaded;
  teach(history, 50);
  teach(history, 30, 3);
  const Buffer saved = history.save(kOne);
  ASSERT_TRUE(loaded.load(kOne, saved).has_value());
  EXPECT_EQ(loaded.foresee(kOne, {})->entries, history.foresee(kOne, {})->entries);
  EXPECT_EQ(loaded.boots(kOne), history.boots(kOne));
  teach(history, 40);
  teach(loaded, 40);
  EXPECT_EQ(loaded.save(kOne), history.save(kOne));
}

TEST(SavedHistory, OfNothingIsEmpty) { EXPECT_TRUE(ReplayHistory().save(kOne).empty()); }

TEST(SavedHistory, EveryFlippedByteIsRefusedAndChangesNothing) {
  ReplayHistory history;
  teach(history, 5);
  const Buffer saved = history.save(kOne);
  ReplayHistory loaded;
  teach(loaded, 3);
  const Buffer before = loaded.save(kOne);
  for (size_t i = 0; i < saved.size(); ++i) {
    Buffer bad = saved;
    bad[i] ^= std::byte{0x40};
    EXPECT_FALSE(loaded.load(kOne, bad).has_value()) << i;
  }
  for (size_t size = 0; size < saved.size(); ++size)
    EXPECT_FALSE(loaded.load(kOne, ByteView(saved).first(size)).has_value()) << size;
  EXPECT_EQ(loaded.save(kOne), before);
}

TEST(SavedHistory, RefusesWellSealedNonsense) {
  ReplayHistory history;
  teach(history, 4);
  const Buffer saved = history.save(kOne);
  const auto with = [&](size_t at, uint32_t value) {
    Buffer bad = saved;
    std::memcpy(bad.data() + at, &value, sizeof value);
    ReplayHistory loaded;
    return loaded.load(kOne, sealed(bad));
  };
  // 20: the kind's boots, its one companion; 36: four entries of 17 bytes.
  EXPECT_TRUE(with(8, 2).has_value());  // the version it has
  EXPECT_EQ(with(8, 3).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(with(12, 0).error().code, ErrorCode::kCorrupt);           // no kinds
  EXPECT_EQ(with(12, 17).error().code, ErrorCode::kCorrupt);          // too many
  EXPECT_EQ(with(16, 1000).error().code, ErrorCode::kCorrupt);        // more entries than bytes
  EXPECT_EQ(with(20, 0x7fc00000).error().code, ErrorCode::kCorrupt);  // boots: NaN
  EXPECT_EQ(with(24, 400).error().code, ErrorCode::kCorrupt);         // more companions than bytes
  EXPECT_EQ(with(44, 0xbf800000).error().code, ErrorCode::kCorrupt);  // a rank of -1
  EXPECT_EQ(with(36 + 17, 0).error().code, ErrorCode::kCorrupt);      // a block twice
}

TEST(SavedHistory, OfVersion1IsReadAsBootsWithoutCompanions) {
  ReplayHistory loaded;
  const auto old = make_block_sequence(2, {{5, 1, 0, 0.5f}, {9, 0.5f, 1, 1.5f}});
  ASSERT_TRUE(loaded.load(kOne, serialize(*old)));
  const auto known = loaded.foresee(kOne, {});
  ASSERT_EQ(known->entries.size(), 2u);
  EXPECT_GT(known->entries[0].support, 0.9f);
  EXPECT_LT(known->entries[1].support, 0.7f);
  EXPECT_FLOAT_EQ(known->entries[1].time_s, 1.5f);
}

TEST(SavedHistory, RefusesWhatIsOverItsLimit) {
  ReplayHistory history, small({.merge = {.blocks_max = 10}});
  teach(history, 11);
  EXPECT_EQ(small.load(kOne, history.save(kOne)).error().code, ErrorCode::kTooLarge);
}

TEST(SavedHistory, SurvivesRandomBytes) {
  Rng rng(11);
  ReplayHistory history;
  for (int i = 0; i < 500; ++i) {
    Buffer noise(rng.below(300));
    for (auto& byte : noise) byte = static_cast<std::byte>(rng.below(256));
    EXPECT_FALSE(history.load(kOne, noise).has_value());
  }
}

}  // namespace
}  // namespace forerun::predict
