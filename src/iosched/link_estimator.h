// What requests tell of the link they crossed: its rate and its round trip.
// SOURCE: BBR (Cardwell et al., ACM Queue 14(5), 2016): a windowed maximum of delivery-rate samples
// and a windowed minimum of latencies. Changed: a latency sample is a whole request's, so the
// minimum contains the serialisation of the smallest recent request; that only widens the window by
// less than one chunk.
#pragma once

#include <cstdint>
#include <deque>

#include "core/time.h"
#include "iosched/scheduler.h"

namespace forerun::iosched {

// Pure; one thread.
class LinkEstimator {
 public:
  static constexpr Nanos kWindow = std::chrono::seconds(10);

  // What a request has to remember from its start to its end.
  struct Start {
    Time at{};
    uint64_t delivered_bytes = 0;
  };
  Start on_start(Time now) const { return {now, delivered_bytes_}; }
  void on_end(const Start& start, uint64_t received_bytes, Time now);
  LinkEstimate estimate() const;

 private:
  struct Sample {
    Time at{};
    double value = 0;
  };
  std::deque<Sample> rates_;      // decreasing values: the front is the window's maximum
  std::deque<Sample> latencies_;  // increasing values: the front is the window's minimum
  uint64_t delivered_bytes_ = 0;
};

}  // namespace forerun::iosched
