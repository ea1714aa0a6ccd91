#include "daemon/pull_foresight.h"

#include <gtest/gtest.h>

#include <future>

#include "daemon/pull_testing.h"

namespace forerun::daemon {
namespace {

using disk::LoggedRequest;
using iosched::IoClass;

// A link that lets nothing of the background through, and tells when what was hoped for was asked
// for.
class PullForesightTest : public testing::Test, protected PulledParts {
 protected:
  PullForesightTest() : PulledParts(4096) {}
  ~PullForesightTest() override {
    foresight_.reset();
    pull_.reset();
  }
  void hope_for(ByteRange hoped_for) {
    source_->on_read = [this, hoped_for](ByteRange range, IoClass io_class) -> Status {
      if (io_class == IoClass::kBackground) return fail(ErrorCode::kUnavailable, "not now");
      const std::lock_guard lock(mutex_);
      if (io_class == IoClass::kPrefetch) foreseen_.push_back(range);
      const bool is_it = intersect(range, hoped_for) == hoped_for;
      if (is_it && !std::exchange(has_come_, true)) came_.set_value();
      return {};
    };
    pull_->start(source_, [] {});
  }
  void wait() { came_.get_future().get(); }
  bool was_foreseen(ByteRange wanted) {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(
        foreseen_, [&](const ByteRange& each) { return intersect(each, wanted) == wanted; });
  }
  void begin(std::vector<LoggedRequest> before) {
    foresight_.emplace(PullForesight::Options{}, clock_, *overlay_, *pull_, std::move(before));
  }

  std::optional<PullForesight> foresight_;

 private:
  std::mutex mutex_;
  std::vector<ByteRange> foreseen_;
  bool has_come_ = false;
  std::promise<void> came_;
};

TEST_F(PullForesightTest, WhatTheGuestUsedLastComesFirst) {
  begin({{900, 1, false}, {2000, 2, false}, {77, 1, true}});
  hope_for({900 * kBlock, kBlock});
  wait();

  for (const ByteRange wanted :
       {ByteRange{77 * kBlock, kBlock}, ByteRange{2000 * kBlock, 2 * kBlock},
        ByteRange{900 * kBlock, kBlock}})
    EXPECT_TRUE(was_foreseen(wanted)) << wanted.offset / kBlock;
}

TEST_F(PullForesightTest, AStrideIsForeseen) {
  const ByteRange next{64 * 32 * kBlock, kBlock};  // that no request has named
  hope_for(next);
  begin({});
  for (uint64_t i = 0; i < 32; ++i) {
    const ByteRange range[] = {{i * 64 * kBlock, kBlock}};
    foresight_->note(LoggedRequest::of(range[0], false));
    pull_->ask(range);
    ASSERT_TRUE(pull_->wait_for(range));
  }
  wait();
  EXPECT_TRUE(was_foreseen(next));
}

}  // namespace
}  // namespace forerun::daemon
