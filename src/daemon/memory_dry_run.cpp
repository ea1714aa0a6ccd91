#include "daemon/memory_dry_run.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "os/socket.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kLook = 20ms;
constexpr Nanos kCancelTimeout = std::chrono::seconds(20);
// Far above links: so that a round is short, and does not see as written what is not hot.
constexpr uint64_t kBytesPerSecond = 400'000'000;

// Reads all that QEMU sends, to its end: a QEMU that cannot write amid the last part of a pre-copy
// answers no command. What comes once enough is known is thrown away.
class Reader {
 public:
  Reader(os::Fd listener, Nanos patience, const Clock& clock)
      : listener_(std::move(listener)), patience_(patience), clock_(clock), thread_([this] {
          Status end = read();
          const std::lock_guard lock(mutex_);
          end_ = std::move(end);
          changed_.notify_all();
        }) {}

  // Waits for a moment. Returns whether enough is known, or there is no more to know.
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLook, [this] { return is_enough_ || end_.has_value(); });
  }
  // REQUIRES: QEMU's migration is over. ERRORS: what came could not be read.
  Result<migrate::MemoryProfile> finish() {
    {
      const std::lock_guard lock(mutex_);
      if (stream_) stream_->shut_down();
    }
    thread_.join();
    FR_CHECK(std::move(failure_));
    return sink_.take();
  }

 private:
  Status read() {
    FR_TRY(os::Fd fd, os::accept_connection(listener_.get(), patience_));
    {
      const std::lock_guard lock(mutex_);
      stream_ = std::make_unique<os::SocketStream>(std::move(fd));
    }
    Buffer chunk(256 * kKiB);
    for (;;) {
      FR_TRY(const size_t got, stream_->read_some(chunk));
      if (got == 0) return {};
      if (failure_ && !sink_.is_enough())
        failure_ = sink_.feed(clock_.now(), ByteView(chunk).first(got));
      if (failure_ && !sink_.is_enough()) continue;
      const std::lock_guard lock(mutex_);
      is_enough_ = true;
      changed_.notify_all();
    }
  }

  const os::Fd listener_;
  const Nanos patience_;
  const Clock& clock_;
  migrate::ProfileSink sink_;  // of the thread, and failure_ too
  Status failure_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::unique_ptr<os::SocketStream> stream_;
  bool is_enough_ = false;
  std::optional<Status> end_;
  std::jthread thread_;
};

// Ends QEMU's migration, however it stands, with the guest running.
Status call_off(vmm::MigrationControl& qemu, const Clock& clock) {
  FR_CHECK(qemu.cancel());
  const Time deadline = clock.now() + kCancelTimeout;
  FR_TRY(auto status, qemu.status_of_cancelled());
  while (!status.is_over() && status.state != "none" && clock.now() < deadline) {
    FR_TRY(status, qemu.status_of_cancelled());
  }
  return qemu.run_on([&] { return clock.now() < deadline; });  // it may have completed
}

// Returns once enough is known, or QEMU has stopped the guest to come to an end, or it is `until`.
Status watch(vmm::MigrationControl& qemu, Reader& reader, Time until, const Clock& clock) {
  while (!reader.wait() && clock.now() < until) {
    FR_TRY(const auto status, qemu.status());
    if (status.is_over() || status.state == "pre-switchover") break;
  }
  return {};
}

}  // namespace

Result<migrate::MemoryProfile> dry_run(vmm::MigrationControl& qemu, const std::string& socket_path,
                                       Nanos patience, const Clock& clock) {
  FR_TRY(os::Fd listener, os::listen_unix(socket_path));
  // One that got to its end would give the disks up; QEMU 7.2, cancelled amid that, lets the guest
  // run on without them, and ends by an assertion at its next write. Paused before it, it never
  // does.
  FR_CHECK(qemu.set_capabilities({"events", "pause-before-switchover"}));
  FR_CHECK(qemu.set_parameters({kBytesPerSecond, 1}));
  Reader reader(std::move(listener), patience, clock);
  Status done = qemu.start(socket_path);
  if (done) {
    done = watch(qemu, reader, clock.now() + patience, clock);
    const Status off = call_off(qemu, clock);
    if (done) done = off;
  }
  ::unlink(socket_path.c_str());
  auto profile = reader.finish();
  FR_CHECK(std::move(done));
  return profile;
}

}  // namespace forerun::daemon
