// A pulled overlay by itself: what is remote, what arrives, what the guest's writes make of it, and
// what of that outlives kills and power cuts.
#include <gtest/gtest.h>

#include "core/log.h"
#include "disk/frozen_overlay.h"
#include "disk/overlay_testing.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kPullId = 0x1234;
constexpr uint64_t kBlock = kOverlayBlockSize;

std::vector<BlockRun> some_runs() {
  return {{2, 3, BlockState::kData}, {5, 1, BlockState::kZero}, {8, 1, BlockState::kData}};
}

std::unique_ptr<Overlay> create(StorageFolder& folder, Overlay::Options options = options_of()) {
  auto overlay = open(folder, options);
  overlay->begin_pull(kPullId, some_runs()).value();
  return overlay;
}

std::vector<BlockState> states_of(const Overlay& overlay, uint64_t first, uint64_t count) {
  std::vector<OverlayRun> runs;
  overlay.look_up({first * kBlock, count * kBlock}, runs);
  std::vector<BlockState> states;
  for (const OverlayRun& run : runs)
    states.insert(states.end(), run.range.length / kBlock, run.state);
  return states;
}

TEST(PulledOverlay, WhatTheOtherHostHasIsRemote) {
  CrashableFolder folder(1);
  const auto overlay = create(folder);

  EXPECT_EQ(overlay->pull_id(), kPullId);
  EXPECT_EQ(overlay->remote_blocks(), 4u);
  EXPECT_EQ(overlay->allocated_bytes(), 0u);
  EXPECT_EQ(states_of(*overlay, 4, 5),
            (std::vector{BlockState::kRemote, BlockState::kZero, BlockState::kBase,
                         BlockState::kBase, BlockState::kRemote}));
  EXPECT_EQ(overlay->next_remote({0, kSize}), (ByteRange{2 * kBlock, 3 * kBlock}));
  EXPECT_EQ(overlay->next_remote({3 * kBlock, kBlock}), (ByteRange{3 * kBlock, kBlock}));
  EXPECT_TRUE(overlay->next_remote({5 * kBlock, 3 * kBlock}).empty());
  EXPECT_TRUE(overlay->next_remote({1ull << 40, kBlock}).empty());
  EXPECT_EQ(overlay->next_remote({8 * kBlock, 1ull << 40}), (ByteRange{8 * kBlock, kBlock}));
}

TEST(PulledOverlay, WhatArrivesIsKeptAndWhatTheGuestWroteStays) {
  CrashableFolder folder(1);
  const auto overlay = create(folder);
  ASSERT_TRUE(overlay->write(3 * kBlock, filled(kBlock, 7), no_base));

  ASSERT_TRUE(overlay->put_remote(2 * kBlock, filled(7 * kBlock, 9)));

  EXPECT_EQ(overlay->remote_blocks(), 0u);
  EXPECT_EQ(read_through(*overlay, {2 * kBlock, kBlock}), filled(kBlock, 9));
  EXPECT_EQ(read_through(*overlay, {3 * kBlock, kBlock}), filled(kBlock, 7));
  EXPECT_EQ(read_through(*overlay, {5 * kBlock, kBlock}), filled(kBlock, 0));
  EXPECT_EQ(read_through(*overlay, {6 * kBlock, kBlock}), base_of({6 * kBlock, kBlock}));
}

TEST(PulledOverlay, ADiscardMakesRemoteBlocksZero) {
  CrashableFolder folder(1);
  const auto overlay = create(folder);

  ASSERT_TRUE(overlay->write_zeroes({2 * kBlock, 2 * kBlock}, true, no_base));
  ASSERT_TRUE(overlay->put_remote(2 * kBlock, filled(2 * kBlock, 9)));

  EXPECT_EQ(overlay->remote_blocks(), 2u);
  EXPECT_EQ(read_through(*overlay, {2 * kBlock, 2 * kBlock}), filled(2 * kBlock, 0));
}

TEST(PulledOverlay, AWriteToAPartOfARemoteBlockIsRefused) {
  CrashableFolder folder(1);
  const auto overlay = create(folder);

  const Status written = overlay->write(4 * kBlock + 1, filled(100, 7), no_base);

  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(states_of(*overlay, 4, 1), std::vector{BlockState::kRemote});
}

TEST(PulledOverlay, APowerCutRightAfterItsBeginningLosesNothing) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CrashableFolder folder(seed);
    create(folder);
    folder.cut_power();
    const auto overlay = open(folder);
    EXPECT_EQ(overlay->remote_blocks(), 4u);
    EXPECT_EQ(overlay->pull_id(), kPullId);
  }
}

