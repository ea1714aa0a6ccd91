#include "daemon/disk_pull.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "daemon/disk_gate.h"

namespace forerun::daemon {

using iosched::IoClass;

namespace {

constexpr Nanos kSettleRetry = 1s;

}  // namespace

DiskPull::DiskPull(Options options, const Clock& clock, disk::Overlay& overlay, uint64_t size_bytes)
    : options_(options),
      clock_(clock),
      overlay_(overlay),
      queue_(options.queue, overlay, size_bytes) {}

DiskPull::~DiskPull() {
  std::shared_ptr<disk::OverlaySource> source;
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = is_abandoned_ = true;
    source = source_;
  }
  if (source) source->stop();
  work_changed_.notify_all();
  arrived_.notify_all();
  threads_.clear();
}

void DiskPull::start(std::shared_ptr<disk::OverlaySource> source,
                     std::function<void()> on_finished) {
  std::shared_ptr<disk::OverlaySource> before;
  {
    const std::lock_guard lock(mutex_);
    FR_ASSERT(overlay_.pull_id() != 0 || counted_.is_finished);
    before = std::exchange(source_, std::move(source));
    on_finished_ = std::move(on_finished);
    while (threads_.size() < options_.threads) threads_.emplace_back([this] { work(); });
  }
  if (before) before->stop();
  work_changed_.notify_all();
}

bool DiskPull::want_soon(ByteRange range) {
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.want(range, IoClass::kPrefetch, clock_.now())) return false;
  }
  work_changed_.notify_one();
  return true;
}

bool DiskPull::want_sometime(ByteRange range) {
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.want_sometime(range, clock_.now())) return false;
  }
  work_changed_.notify_one();
  return true;
}

void DiskPull::follow(std::span<const disk::LoggedRequest> requests) {
  const std::lock_guard lock(mutex_);
  for (const disk::LoggedRequest& request : requests) {
    // Ahead of a guest that writes on stands what it will overwrite.
    if (request.is_write) continue;
    queue_.follow({request.first_block * disk::kOverlayBlockSize,
                   request.block_count * uint64_t{disk::kOverlayBlockSize}});
  }
}

bool DiskPull::is_here(std::span<const ByteRange> ranges) const {
  return std::ranges::all_of(
      ranges, [this](const ByteRange& range) { return overlay_.next_remote(range).empty(); });
}

void DiskPull::ask(std::span<const ByteRange> ranges) {
  {
    const std::lock_guard lock(mutex_);
    const Time now = clock_.now();
    for (const ByteRange& range : ranges) queue_.want(range, IoClass::kCritical, now);
  }
  work_changed_.notify_all();
}

Status DiskPull::wait_for(std::span<const ByteRange> ranges) {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [&] { return is_abandoned_ || is_here(ranges); });
  if (is_here(ranges)) return {};
  return fail(ErrorCode::kUnavailable, "the VM ended while its disk was being pulled");
}

void DiskPull::abandon() {
  {
    const std::lock_guard lock(mutex_);
    is_abandoned_ = true;
  }
  arrived_.notify_all();
}

std::optional<disk::PullTask> DiskPull::next_task() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_ && !counted_.is_finished) {
    const Time now = clock_.now();
    if (const auto task = queue_.pull(now)) return task;
    const bool is_all = overlay_.remote_blocks() == 0 && queue_.in_flight() == 0;
    if (is_all && !is_settling_ && now >= settle_at_) {
      lock.unlock();
      settle();
      lock.lock();
      continue;
    }
    Time wake_at = queue_.ready_at(now);
    if (overlay_.remote_blocks() == 0) wake_at = std::min(wake_at, std::max(settle_at_, now + 1ms));
    if (wake_at == kTimeNever) {
      work_changed_.wait(lock);
    } else {
      work_changed_.wait_for(lock, wake_at - now);
    }
  }
  return std::nullopt;
}

void DiskPull::work() {
  Buffer buffer;
  while (const auto task = next_task()) {
    std::shared_ptr<disk::OverlaySource> source;
    {
      const std::lock_guard lock(mutex_);
      source = source_;
    }
    note(*task, bring(*source, *task, buffer));
    settle();
  }
}

Status DiskPull::bring(disk::OverlaySource& source, const disk::PullTask& task, Buffer& buffer) {
  buffer.resize(task.range.length);
  FR_TRY(const uint64_t checksum, source.read(task.range, buffer, task.io_class));
  if (checksum != disk::piece_checksum(overlay_.pull_id(), task.range.offset, buffer)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("bytes {}+{} of the disk came wrong from the other host",
                            task.range.offset, task.range.length));
  }
  const DiskGate::Purpose purpose(options_.queue.vm, task.io_class);
  return overlay_.put_remote(task.range.offset, buffer);
}

void DiskPull::note(const disk::PullTask& task, const Status& brought) {
  {
    const std::lock_guard lock(mutex_);
    queue_.on_complete(task, brought.has_value(), clock_.now());
    if (brought) {
      unflushed_bytes_ += task.range.length;
      Count& count = counted_.by_class[static_cast<size_t>(task.io_class)];
      ++count.pieces;
      count.bytes += task.range.length;
      counted_.last_error.clear();
    } else {
      ++counted_.failed_pieces;
      counted_.wrong_pieces += brought.error().code == ErrorCode::kCorrupt ? 1 : 0;
      if (counted_.last_error.empty())
        log::warn("a disk's blocks do not come, and are asked for again: {}",
                  brought.error().message);
      counted_.last_error = brought.error().message;
    }
  }
  arrived_.notify_all();
  work_changed_.notify_all();
}

void DiskPull::settle() {
  std::function<void()> on_finished;
  {
    std::unique_lock lock(mutex_);
    const Time now = clock_.now();
    const bool is_all =
        overlay_.remote_blocks() == 0 && queue_.in_flight() == 0 && overlay_.pull_id() != 0;
    const bool is_due = is_all || unflushed_bytes_ >= options_.flush_bytes;
    if (!is_due || is_settling_ || counted_.is_finished || now < settle_at_) return;
    is_settling_ = true;
    unflushed_bytes_ = 0;
    lock.unlock();
    const Status settled = is_all ? overlay_.end_pull() : overlay_.flush();
    lock.lock();
    is_settling_ = false;
    if (!settled) {
      settle_at_ = clock_.now() + kSettleRetry;
      counted_.last_error = settled.error().message;
      log::warn("a pulled disk cannot be made durable: {}", settled.error().message);
    } else if (is_all) {
      counted_.is_finished = true;
      on_finished = std::exchange(on_finished_, nullptr);
    }
  }
  work_changed_.notify_all();
  if (on_finished) on_finished();
}

DiskPull::Progress DiskPull::progress() const {
  const std::lock_guard lock(mutex_);
  Progress progress = counted_;
  progress.remote_bytes = overlay_.remote_blocks() * disk::kOverlayBlockSize;
  progress.rate_bytes_per_s = queue_.link().rate_bytes_per_s;
  return progress;
}

}  // namespace forerun::daemon
