// The vocabulary of launch prediction: hosts, manifests and ticks as small numbers, and a piece:
// one way of seeing what will be launched where. Pure: no os, no clock, no threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace forerun::forecast {

// What is predicted. A cell is one manifest on one host: index host × manifests + manifest. Tick k
// is the time from k·tick_s (exclusive) to (k+1)·tick_s seconds (inclusive).
struct LaunchShape {
  uint32_t hosts = 0;
  uint32_t manifests = 0;
  uint32_t tick_s = 300;
  uint32_t window_ticks = 2;  // a prediction is about this many ticks, beginning with its own
  uint32_t tenants = 1;       // told apart; 0 stands for one that is not known

  size_t cells() const { return size_t{hosts} * manifests; }
  size_t cell(uint32_t host, uint32_t manifest) const {
    return size_t{host} * manifests + manifest;
  }
  // Returns a span of seconds in ticks, at least 1.
  uint32_t ticks_of(uint32_t seconds) const { return seconds > tick_s ? seconds / tick_s : 1; }
  uint32_t hour_of(int64_t tick) const {
    return static_cast<uint32_t>(second_of(tick) / 3600 % 24);
  }
  uint32_t weekday_of(int64_t tick) const {
    return static_cast<uint32_t>(second_of(tick) / 86400 % 7);
  }

 private:
  uint64_t second_of(int64_t tick) const { return static_cast<uint64_t>(tick) * tick_s; }
};

// Limits that keep every table small; a caller refuses what is over them.
inline constexpr uint32_t kLaunchHostsMax = 4096;
inline constexpr uint32_t kLaunchManifestsMax = 1024;
inline constexpr size_t kLaunchCellsMax = size_t{1} << 20;
inline constexpr uint32_t kLaunchWindowTicksMax = 64;
inline constexpr uint32_t kLaunchTenantsMax = 64;

// What was launched of one manifest on one host within one tick; a tick names a cell once.
struct Launched {
  uint32_t host = 0;
  uint32_t manifest = 0;
  uint32_t batches = 0;   // requests: VMs started together count once
  uint32_t launches = 0;  // VMs
  uint32_t tenant = 0;    // of the last of the batches
};

// VMs of one manifest ended on one host within one tick; a tick names a cell once.
struct Stopped {
  uint32_t host = 0;
  uint32_t manifest = 0;
};

// One way of seeing. Ticks come in order; one that was not observed is left out of both calls. One
// thread. A new piece is one file and one line in launch_pieces.cpp.
class LaunchPiece {
 public:
  virtual ~LaunchPiece() = default;
  virtual std::string_view name() const = 0;
  // Sets, for each cell, the probability that it sees a launch in the window that begins with
  // `tick`. What happened before `tick` is all that was learned.
  virtual void foresee(int64_t tick, std::span<float> probability) = 0;
  virtual void learn(int64_t tick, std::span<const Launched> launched) = 0;
  // What ended in `tick`; called before its learn(), and only if there was something.
  virtual void learn_stops(int64_t /*tick*/, std::span<const Stopped> /*stopped*/) {}
};

}  // namespace forerun::forecast
