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