TEST(PulledOverlay, WhatArrivedAndWasFlushedIsNotAskedForAgain) {
  CrashableFolder folder(1);
  {
    const auto overlay = create(folder);
    ASSERT_TRUE(overlay->put_remote(2 * kBlock, filled(kBlock, 9)));
    ASSERT_TRUE(overlay->flush());
    ASSERT_TRUE(overlay->put_remote(8 * kBlock, filled(kBlock, 9)));
  }
  folder.cut_power(0.0);
  const auto overlay = open(folder);

  EXPECT_EQ(overlay->remote_blocks(), 3u);
  EXPECT_EQ(read_through(*overlay, {2 * kBlock, kBlock}), filled(kBlock, 9));
  EXPECT_EQ(states_of(*overlay, 8, 1), std::vector{BlockState::kRemote});
}

TEST(PulledOverlay, AKilledProcessLosesNothingThatArrived) {
  CrashableFolder folder(1);
  Overlay::Options options = options_of();
  options.boot_token = 3;
  {
    const auto overlay = create(folder, options);
    ASSERT_TRUE(overlay->put_remote(2 * kBlock, filled(kBlock, 9)));
  }
  const auto overlay = open(folder, options);

  EXPECT_EQ(overlay->remote_blocks(), 3u);
  EXPECT_EQ(read_through(*overlay, {2 * kBlock, kBlock}), filled(kBlock, 9));
}

TEST(PulledOverlay, ItsEndIsDurableAndForgetsTheSource) {
  CrashableFolder folder(1);
  {
    const auto overlay = create(folder);
    ASSERT_TRUE(overlay->put_remote(2 * kBlock, filled(3 * kBlock, 9)));
    ASSERT_TRUE(overlay->put_remote(8 * kBlock, filled(kBlock, 9)));
    ASSERT_TRUE(overlay->end_pull());
    EXPECT_EQ(overlay->pull_id(), 0u);
  }
  folder.cut_power(0.0);
  const auto overlay = open(folder);

  EXPECT_EQ(overlay->pull_id(), 0u);
  EXPECT_EQ(overlay->remote_blocks(), 0u);
  EXPECT_EQ(read_through(*overlay, {8 * kBlock, kBlock}), filled(kBlock, 9));
}

TEST(PulledOverlay, AFullDiskAtTheEndIsTriedAgain) {
  CrashableFolder disk(1);
  bool is_full = false;
  const Faults faults{.on_write = [&](const std::string& name) -> Status {
    if (is_full && name == "disk.map.new") return fail(ErrorCode::kNoSpace, "full");
    return {};
  }};
  FaultyFolder folder(disk, faults);
  const auto overlay = create(folder);
  ASSERT_TRUE(overlay->put_remote(2 * kBlock, filled(7 * kBlock, 9)));
  is_full = true;
  EXPECT_EQ(overlay->end_pull().error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(overlay->pull_id(), kPullId);
  is_full = false;

  EXPECT_TRUE(overlay->end_pull());
  EXPECT_EQ(overlay->pull_id(), 0u);
}

TEST(PulledOverlay, RunsThatNoOverlayHasAreRefused) {
  const std::vector<std::vector<BlockRun>> all_wrong = {
      {{0, 1, BlockState::kBase}},          {{0, 1, BlockState::kRemote}},
      {{0, 0, BlockState::kData}},          {{40, 2, BlockState::kData}},
      {{1, UINT64_MAX, BlockState::kData}}, {{4, 2, BlockState::kData}, {5, 1, BlockState::kZero}},
  };
  for (const auto& wrong : all_wrong) {
    CrashableFolder folder(1);
    const auto overlay = open(folder);
    const Status begun = overlay->begin_pull(kPullId, wrong);
    ASSERT_FALSE(begun);
    EXPECT_EQ(begun.error().code, ErrorCode::kInvalid) << begun.error().message;
    EXPECT_EQ(overlay->pull_id(), 0u);
    EXPECT_TRUE(overlay->runs().empty());
  }
}

TEST(PulledOverlay, OneThatHoldsBlocksIsNotReplaced) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  ASSERT_TRUE(overlay->write_zeroes({0, kBlock}, true, no_base));
  EXPECT_EQ(overlay->begin_pull(kPullId, some_runs()).error().code, ErrorCode::kExists);
  CrashableFolder other(1);
  EXPECT_EQ(create(other)->begin_pull(kPullId, some_runs()).error().code, ErrorCode::kExists);
}

TEST(PulledOverlay, ABeginningThatFailsLeavesItAsItWas) {
  CrashableFolder disk(1);
  bool is_full = false;
  const Faults faults{.on_write = [&](const std::string& name) -> Status {
    if (is_full && name == "disk.map.new") return fail(ErrorCode::kNoSpace, "full");
    return {};
  }};
  FaultyFolder folder(disk, faults);
  const auto overlay = open(folder);
  is_full = true;
  EXPECT_EQ(overlay->begin_pull(kPullId, some_runs()).error().code, ErrorCode::kNoSpace);
  is_full = false;
  EXPECT_TRUE(overlay->runs().empty());
  EXPECT_TRUE(overlay->begin_pull(kPullId, some_runs()));
  EXPECT_EQ(overlay->remote_blocks(), 4u);
}

