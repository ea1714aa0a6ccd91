// What requests tell of the link they crossed: its rate and its round trip.
// SOURCE: BBR (Cardwell et al., ACM Queue 14(5), 2016): a windowed maximum of delivery-rate samples
// and a windowed minimum of latencies. A latency is a whole request's: the time that its own bytes
// take at the rate is taken off it. As with BBR (its ProbeRTT), a link that is kept full shows only
// latencies with the queue in them, and a window made from those grows without end; so now and then
// one request has to go while nothing else is under way.
#pragma once

#include <cstdint>
#include <deque>

#include "core/time.h"
#include "iosched/scheduler.h"

namespace forerun::iosched {

// Pure; one thread.
class LinkEstimator {
 public:
  static constexpr Nanos kWindow = std::chrono::seconds(15);
  static constexpr Nanos kProbeInterval = std::chrono::seconds(10);
  // A link that does not run empty in this time is not waited for.
  static constexpr Nanos kProbePatience = std::chrono::seconds(1);

  // What a request has to remember from its start to its end.
  struct Start {
    Time at{};
    uint64_t delivered_bytes = 0;
  };
  // `is_alone`: nothing else is under way.
  Start on_start(Time now, bool is_alone);
  // Returns whether the link should run empty, so that the next request shows its latency.
  bool wants_probe(Time now) const {
    return !rates_.empty() && now >= probe_at_ && now < probe_at_ + kProbePatience;
  }
  void on_end(const Start& start, uint64_t received_bytes, Time now);
  LinkEstimate estimate() const;

 private:
  struct Sample {
    Time at{};
    double value = 0;
    double bytes = 0;  // of the request
  };
  std::deque<Sample> rates_;      // decreasing values: the front is the window's maximum
  std::deque<Sample> latencies_;  // increasing values: the front is the window's minimum
  uint64_t delivered_bytes_ = 0;
  Time probe_at_ = kTimeZero;
};

}  // namespace forerun::iosched
