// Brings the blocks of a VM that moved here from the host it left, on threads of its own: what the
// guest waits for first. What arrives is checked and put into the overlay; when all of it is here
// and durable the other host is not needed any more.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/time.h"
#include "disk/overlay_source.h"
#include "disk/pull_queue.h"
#include "disk/request_log.h"

namespace forerun::daemon {

// Thread-safe.
class DiskPull {
 public:
  struct Options {
    uint32_t threads = 16;  // pieces asked for at once
    // What has arrived is made durable each time it is so much, so that a power cut costs no more.
    uint64_t flush_bytes = 32 * kMiB;
    disk::PullQueue::Options queue;
  };
  // `overlay` outlives this; it is a pulled one, or becomes one. Nothing is fetched until there is
  // a source.
  DiskPull(Options options, const Clock& clock, disk::Overlay& overlay, uint64_t size_bytes);
  // Stops the source; waits for pieces under way.
  ~DiskPull();

  // Where the blocks come from now. `on_finished` is called once, by a thread of this object
  // without any lock held, when everything is here and durable; it must not destroy this object.
  // REQUIRES: the overlay is a pulled one.
  void start(std::shared_ptr<disk::OverlaySource> source, std::function<void()> on_finished);

  // The guest will want these whole blocks: they are fetched ahead of the rest. Returns false if
  // there is no room for more wishes now.
  bool want_soon(ByteRange range);
  // … sometime, perhaps: after those.
  bool want_sometime(ByteRange range);
  // The guest asked for these, here or not: the rest is fetched ahead of where it reads on.
  void follow(std::span<const disk::LoggedRequest> requests);
  // A guest waits for these whole blocks: they are fetched first.
  void ask(std::span<const ByteRange> ranges);
  // Waits until none of what was asked for is remote, however long the source is away. ERRORS:
  // kUnavailable: abandon() was called.
  Status wait_for(std::span<const ByteRange> ranges);
  // Ends the waits, now and from now on: the guest is gone.
  void abandon();

  struct Count {
    uint64_t pieces = 0, bytes = 0;
  };
  struct Progress {
    uint64_t remote_bytes = 0;               // still at the other host
    Count by_class[iosched::kIoClassCount];  // of what came: waited for, foreseen, the rest
    uint64_t failed_pieces = 0;              // did not come, or came wrong; tried again
    uint64_t wrong_pieces = 0;               // of these: not what the source read
    double rate_bytes_per_s = 0;             // of the link; 0: not known
    bool is_finished = false;
    std::string last_error;  // since the last piece that came; empty: none
  };
  Progress progress() const;

 private:
  void work();
  // Returns the next piece, or nothing: the object ends.
  std::optional<disk::PullTask> next_task();
  // Fetches, checks and stores one.
  Status bring(disk::OverlaySource& source, const disk::PullTask& task, Buffer& buffer);
  void note(const disk::PullTask& task, const Status& brought);
  // Makes durable what came, now and then and at the end.
  void settle();
  bool is_here(std::span<const ByteRange> ranges) const;

  const Options options_;
  const Clock& clock_;
  disk::Overlay& overlay_;

  mutable std::mutex mutex_;  // guards all below; not held while anything is fetched or stored
  std::condition_variable work_changed_, arrived_;
  disk::PullQueue queue_;
  std::shared_ptr<disk::OverlaySource> source_;
  std::function<void()> on_finished_;
  Progress counted_;  // but for what others know
  uint64_t unflushed_bytes_ = 0;
  bool is_settling_ = false;
  Time settle_at_ = kTimeZero;  // after a failure
  bool is_abandoned_ = false, is_stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace forerun::daemon