TEST(FrozenOverlay, GivesWhatItHeldWithAChecksumOfThePlace) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  ASSERT_TRUE(overlay->write(2 * kBlock, filled(3 * kBlock, 5), no_base));
  ASSERT_TRUE(overlay->write_zeroes({5 * kBlock, kBlock}, true, no_base));
  const auto frozen = FrozenOverlay::freeze(*overlay, kPullId, kSize, options_of().base).value();

  const OverlayContents contents = frozen->contents().value();
  EXPECT_EQ(contents.runs,
            (std::vector<BlockRun>{{2, 3, BlockState::kData}, {5, 1, BlockState::kZero}}));
  Buffer data(2 * kBlock);
  const uint64_t checksum =
      frozen->read({3 * kBlock, data.size()}, data, iosched::IoClass::kCritical).value();
  EXPECT_EQ(data, filled(data.size(), 5));
  EXPECT_EQ(checksum, piece_checksum(kPullId, 3 * kBlock, data));
  EXPECT_NE(checksum, piece_checksum(kPullId, 2 * kBlock, data));
  EXPECT_NE(checksum, piece_checksum(kPullId + 1, 3 * kBlock, data));
}

TEST(FrozenOverlay, RefusesWhatItDoesNotHold) {
  CrashableFolder folder(1);
  const auto overlay = open(folder);
  ASSERT_TRUE(overlay->write(2 * kBlock, filled(kBlock, 5), no_base));
  const auto frozen = FrozenOverlay::freeze(*overlay, kPullId, kSize, options_of().base).value();
  const auto error_of = [&](ByteRange range) {
    Buffer data(std::min<uint64_t>(range.length, 1 << 20));
    const auto got = frozen->read(range, data, iosched::IoClass::kCritical);
    return got ? ErrorCode::kInternal : got.error().code;
  };

  EXPECT_EQ(error_of({kBlock, kBlock}), ErrorCode::kInvalid);
  EXPECT_EQ(error_of({kBlock, 2 * kBlock}), ErrorCode::kInvalid);
  EXPECT_EQ(error_of({2 * kBlock, 100}), ErrorCode::kInvalid);
  EXPECT_EQ(error_of({2 * kBlock + 1, kBlock}), ErrorCode::kInvalid);
  EXPECT_EQ(error_of({UINT64_MAX - kBlock + 1, kBlock}), ErrorCode::kInvalid);
  EXPECT_EQ(error_of({2 * kBlock, 0}), ErrorCode::kInvalid);
  frozen->stop();
  EXPECT_EQ(error_of({2 * kBlock, kBlock}), ErrorCode::kUnavailable);
}

TEST(FrozenOverlay, OneThatIsItselfBeingPulledIsRefused) {
  CrashableFolder folder(1);
  const auto overlay = create(folder);
  const auto frozen = FrozenOverlay::freeze(*overlay, kPullId, kSize, options_of().base);
  ASSERT_FALSE(frozen);
  EXPECT_EQ(frozen.error().code, ErrorCode::kUnavailable);
}

TEST(OverlayContents, TravelAsBytes) {
  const OverlayContents contents{.pull_id = kPullId,
                                 .size_bytes = kSize,
                                 .base = options_of().base,
                                 .runs = some_runs(),
                                 .requests = {{7, 3, true}, {1ull << 40, 1, false}}};
  const Buffer bytes = serialize(contents);
  const OverlayContents read = parse_overlay_contents(bytes).value();
  EXPECT_EQ(read.pull_id, kPullId);
  EXPECT_EQ(read.size_bytes, kSize);
  EXPECT_EQ(read.base, contents.base);
  EXPECT_EQ(read.runs, contents.runs);
  EXPECT_EQ(read.requests, contents.requests);
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(parse_overlay_contents(ByteView(bytes).first(length)));
}

TEST(RequestLog, KeepsTheLastOnes) {
  const auto log = std::make_unique<RequestLog>();
  EXPECT_TRUE(log->read().empty());
  log->note({100, 2 * kBlock}, false);
  log->note({8 * kBlock, kBlock}, true);
  log->note({0, 1ull << 30}, false);
  EXPECT_EQ(log->read(), (std::vector<LoggedRequest>{
                             {0, 3, false}, {8, 1, true}, {0, LoggedRequest::kCountMax, false}}));
  for (uint64_t i = 0; i < 2 * RequestLog::kRequests; ++i) log->note({i * kBlock, 1}, false);
  EXPECT_EQ(log->read().size(), RequestLog::kRequests);
  EXPECT_EQ(log->read().front().first_block, RequestLog::kRequests);
}

}  // namespace
}  // namespace forerun::disk
