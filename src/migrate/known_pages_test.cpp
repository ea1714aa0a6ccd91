// Pages that the target has of a checkpoint: they do not travel, and what it has not after all
// does.
#include "migrate/known_pages.h"

#include <gmock/gmock.h>

#include "migrate/memory_fixture.h"

namespace forerun::migrate {
namespace {

// A checkpoint of a guest: its first pages.
class Checkpoint final : public KnownPages {
 public:
  Checkpoint(Guest& guest, uint64_t count) {
    for (uint64_t page = 0; page < count; ++page) pages_.push_back(guest.page(page));
  }
  std::vector<PageHash> hashes() const {
    std::vector<PageHash> hashes;
    for (const Buffer& page : pages_) hashes.push_back(hash_of_page(page));
    return hashes;
  }
  bool read(uint64_t number, MutableByteView out) override {
    ++reads;
    if (number >= pages_.size() || broken.contains(number)) return false;
    std::copy(pages_[number].begin(), pages_[number].end(), out.begin());
    return true;
  }
  std::set<uint64_t> broken;
  uint64_t reads = 0;

 private:
  std::vector<Buffer> pages_;
};

TEST(KnownPages, DoNotTravel) {
  Guest guest(21);
  Checkpoint checkpoint(guest, kPages);
  for (const uint64_t page : range(0, 40)) guest.touch(page);
  Pair pair({.hot = HotPages::kKeep, .compress = false, .known = checkpoint.hashes()}, {}, 50'000,
            &checkpoint);
  pair.send(guest.begin().send(range(0, kPages)).take());
  pair.answer();
  // Filled pages are told as such; one in five is.
  EXPECT_EQ(pair.sender.stats().known, (kPages - 40) * 4 / 5);
  EXPECT_LT(pair.bytes, 50 * kPageBytes);
  EXPECT_FALSE(pair.sender.is_settled());  // the BIOS's pages did not come, and might be known
  pair.sender.stop_references();
  EXPECT_TRUE(pair.sender.is_settled());
  pair.send(guest.end().take());
  pair.expect_same(guest);
  EXPECT_EQ(pair.receiver->stats().known, pair.sender.stats().known);
}

TEST(KnownPages, AreFoundWhereverTheyWere) {
  Guest guest(22);
  Checkpoint checkpoint(guest, 100);
  const Buffer moved = guest.page(7);
  Pair pair({.known = checkpoint.hashes()}, {}, 50'000, &checkpoint);
  const PageRecord page{.block = 1, .offset = kPageBytes, .data = moved};
  StreamBuilder stream(kBlocks);
  pair.send(stream.head().start().pages({&page, 1}).out.take());
  EXPECT_EQ(pair.target.memory.at(PageKey::of(1, kPageBytes).value), moved);
  EXPECT_EQ(pair.sender.stats().known, 1u);
}

TEST(KnownPages, ThatCannotBeReadComeFromTheSource) {
  Guest guest(23);
  Checkpoint checkpoint(guest, kPages);
  checkpoint.broken = {1, 2, 17, 399};
  Pair pair({.hot = HotPages::kKeep, .known = checkpoint.hashes()}, {}, 50'000, &checkpoint);
  pair.send(guest.begin().send(range(0, kPages)).take());
  pair.sender.stop_references();
  EXPECT_FALSE(pair.sender.is_settled());
  EXPECT_FALSE(pair.target.memory.contains(PageKey::of(0, 17 * kPageBytes).value));
  pair.answer();
  EXPECT_TRUE(pair.sender.is_settled());
  EXPECT_EQ(pair.sender.stats().known_failed, 4u);
  EXPECT_EQ(pair.receiver->stats().known_failed, 4u);
  // What was kept of them is what both sides have: differences come out right.
  for (const uint64_t page : range(0, kPages)) guest.touch(page);
  pair.send(guest.send(range(0, kPages)).end().take());
  pair.expect_same(guest);
}

TEST(KnownPages, ThatAreWrittenBeforeTheTargetSaysSoAreNotToldByDifferences) {
  const auto all = range(0, kPages);
  for (const bool is_broken : {false, true}) {
    Guest guest(24);
    Checkpoint checkpoint(guest, kPages);
    if (is_broken) checkpoint.broken = {all.begin(), all.end()};
    Pair pair({.hot = HotPages::kKeep, .known = checkpoint.hashes()}, {}, 50'000, &checkpoint);
    pair.send(guest.begin().send(all).take());
    for (const uint64_t page : all) guest.touch(page);
    pair.send(guest.send(all).take());
    EXPECT_EQ(pair.sender.stats().deltas, 0u);
    const uint64_t whole = pair.sender.stats().whole;
    pair.answer();
    // Newer ones went: the old need not.
    EXPECT_EQ(pair.sender.stats().whole, whole);
    for (const uint64_t page : all) guest.touch(page);
    pair.send(guest.send(all).end().take());
    pair.expect_same(guest);
  }
}

TEST(KnownPages, ThatFailedAndWereHeldBackComeAfterTheSwitch) {
  const auto all = range(0, kPages);
  Guest guest(25);
  Checkpoint checkpoint(guest, kPages);
  checkpoint.broken = {all.begin(), all.begin() + 100};
  Pair pair({.hot = HotPages::kKeep, .switches = true, .known = checkpoint.hashes()}, {}, 50'000,
            &checkpoint);
  pair.send(guest.begin().send(all).take());
  const auto written = range(50, 150);
  for (const uint64_t page : written) guest.touch(page);
  pair.send(guest.send(range(0, 1)).send(written).take());
  EXPECT_FALSE(pair.sender.first_pass_is_done());
  pair.answer();
  EXPECT_TRUE(pair.sender.first_pass_is_done());
  const auto stale = range(60, 120);
  for (const uint64_t page : stale) guest.touch(page);
  pair.send(guest.switch_over(stale).send(stale).end().take());
  pair.expect_same(guest);
}

TEST(KnownPages, AGuestDoesNotGoOverBeforeTheTargetHasThem) {
  Guest guest(26);
  Checkpoint checkpoint(guest, kPages);
  Pair pair({.known = checkpoint.hashes()}, {}, 50'000, &checkpoint);
  pair.send(guest.begin().send(range(0, 10)).take());
  const Status over = pair.sender.from_qemu(guest.switch_over({}).take(), pair.output);
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().message, testing::HasSubstr("nobody knows whether"));
}

TEST(KnownPages, AtMostSoManyAreNotSettled) {
  Guest guest(27);
  Checkpoint checkpoint(guest, 100);
  KnownReferences known(checkpoint.hashes(), {.unsettled_max = 2});
  for (const uint64_t page : {1, 2}) {
    ASSERT_EQ(known.find(guest.page(page)), page);
    known.add(PageKey::of(0, page * kPageBytes), guest.page(page));
  }
  EXPECT_FALSE(known.find(guest.page(3)));
  EXPECT_EQ(known.settle(false).page->at(5), guest.page(1).at(5));
  EXPECT_EQ(known.find(guest.page(3)), 3u);
  known.forget(PageKey::of(0, 2 * kPageBytes));
  EXPECT_EQ(known.settle(false).page, nullptr);
  EXPECT_EQ(known.unsettled(), 0u);
}

TEST(KnownPages, AWordOnPagesThatWereNotToldIsRefused) {
  Guest guest(28);
  Pair pair({});
  pair.send(guest.begin().send(range(0, 10)).take());
  BigEndianWriter word;
  encode_known(1, {}, word);
  EXPECT_FALSE(pair.sender.from_peer(word.view(), pair.output));
}

TEST(KnownPages, AHostileSourceCannotNamePagesThatThereAreNot) {
  const auto decode = [](KnownPages* known, uint64_t number, uint64_t pages) {
    Buffer batch{std::byte{4}, std::byte{0}, std::byte{0}};
    put_varint(number, batch);
    put_varint(pages, batch);
    PageDecoder decoder({}, known);
    return decoder.decode(batch, kBlocks, [](const PageRecord&) { return Status(); }).has_value();
  };
  Guest guest(29);
  Checkpoint checkpoint(guest, 100);
  EXPECT_TRUE(decode(&checkpoint, 3, 5));
  EXPECT_TRUE(decode(&checkpoint, 99, 5));  // some cannot be read: that is said, and no error
  EXPECT_FALSE(decode(nullptr, 3, 5));
  EXPECT_FALSE(decode(&checkpoint, 3, 0));
  EXPECT_FALSE(decode(&checkpoint, 3, kPages + 1));
  EXPECT_FALSE(decode(&checkpoint, kKnownPagesMax + 1, 1));
  EXPECT_LE(checkpoint.reads, 2 * kKnownAtOnce);
}

}  // namespace
}  // namespace forerun::migrate
