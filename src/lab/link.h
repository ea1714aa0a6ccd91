// One direction of a link between two ports of the lab's switch: a queue before a wire of a rate
// and a length. Frames are serialised one after the other, then travel, and arrive in order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "core/bytes.h"
#include "core/time.h"

namespace forerun::lab {

// A frame as a TAP device with IFF_VNET_HDR gives it: a virtio_net_hdr of 10 bytes, then the
// Ethernet frame, which may be a packet of up to 64 KiB yet to be segmented.
using Frame = std::shared_ptr<const Buffer>;
inline constexpr size_t kVnetHeaderBytes = 10;
inline constexpr size_t kEthernetHeaderBytes = 14;
inline constexpr size_t kFrameBytesMax = 70'000;

// Returns how many bytes the frame takes on a wire: with the headers of each segment that it will
// be cut into. REQUIRES: at least kVnetHeaderBytes + kEthernetHeaderBytes.
uint64_t wire_bytes(ByteView frame);

struct LinkSettings {
  Nanos delay{};                  // one way, after serialisation
  uint64_t rate_bytes_per_s = 0;  // 0: without limit
  uint64_t queue_bytes_max = 0;   // that wait for the wire; 0: default_queue_bytes
  bool is_up = true;              // false: cut; what is on its way is lost
  bool operator==(const LinkSettings&) const = default;
};

inline constexpr Nanos kLinkDelayMax = std::chrono::seconds(60);
inline constexpr uint64_t kLinkRateMin = 125;  // bytes/s: 1 kbit/s
inline constexpr uint64_t kLinkQueueMax = 256 * kMiB;
inline constexpr uint64_t kLinkFlightMax = 64 * kMiB;  // on the wire; more is dropped

// Returns what a router would have for that rate: 50 ms of it, at least 256 KiB.
uint64_t default_queue_bytes(uint64_t rate_bytes_per_s);

struct LinkCounters {
  uint64_t frames = 0, bytes = 0;  // that arrived
  uint64_t dropped = 0;            // frames: the queue was full
  uint64_t cut = 0;                // frames: the link was down
  bool operator==(const LinkCounters&) const = default;
};

// One thread.
class Link {
 public:
  explicit Link(const LinkSettings& settings) : settings_(settings) {}

  // In force at once, for the frame that is being serialised too; what already travels arrives when
  // it would have. Cutting loses all that is on its way.
  void set(const LinkSettings& settings, Time now);
  const LinkSettings& settings() const { return settings_; }
  const LinkCounters& counters() const { return counters_; }

  void send(Frame frame, Time now);
  // Returns the next frame that has arrived by `now`, or nothing.
  std::optional<Frame> take(Time now);
  // Returns when to call take() next; kTimeNever if nothing is on its way.
  Time next() const;

 private:
  struct Waiting {
    Frame frame;
    uint64_t bytes;
    Time arrived;
  };
  struct Travelling {
    Frame frame;
    uint64_t bytes;
    Time due;
  };
  void advance(Time now);
  Time end_of_first() const;  // of its serialisation

  LinkSettings settings_;
  LinkCounters counters_;
  std::deque<Waiting> waiting_;
  std::deque<Travelling> travelling_;
  uint64_t waiting_bytes_ = 0, travelling_bytes_ = 0;
  Time free_at_ = kTimeZero;  // when the last frame was serialised
};

}  // namespace forerun::lab
