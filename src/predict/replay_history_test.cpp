// The saved form of a replay history: docs/format_history.md.
#include <gtest/gtest.h>

#include "core/codec.h"
#include "core/rng.h"
#include "predict/replay.h"

namespace forerun::predict {
namespace {

constexpr ComponentId kOne{1};

void teach(ReplayHistory& history, uint64_t blocks) {
  std::vector<FirstTouch> boot;
  for (uint64_t i = 0; i < blocks; ++i)
    boot.push_back({i * 7 % 1000, static_cast<float>(i) * 0.01f});
  history.merge(kOne, boot);
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
  teach(history, 30);
  const Buffer saved = history.save(kOne);
  ASSERT_TRUE(loaded.load(kOne, saved).has_value());
  EXPECT_EQ(loaded.sequence(kOne)->entries, history.sequence(kOne)->entries);
  EXPECT_EQ(loaded.sequence(kOne)->boots, history.sequence(kOne)->boots);
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
  EXPECT_TRUE(with(8, 1).has_value());  // the version it has
  EXPECT_EQ(with(8, 2).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(with(12, 0).error().code, ErrorCode::kCorrupt);           // no boots
  EXPECT_EQ(with(12, 0x7fc00000).error().code, ErrorCode::kCorrupt);  // NaN
  EXPECT_EQ(with(16, 1000).error().code, ErrorCode::kCorrupt);        // more entries than bytes
  EXPECT_EQ(with(28, 0x40000000).error().code, ErrorCode::kCorrupt);  // a support of 2
  Buffer twice = saved;
  std::memcpy(twice.data() + 40, saved.data() + 20, 8);
  ReplayHistory loaded;
  EXPECT_EQ(loaded.load(kOne, sealed(twice)).error().code, ErrorCode::kCorrupt);
}

TEST(SavedHistory, RefusesWhatIsOverItsLimit) {
  ReplayHistory history, small({.blocks_max = 10});
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
