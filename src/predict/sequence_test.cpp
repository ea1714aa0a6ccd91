// The saved form's hostile inputs are tried in replay_history_test.cpp, which goes through it.
#include "predict/sequence.h"

#include <gtest/gtest.h>

namespace forerun::predict {
namespace {

std::shared_ptr<const BlockSequence> three() {
  return make_block_sequence(1, {{.block = 9, .support = 0.5f, .rank = 2, .time_s = 1.5f},
                                 {.block = 70, .support = 1, .rank = 0, .time_s = 0.5f},
                                 {.block = 4, .support = 0.25f, .rank = 1, .time_s = 1}});
}

TEST(BlockSequence, IsOrderedByRankAndFoundByBlock) {
  const auto sequence = three();
  EXPECT_EQ(sequence->entries[0].block, 70u);
  EXPECT_EQ(sequence->entries[2].block, 9u);
  EXPECT_EQ(sequence->find(4), 1u);
  EXPECT_EQ(sequence->find(70), 0u);
  EXPECT_EQ(sequence->find(5), std::nullopt);
}

TEST(BlockSequence, ComesBackAsItWasSaved) {
  const auto back = parse_block_sequence(serialize(*three()));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ((*back)->entries, three()->entries);
  EXPECT_EQ((*back)->by_block, three()->by_block);
}

// The form on disk may not change without a new version.
TEST(BlockSequence, HasTheBytesThatItsFormatSays) {
  const Buffer saved = serialize(
      *make_block_sequence(1, {{.block = 0x0102, .support = 0.5f, .rank = 3, .time_s = 2}}));
  const std::string_view body(
      "FRHIST\r\n\1\0\0\0\0\0\x80\x3f\1\0\0\0"
      "\2\1\0\0\0\0\0\0\0\0\0\x3f\0\0\x40\x40\0\0\0\x40",
      40);
  ASSERT_EQ(saved.size(), body.size() + 32);
  EXPECT_EQ(as_text(ByteView(saved).first(body.size())), body);
}

TEST(BlockSequence, WithMeaningsComesBackAsItWasSaved) {
  const auto entries = three()->entries;
  const auto sequence = make_block_sequence(1, entries, {{7, 1, 200}, {2, 9, 1}, {2, 8, 255}});
  const Buffer saved = serialize(*sequence);
  const auto back = parse_block_sequence(saved);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ((*back)->entries, entries);
  const std::vector<Meaning> meanings{{2, 8, 255}, {2, 9, 1}, {7, 1, 200}};
  EXPECT_EQ((*back)->meanings, meanings);
  // The version, and behind the entries the count and the first meaning.
  EXPECT_EQ(saved[8], std::byte{3});
  const size_t at = 20 + 3 * 20;
  EXPECT_EQ(as_text(ByteView(saved).subspan(at, 13)),
            std::string_view("\3\0\0\0\2\0\0\0\x8\0\0\0\xff", 13));
  EXPECT_EQ(saved.size(), at + 4 + 3 * 9 + 32);
}

TEST(BlockSequence, WithFileRunsComesBackAsItWasSaved) {
  const std::vector<FileRun> runs{{0, true}, {5, false}, {300, true}};
  const Buffer saved = serialize(*make_block_sequence(1, three()->entries, {}, runs));
  const auto back = parse_block_sequence(saved);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ((*back)->entries, three()->entries);
  EXPECT_EQ((*back)->file_runs, runs);
  // The version, and behind the entries the count and the runs.
  EXPECT_EQ(saved[8], std::byte{4});
  const size_t at = 20 + 3 * 20;
  EXPECT_EQ(as_text(ByteView(saved).subspan(at, 16)),
            std::string_view("\3\0\0\0\0\0\0\x80\5\0\0\0\x2c\1\0\x80", 16));
  EXPECT_EQ(saved.size(), at + 4 + 3 * 4 + 32);
}

// As somebody would write it who has no good intentions: with a fresh checksum.
Buffer resealed(Buffer saved) {
  saved.resize(saved.size() - 32);
  const Digest digest = sha256(saved);
  for (const uint8_t byte : digest.bytes) saved.push_back(std::byte{byte});
  return saved;
}

TEST(BlockSequence, RefusesMeaningsThatBreakTheFormat) {
  const Buffer saved = serialize(*make_block_sequence(1, {}, {{1, 1, 5}, {1, 2, 6}}));
  const auto with = [&](size_t at, uint8_t value) {
    Buffer bad = saved;
    bad.at(at) = std::byte{value};
    return parse_block_sequence(resealed(std::move(bad)));
  };
  constexpr size_t kCount = 20, kFirst = 24, kSecond = 33;
  ASSERT_TRUE(with(kFirst, 1).has_value());
  EXPECT_EQ(with(8, 2).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(with(8, 5).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(with(16, 1).error().code, ErrorCode::kCorrupt);            // an entry, in their place
  EXPECT_EQ(with(kCount, 1).error().code, ErrorCode::kCorrupt);        // fewer than there are
  EXPECT_EQ(with(kCount + 3, 255).error().code, ErrorCode::kCorrupt);  // far more
  EXPECT_EQ(with(kSecond, 0).error().code, ErrorCode::kCorrupt);       // blocks out of order
  EXPECT_EQ(with(kSecond + 4, 1).error().code, ErrorCode::kCorrupt);   // a name twice
  EXPECT_EQ(with(kSecond + 8, 0).error().code, ErrorCode::kCorrupt);   // of nothing
}

TEST(BlockSequence, RefusesFileRunsThatBreakTheFormat) {
  const Buffer saved = serialize(*make_block_sequence(1, {}, {}, {{1, false}, {2, false}}));
  const auto with = [&](size_t at, uint8_t value) {
    Buffer bad = saved;
    bad.at(at) = std::byte{value};
    return parse_block_sequence(resealed(std::move(bad)));
  };
  constexpr size_t kCount = 20, kSecond = 28;
  ASSERT_TRUE(with(kSecond, 3).has_value());
  EXPECT_EQ(with(kSecond, 1).error().code, ErrorCode::kCorrupt);  // twice
  EXPECT_EQ(with(kSecond, 0).error().code, ErrorCode::kCorrupt);  // out of order
  EXPECT_EQ(with(kCount, 1).error().code, ErrorCode::kCorrupt);   // fewer than there are
  EXPECT_EQ(with(kCount + 3, 255).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(with(8, 1).error().code, ErrorCode::kCorrupt);  // a version without them
}

TEST(BlockSequence, OfNoBlocksComesBackToo) {
  const auto back = parse_block_sequence(serialize(*make_block_sequence(1, {})));
  ASSERT_TRUE(back.has_value());
  EXPECT_TRUE((*back)->entries.empty());
}

TEST(BlockSequence, RefusesWhatIsOverTheLimitAndWhatIsCut) {
  const Buffer saved = serialize(*three());
  EXPECT_EQ(parse_block_sequence(saved, 2).error().code, ErrorCode::kTooLarge);
  EXPECT_TRUE(parse_block_sequence(saved, 3).has_value());
  EXPECT_EQ(parse_block_sequence(ByteView(saved).first(30), 3).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(parse_block_sequence({}).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace forerun::predict
