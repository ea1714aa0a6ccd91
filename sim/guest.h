// A guest in virtual time: boots, reads, writes, trims and flushes through a few workers at once,
// shuts down, boots again; and holds every answer against what it knows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/rng.h"
#include "sim/disk_oracle.h"
#include "sim/event_loop.h"
#include "sim/fiber.h"
#include "sim/images.h"
#include "sim/vm_disk.h"

namespace forerun::sim {

// What a guest needs of the world around it.
class GuestHooks {
 public:
  virtual ~GuestHooks() = default;
  // Returns the guest's disk, or null while the host or its daemon is down.
  virtual VmDisk* disk(uint32_t guest) = 0;
  // Counts the daemon's runs: a request that one run got and did not answer is sent again.
  virtual uint64_t daemon_run() const = 0;
  // Returns whether an injected fault explains that the guest's disk fails now.
  virtual bool is_failure_excused(uint32_t guest, const Error& error) = 0;
  // The power went in the middle of an operation; the cut follows when the event has ended.
  virtual bool is_power_off() const = 0;
  virtual VmId start_session(uint32_t guest) = 0;
  virtual void end_session(uint32_t guest) = 0;
  virtual void on_flush_failed(uint32_t guest) = 0;
  virtual void violate(const std::string& what) = 0;
};

struct GuestStats {
  uint64_t reads = 0, writes = 0, flushes = 0, trims = 0;
  uint64_t errors = 0, resent = 0, sessions = 0, boots_finished = 0;
  uint64_t read_bytes = 0;
};

// One thread: the loop's.
class Guest {
 public:
  struct Options {
    uint32_t number = 0;
    Nanos think = 20ms;  // between a worker's requests, on average
    uint32_t workers = 3;
  };
  Guest(uint64_t seed, Options options, EventLoop& loop, GuestHooks& hooks, const SimImage& image);

  // Switches it on. REQUIRES: it is off and is_quiet().
  void power_on();
  // The host lost its power, and so did the guest: whatever it was doing is gone.
  void power_off();
  // From now on it begins nothing new, and shuts down.
  void wind_down() { is_winding_down_ = true; }
  // Returns whether none of its fibers is left.
  bool is_quiet();
  bool is_on() const { return is_on_; }

  // Reads the whole disk and checks it, on a fiber of its own.
  void verify_everything();

  const DiskOracle& oracle() const { return oracle_; }
  const GuestStats& stats() const { return stats_; }

 private:
  enum class End : uint8_t { kDone, kFailed, kGone };  // kGone: the guest lost its power meanwhile

  void spawn(std::function<void()> body);
  void sleep(Nanos span);
  bool is_gone(uint64_t incarnation) const { return incarnation != incarnation_; }
  VmDisk* await_disk(uint64_t incarnation);
  // Decides what a failed request means: to be sent again (nothing returned), or its end.
  std::optional<End> on_error(const Error& error, uint64_t incarnation, const char* what);

  void live(uint64_t incarnation);
  End session(uint64_t incarnation);
  void work(uint64_t incarnation, uint64_t requests);
  End check_survivors(uint64_t incarnation);
  End boot(uint64_t incarnation);
  End read_something(uint64_t incarnation);
  End write_something(uint64_t incarnation);
  End read(uint64_t incarnation, ByteRange range);
  End write(uint64_t incarnation, ByteRange range, bool is_zeroes);
  End flush(uint64_t incarnation);
  End ask_status(uint64_t incarnation);
  ByteRange random_range(uint64_t unit, uint64_t units_max);

  const Options options_;
  EventLoop& loop_;
  GuestHooks& hooks_;
  const SimImage& image_;
  Rng rng_;
  DiskOracle oracle_;
  GuestStats stats_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<ByteRange> writing_;  // under way: workers keep clear of each other's writes
  uint64_t incarnation_ = 0;
  uint32_t workers_busy_ = 0;
  uint64_t hot_at_ = 0;  // where it works mostly
  bool is_on_ = false;
  bool is_winding_down_ = false;
};

}  // namespace forerun::sim
