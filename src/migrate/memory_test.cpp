// Sender and receiver together: a guest's stream goes through both.
#include <gmock/gmock.h>

#include "migrate/memory_fixture.h"

namespace forerun::migrate {
namespace {

using testing::HasSubstr;

TEST(Memory, APreCopyArrivesAsItWasWhateverThePieces) {
  for (const size_t step : {size_t{1'000}, size_t{65'536}, size_t{10'000'000}}) {
    Guest guest(1);
    guest.begin().send(range(0, kPages));
    for (uint64_t page = 0; page < 50; ++page) guest.touch(page);
    guest.send(range(0, 50)).end();
    Pair pair({.hot = HotPages::kKeep}, {}, step);
    pair.send(guest.take());
    pair.expect_same(guest);
    EXPECT_TRUE(pair.target.is_ended);
    EXPECT_TRUE(pair.sender.finish());
    EXPECT_EQ(pair.target.pages, kPages + 50);
    const SenderStats stats = pair.sender.stats();
    EXPECT_EQ(stats.filled, kPages / 5);
    EXPECT_EQ(stats.deltas, 50 - 10);
    EXPECT_EQ(stats.phase, SenderStats::Phase::kEnded);
    EXPECT_TRUE(pair.receiver->stats().is_complete);
  }
}

TEST(Memory, WhatIsWrittenAgainTravelsAsItsDifference) {
  const auto hot = range(0, 200);
  Guest guest(2);
  Pair pair({.tables = {.kept_pages = 200}, .hot = HotPages::kKeep}, profile_of(hot));
  pair.send(guest.begin().send(range(0, kPages)).take());
  EXPECT_FALSE(pair.sender.is_postcopy());
  for (const uint64_t page : hot) guest.touch(page);
  const uint64_t before = pair.bytes;
  pair.send(guest.switch_over(hot).take());
  EXPECT_TRUE(pair.sender.is_postcopy());
  pair.send(guest.send(hot).end().take());
  pair.expect_same(guest);
  EXPECT_EQ(pair.target.opaque, Buffer(700'000, std::byte{0x42}));
  // 160 pages of data that were touched, and 40 that were zero before.
  EXPECT_EQ(pair.sender.stats().deltas, 160u);
  EXPECT_LT(pair.bytes - before, 700'000 + 40 * kPageBytes + 200 * 40);
}

TEST(Memory, PagesThatAreHeldBackTravelOnce) {
  const auto hot = range(100, 300);
  Guest guest(3);
  Pair pair({.hot = HotPages::kHold, .compress = false}, profile_of(hot));
  pair.send(guest.begin().send(range(0, kPages)).take());
  EXPECT_EQ(pair.sender.stats().held, 160u);
  EXPECT_FALSE(pair.sender.first_pass_is_done());  // the BIOS's pages did not come
  const auto written = range(100, 250);
  for (const uint64_t page : written) guest.fill(page);
  pair.send(guest.switch_over(written).take());
  EXPECT_EQ(pair.sender.stats().held_stale, 120u);
  // A page that was held back and is still good is asked for: QEMU would not send it.
  pair.request({0, {281 * kPageBytes, kPageBytes}});
  EXPECT_EQ(pair.target.memory.at(PageKey::of(0, 281 * kPageBytes).value), guest.page(281));
  pair.send(guest.send(written).end().take());
  pair.expect_same(guest);
  EXPECT_EQ(pair.sender.stats().held, 0u);
  EXPECT_LT(pair.bytes, (kPages + 10) * kPageBytes + 700'000);
}

TEST(Memory, WhatComesAgainBeforeTheSwitchWaitsForIt) {
  const auto hot = range(0, 200);
  Guest guest(12);
  Pair pair({.hot = HotPages::kKeep, .switches = true});
  pair.send(guest.begin().send(range(0, kPages)).take());
  EXPECT_FALSE(pair.sender.first_pass_is_done());
  for (const uint64_t page : hot) guest.touch(page);
  const uint64_t before = pair.bytes;
  pair.send(guest.send(range(0, 1)).send(hot).take());
  EXPECT_TRUE(pair.sender.first_pass_is_done());
  EXPECT_EQ(pair.bytes, before);
  EXPECT_EQ(pair.sender.stats().held, 200u);
  const auto stale = range(0, 150);
  for (const uint64_t page : stale) guest.touch(page);
  pair.send(guest.switch_over(stale).send(stale).end().take());
  pair.expect_same(guest);
  EXPECT_EQ(pair.sender.stats().held_stale, 150u);
}

TEST(Memory, AHotPageThatWasNotKnownToBeGoesBeforeTheSwitch) {
  Guest guest(13);
  Pair pair({.hot = HotPages::kHold, .switches = true}, profile_of(range(100, 200)));
  pair.send(guest.begin().send(range(0, kPages)).take());
  const auto written = range(50, 150);
  for (const uint64_t page : written) guest.fill(page);
  pair.send(guest.send(written).take());
  const auto stale = range(60, 110);
  for (const uint64_t page : stale) guest.fill(page);
  pair.send(guest.switch_over(stale).send(stale).end().take());
  pair.expect_same(guest);
}

TEST(Memory, NothingInterruptsThePackage) {
  const auto hot = range(0, 300);
  Guest guest(4);
  Pair pair({.hot = HotPages::kHold}, profile_of(hot));
  Buffer stream = guest.begin().send(range(0, kPages)).switch_over({}).take();
  stream.resize(stream.size() - 100'000);  // amid the package
  pair.send(stream);
  EXPECT_TRUE(pair.sender.tick(pair.output));
  EXPECT_TRUE(pair.output.to_peer.empty());
  pair.request({0, {kPageBytes, kPageBytes}});
  EXPECT_EQ(pair.target.memory.count(PageKey::of(0, kPageBytes).value), 0u);
  pair.send(Buffer(100'000, std::byte{0x42}));
  pair.send(guest.end().take());
  pair.expect_same(guest);
}

TEST(Memory, FromTheSwitchOnHotPagesAreAskedForFirst) {
  const auto hot = range(150, 300, 2);
  Guest guest(5);
  MemorySender::Options options;
  options.link_bytes_per_s = 1e6;
  options.injector.socket_bytes = 20 * kPageBytes;
  Pair pair(options, profile_of(hot));
  pair.send(guest.begin().send(range(0, 160)).take());
  EXPECT_TRUE(pair.output.to_qemu.empty());
  pair.send(guest.switch_over(range(150, 152)).take());
  const uint64_t window = 20 + 1;
  EXPECT_EQ(pair.sender.stats().injector.injected, window);
  // 150 was discarded, 152 … 158 are there.
  pair.send(guest.send({150, 160, 162}).take());
  EXPECT_EQ(pair.sender.stats().injector.injected, window + 3);
  pair.request({0, {164 * kPageBytes, kPageBytes}});
  EXPECT_EQ(pair.sender.stats().injector.late, 1u);
  EXPECT_EQ(pair.sender.stats().injector.requested, 1u);
  EXPECT_THAT(pair.sender.fault_log(), testing::ElementsAre(PageKey::of(0, 164 * kPageBytes)));
}

TEST(Memory, AMigrationGoesOnAfterACut) {
  const auto hot = range(0, 100);
  Guest guest(6);
  Pair pair({.hot = HotPages::kKeep}, profile_of(hot));
  pair.send(guest.begin().send(range(0, kPages)).take());
  for (const uint64_t page : hot) guest.touch(page);
  pair.send(guest.switch_over(hot).send(range(0, 50)).take());
  guest.send(range(50, 52));
  const Buffer lost = guest.take();
  ASSERT_TRUE(pair.sender.from_qemu(ByteView(lost).first(5'000), pair.output));
  pair.output = {};

  pair.receiver->resume();
  Target resumed;
  resumed.memory = pair.target.memory;
  StreamReader reader({}, resumed, kBlocks, StreamBuilder::kSection);
  ASSERT_TRUE(pair.sender.resume(pair.output));
  const auto pass_on = [&](const Buffer& stream) {
    ASSERT_TRUE(pair.sender.from_qemu(stream, pair.output));
    Buffer to_qemu;
    const Status status = pair.receiver->from_peer(pair.output.to_peer, to_qemu);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_TRUE(reader.feed(to_qemu));
    pair.output = {};
  };
  pass_on(guest.send(range(50, 100)).end().take());
  pair.target.memory = resumed.memory;
  pair.expect_same(guest);
}

TEST(Memory, ReceiverRefusesWhoIsNoSender) {
  const auto refused = [](const std::function<void(Buffer&)>& write) {
    MemoryReceiver receiver({.tables = {.kept_pages = 10, .recent_pages = 10}});
    Buffer frames, to_qemu;
    write(frames);
    const Status status = receiver.from_peer(frames, to_qemu);
    EXPECT_TRUE(to_qemu.empty());
    return status ? std::string() : status.error().message;
  };
  const TableLimits fitting{10, 10};
  EXPECT_THAT(refused([](Buffer& out) { write_stream(as_bytes("QEVM"), out); }),
              HasSubstr("does not say who it is"));
  EXPECT_THAT(refused([](Buffer& out) { write_hello({11, 1}, out); }), HasSubstr("keeps 10"));
  EXPECT_THAT(refused([&](Buffer& out) {
                write_hello(fitting, out);
                write_stream(as_bytes("NOPEnope"), out);
              }),
              HasSubstr("no stream of QEMU's"));
  EXPECT_THAT(refused([&](Buffer& out) {
                write_hello(fitting, out);
                write_frame_head(FrameType::kPages, 0, out);
              }),
              HasSubstr("where there can be none"));
  EXPECT_THAT(refused([&](Buffer& out) {
                write_hello(fitting, out);
                write_frame_head(FrameType::kResume, 0, out);
              }),
              HasSubstr("was not cut"));
  EXPECT_THAT(refused([&](Buffer& out) {
                write_hello(fitting, out);
                write_hello(fitting, out);
              }),
              HasSubstr("hello twice"));
  EXPECT_THAT(refused([](Buffer& out) { out.assign(5, std::byte{0x70}); }), HasSubstr("type 112"));
  EXPECT_THAT(refused([](Buffer& out) { write_frame_head(FrameType::kHello, 1 << 24, out); }),
              HasSubstr("16777216 bytes"));
}

TEST(Memory, SenderStopsAtWhatItDoesNotKnow) {
  Pair pair({});
  SenderOutput output;
  const Status status = pair.sender.from_qemu(as_bytes("NOPEnope"), output);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("no stream of QEMU's"));
  EXPECT_TRUE(output.to_peer.empty());
}

TEST(ProfileSink, SeesWhatIsWrittenAndHow) {
  Guest guest(7);
  ProfileSink sink;
  ManualClock clock;
  clock.advance(1s);
  const auto feed = [&](Nanos took) {
    const Buffer stream = guest.take();
    ASSERT_TRUE(sink.feed(clock.now(), stream));
    clock.advance(took);
  };
  guest.begin().send(range(0, kPages));
  feed(2s);
  for (int round = 0; round < 2; ++round) {
    EXPECT_FALSE(sink.is_enough());
    for (uint64_t page = 0; page < 200; ++page) guest.touch(page);
    guest.send(range(0, 200));
    feed(500ms);
  }
  guest.send(range(0, 1));
  feed(0ms);
  EXPECT_TRUE(sink.is_enough());
  EXPECT_FALSE(sink.is_complete());
  const MemoryProfile profile = sink.take();
  EXPECT_EQ(profile.pages, kPages + 8);
  EXPECT_EQ(profile.zero_pages, kPages / 5);
  EXPECT_EQ(profile.written_pages(), 200u);
  EXPECT_EQ(profile.blocks[0].rounds_written[199], 2);
  EXPECT_EQ(profile.rounds.size(), 3u);
  EXPECT_GT(profile.delta_samples, 5u);
  EXPECT_LT(profile.delta_ratio, 0.05);
  EXPECT_EQ(hot_pages_for(profile), HotPages::kKeep);
  EXPECT_NEAR(profile.dirty_pages_per_s(), 400, 1);
}

TEST(ProfileSink, NoticesThatQemuRanToTheEnd) {
  Guest guest(8);
  ProfileSink sink;
  ASSERT_TRUE(sink.feed(Time{1s}, guest.begin().send(range(0, kPages)).end().take()));
  EXPECT_TRUE(sink.is_enough());
  EXPECT_TRUE(sink.is_complete());
  EXPECT_EQ(sink.take().rounds.size(), 1u);
}

}  // namespace
}  // namespace forerun::migrate
