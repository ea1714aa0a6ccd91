#include "tier/slot_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tier/fake_file.h"

namespace forerun::tier {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Buffer content_of(uint8_t seed, size_t size = kSlotSize) { return Buffer(size, std::byte{seed}); }

SlotRecord record_of(uint8_t seed, uint32_t slot, uint64_t sequence, uint32_t size = kSlotSize) {
  return {.id = sha256(content_of(seed, size)), .slot = slot, .size = size, .sequence = sequence};
}

class SlotFileTest : public testing::Test {
 protected:
  SlotFile::Opened open(uint32_t slot_count = 4) {
    auto opened = SlotFile::open(std::make_unique<FakeFile>(data_),
                                 std::make_unique<FakeFile>(index_), slot_count);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  // Writes slots 0 and 1 and closes.
  void fill() {
    const auto opened = open();
    EXPECT_TRUE(opened.file->write(record_of(1, 0, 10), content_of(1)));
    EXPECT_TRUE(opened.file->write(record_of(2, 1, 11), content_of(2)));
  }

  const std::shared_ptr<FakeDisk> data_ = std::make_shared<FakeDisk>();
  const std::shared_ptr<FakeDisk> index_ = std::make_shared<FakeDisk>();
};

TEST(SlotRecord, IsOneFixedSizeAndComesBackWhole) {
  SlotRecord record = record_of(7, 5, 123456789, 4097);
  record.probation = true;
  const Buffer stored = encode_slot_record(record);
  EXPECT_EQ(stored.size(), kSlotRecordSize);
  EXPECT_EQ(decode_slot_record(5, stored), record);
}

TEST(SlotRecord, EveryFlippedBitIsFound) {
  const Buffer good = encode_slot_record(record_of(7, 5, 1));
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    Buffer bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(decode_slot_record(5, bad)) << bit;
  }
}

TEST(SlotRecord, RefusesAnotherSlotsTornAndUnwrittenOnes) {
  const Buffer good = encode_slot_record(record_of(7, 5, 1));
  EXPECT_FALSE(decode_slot_record(6, good));
  EXPECT_FALSE(decode_slot_record(5, ByteView(good).first(63)));
  EXPECT_FALSE(decode_slot_record(5, Buffer(kSlotRecordSize)));
}

TEST(SlotRecord, RefusesSizesThatNoSlotHolds) {
  SlotRecord record = record_of(7, 5, 1);
  record.size = 0;
  EXPECT_FALSE(decode_slot_record(5, encode_slot_record(record)));
  record.size = kSlotSize + 1;
  EXPECT_FALSE(decode_slot_record(5, encode_slot_record(record)));
}

TEST_F(SlotFileTest, NewFileIsEmptyAndGivesSlotsInOrder) {
  const auto opened = open(3);
  EXPECT_THAT(opened.records, IsEmpty());
  EXPECT_EQ(opened.file->take(), 0u);
  EXPECT_EQ(opened.file->take(), 1u);
  EXPECT_EQ(opened.file->take(), 2u);
  EXPECT_EQ(opened.file->take(), std::nullopt);
  opened.file->release(1);
  EXPECT_EQ(opened.file->take(), 1u);
}

TEST_F(SlotFileTest, FindsAgainWhatWasWritten) {
  fill();
  const auto opened = open();
  EXPECT_THAT(opened.records, ElementsAre(record_of(1, 0, 10), record_of(2, 1, 11)));
  EXPECT_EQ(*opened.file->read(1, kSlotSize), content_of(2));
  EXPECT_EQ(opened.file->take(), 2u) << "slots 0 and 1 are taken";
}

TEST_F(SlotFileTest, OnlyTheLatestRecordOfAChunkCounts) {
  fill();
  {
    const auto opened = open();
    ASSERT_TRUE(opened.file->write(record_of(1, 3, 20), content_of(1)));
  }
  const auto opened = open();
  EXPECT_THAT(opened.records, ElementsAre(record_of(2, 1, 11), record_of(1, 3, 20)));
  EXPECT_EQ(opened.file->take(), 0u);
}

TEST_F(SlotFileTest, WipedIsNotFoundAgain) {
  fill();
  {
    const auto opened = open();
    opened.file->wipe_and_release(0);
    EXPECT_EQ(opened.file->take(), 0u);
  }
  EXPECT_THAT(open().records, ElementsAre(record_of(2, 1, 11)));
}

TEST_F(SlotFileTest, TornRecordIsDroppedAndTheOthersStay) {
  fill();
  std::fill_n(index_->bytes.begin() + kSlotRecordSize + 40, 24, std::byte{0});  // slot 0's tail
  EXPECT_THAT(open().records, ElementsAre(record_of(2, 1, 11)));
}

TEST_F(SlotFileTest, SwappedRecordsAreDropped) {
  fill();
  std::swap_ranges(index_->bytes.begin() + kSlotRecordSize,
                   index_->bytes.begin() + 2 * kSlotRecordSize,
                   index_->bytes.begin() + 2 * kSlotRecordSize);
  EXPECT_THAT(open().records, IsEmpty());
}

TEST_F(SlotFileTest, TruncatedIndexLosesOnlyItsTail) {
  fill();
  index_->bytes.resize(2 * kSlotRecordSize + 10);
  EXPECT_THAT(open().records, ElementsAre(record_of(1, 0, 10)));
}

TEST_F(SlotFileTest, RecordsBehindTheEndOfDataAreDropped) {
  fill();
  data_->bytes.resize(kSlotSize + 100);
  EXPECT_THAT(open().records, ElementsAre(record_of(1, 0, 10)));
}

TEST_F(SlotFileTest, ForeignIndexIsReplaced) {
  fill();
  index_->bytes = content_of(0xee, 10000);
  EXPECT_THAT(open().records, IsEmpty());
  EXPECT_EQ(index_->bytes.size(), kSlotRecordSize) << "nothing of it is left to be found later";
}

TEST_F(SlotFileTest, DamagedHeaderDropsTheIndex) {
  fill();
  index_->flip(16);  // the slot count
  EXPECT_THAT(open().records, IsEmpty());
  EXPECT_THAT(open().records, IsEmpty());
}

TEST_F(SlotFileTest, LargerFileKeepsEverything) {
  fill();
  EXPECT_EQ(open(100).records.size(), 2u);
  EXPECT_EQ(open(100).records.size(), 2u);
}

TEST_F(SlotFileTest, SmallerFileKeepsWhatFits) {
  fill();
  EXPECT_THAT(open(1).records, ElementsAre(record_of(1, 0, 10)));
  EXPECT_EQ(data_->bytes.size(), kSlotSize);
  EXPECT_EQ(open(4).records.size(), 1u) << "what did not fit does not come back";
}

TEST_F(SlotFileTest, UnusableIndexIsAnError) {
  index_->bytes.resize(100);
  index_->fail_reads = ErrorCode::kIo;
  const auto opened =
      SlotFile::open(std::make_unique<FakeFile>(data_), std::make_unique<FakeFile>(index_), 4);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace forerun::tier
