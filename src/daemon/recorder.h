// Records what running VMs ask of their disks, for whoever collects it: `forerun record`. Nothing
// is kept but a ring per recording, which loses requests, and counts them, rather than delay a
// guest.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "api/service.h"
#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"
#include "trace/block_trace.h"
#include "trace/lossy_ring.h"

namespace forerun::daemon {

// One recording of one disk. What is public: any thread.
class Recording {
 public:
  Recording(std::string id, Time started, size_t requests_max)
      : id_(std::move(id)), started_(started), ring_(requests_max) {}

  // A client asks for that range, in bytes: written down as the sectors that hold it. A request of
  // nothing, and one after the end, is none.
  void note(Time now, trace::Op op, ByteRange range) noexcept;
  bool is_on() const noexcept { return end_reason_.load(std::memory_order_acquire) == nullptr; }
  // The first reason counts. REQUIRES: `reason` lives for ever.
  void end(const char* reason) noexcept {
    const char* none = nullptr;
    end_reason_.compare_exchange_strong(none, reason, std::memory_order_acq_rel);
  }
  const std::string& id() const { return id_; }

 private:
  friend class Recorder;
  const std::string id_;
  const Time started_;
  trace::LossyRing<trace::BlockRequest> ring_;
  std::atomic<const char*> end_reason_{nullptr};
  Time collected_{};  // the recorder's mutex guards it
};

// Thread-safe.
class Recorder {
 public:
  struct Options {
    size_t requests_max = 1 << 16;              // of one recording that wait to be collected: 4 MiB
    size_t recordings_max = 16;                 // of all VMs
    size_t collected_max = 1 << 14;             // requests given out at once
    Nanos patience = std::chrono::seconds(20);  // a recording that nobody collects ends then
  };
  Recorder(Options options, const Clock& clock) : options_(options), clock_(clock) {}

  // ERRORS: kExists if the VM is being recorded; kTooLarge if too many are.
  Result<std::shared_ptr<Recording>> start(const std::string& vm);
  // Gives out what was noted since the last time, and with `ends` stops to note. A recording that
  // has ended is forgotten once all of it was given out. ERRORS: kNotFound: that VM has no
  // recording of that name (any more).
  Result<api::RecordedRequests> collect(const std::string& vm, const std::string& id, bool ends);
  // Ends recordings that nobody collects, and forgets what such ones held.
  void tick();

 private:
  const Options options_;
  const Clock& clock_;
  std::mutex mutex_;                                              // guards all below
  std::map<std::string, std::shared_ptr<Recording>> recordings_;  // by VM
  uint64_t next_id_ = 1;
};

}  // namespace forerun::daemon
