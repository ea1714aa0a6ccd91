#include "daemon/pull_foresight.h"

#include <gtest/gtest.h>

#include <future>

#include "core/log.h"
#include "daemon/disk_pull.h"
#include "disk/overlay_testing.h"

namespace forerun::daemon {
namespace {

using disk::BlockRun;
using disk::BlockState;
using disk::LoggedRequest;
using iosched::IoClass;

constexpr uint64_t kBlock = disk::kOverlayBlockSize;
constexpr uint64_t kBlocks = 4096;
constexpr uint64_t kSize = kBlocks * kBlock;

// A link that lets nothing of the background through, and tells when what was hoped for was asked
// for.
class PickySource final : public disk::OverlaySource {
 public:
  explicit PickySource(std::function<bool(ByteRange)> is_hoped_for)
      : is_hoped_for_(std::move(is_hoped_for)) {}
  void wait() { came_.get_future().get(); }
  std::vector<ByteRange> foreseen() {
    const std::lock_guard lock(mutex_);
    return foreseen_;
  }

  Result<disk::OverlayContents> contents() override {
    return fail(ErrorCode::kUnsupported, "not asked here");
  }
  Result<uint64_t> read(ByteRange range, MutableByteView out, IoClass io_class) override {
    if (io_class == IoClass::kBackground) return fail(ErrorCode::kUnavailable, "not now");
    std::ranges::fill(out, std::byte{1});
    const std::lock_guard lock(mutex_);
    if (io_class == IoClass::kPrefetch) foreseen_.push_back(range);
    if (is_hoped_for_(range) && !std::exchange(has_come_, true)) came_.set_value();
    return disk::piece_checksum(1, range.offset, out);
  }
  void stop() override {}

 private:
  std::mutex mutex_;
  std::function<bool(ByteRange)> is_hoped_for_;
  std::vector<ByteRange> foreseen_;
  bool has_come_ = false;
  std::promise<void> came_;
};

class PullForesightTest : public testing::Test {
 protected:
  PullForesightTest() {
    log::set_level(log::Level::kError);
    overlay_ = disk::open(folder_, disk::options_of(kSize));
    DiskPull::Options options;
    options.queue.retry_first = options.queue.retry_max = Nanos{0};
    pull_.emplace(options, clock_, *overlay_, kSize);
    overlay_->begin_pull(1, std::vector<BlockRun>{{0, kBlocks, BlockState::kData}}).value();
  }
  ~PullForesightTest() override {
    foresight_.reset();
    pull_.reset();
  }
  void begin(std::vector<LoggedRequest> before) {
    foresight_.emplace(PullForesight::Options{}, clock_, *overlay_, *pull_, std::move(before));
  }

  disk::CrashableFolder folder_{1};
  ManualClock clock_;
  std::unique_ptr<disk::Overlay> overlay_;
  std::optional<DiskPull> pull_;
  std::optional<PullForesight> foresight_;
};

TEST_F(PullForesightTest, WhatTheGuestUsedLastComesFirst) {
  const auto source =
      std::make_shared<PickySource>([](ByteRange range) { return range.offset == 900 * kBlock; });
  begin({{900, 1, false}, {2000, 2, false}, {77, 1, true}});
  pull_->start(source, [] {});
  source->wait();

  const std::vector<ByteRange> foreseen = source->foreseen();
  for (const ByteRange wanted :
       {ByteRange{77 * kBlock, kBlock}, ByteRange{2000 * kBlock, 2 * kBlock},
        ByteRange{900 * kBlock, kBlock}})
    EXPECT_NE(std::ranges::find(foreseen, wanted), foreseen.end()) << wanted.offset / kBlock;
}

TEST_F(PullForesightTest, AStrideIsForeseen) {
  // The next one, that no request has named.
  const auto source = std::make_shared<PickySource>(
      [](ByteRange range) { return range.offset == 64 * 32 * kBlock; });
  pull_->start(source, [] {});
  begin({});
  for (uint64_t i = 0; i < 32; ++i) {
    const ByteRange range[] = {{i * 64 * kBlock, kBlock}};
    foresight_->note(LoggedRequest::of(range[0], false));
    pull_->ask(range);
    ASSERT_TRUE(pull_->wait_for(range));
  }
  source->wait();
  EXPECT_FALSE(source->foreseen().empty());
}

}  // namespace
}  // namespace forerun::daemon
