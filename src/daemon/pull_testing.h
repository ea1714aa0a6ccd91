// What the tests of a pull share: a disk all of whose blocks are at another host that is not there.
#pragma once

#include <functional>

#include "core/log.h"
#include "daemon/disk_pull.h"
#include "disk/overlay_testing.h"

namespace forerun::daemon {

inline constexpr uint64_t kBlock = disk::kOverlayBlockSize;
inline constexpr uint64_t kPullId = 5;

inline Buffer content_of(ByteRange range) {
  Buffer content(range.length);
  for (size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<std::byte>((range.offset + i) / 512 * 7 + (range.offset + i) % 13);
  return content;
}

// Answers from content_of, unless told to do otherwise.
class FakeSource final : public disk::OverlaySource {
 public:
  // Is called first by each read; an error is what the read returns.
  std::function<Status(ByteRange, iosched::IoClass)> on_read =
      [](ByteRange, iosched::IoClass) -> Status { return {}; };
  std::atomic<int> wrong_left{0};  // reads whose data comes flipped

  Result<disk::OverlayContents> contents() override {
    return fail(ErrorCode::kUnsupported, "not asked here");
  }
  Result<uint64_t> read(ByteRange range, MutableByteView out, iosched::IoClass io_class) override {
    if (is_stopped_) return fail(ErrorCode::kUnavailable, "stopped");
    FR_CHECK(on_read(range, io_class));
    const Buffer content = content_of(range);
    std::ranges::copy(content, out.begin());
    const uint64_t checksum = disk::piece_checksum(kPullId, range.offset, out);
    if (wrong_left.fetch_sub(1) > 0) out[out.size() / 2] ^= std::byte{1};
    return checksum;
  }
  void stop() override { is_stopped_ = true; }

 private:
  std::atomic<bool> is_stopped_{false};
};

struct PulledParts {
  explicit PulledParts(uint64_t blocks) : size_(blocks * kBlock) {
    log::set_level(log::Level::kError);
    overlay_ = disk::open(folder_, disk::options_of(size_));
    DiskPull::Options options;
    options.threads = 8;
    options.queue.retry_first = options.queue.retry_max = Nanos{0};  // the clock stands still
    pull_.emplace(options, clock_, *overlay_, size_);
    overlay_->begin_pull(kPullId, std::vector<disk::BlockRun>{{0, blocks, disk::BlockState::kData}})
        .value();
  }

  const uint64_t size_;
  disk::CrashableFolder folder_{1};
  ManualClock clock_;
  std::unique_ptr<disk::Overlay> overlay_;
  std::shared_ptr<FakeSource> source_ = std::make_shared<FakeSource>();
  std::optional<DiskPull> pull_;
};

}  // namespace forerun::daemon
