#include "iosched/link_estimator.h"

#include <algorithm>

namespace forerun::iosched {

uint64_t LinkEstimate::bandwidth_delay_bytes() const {
  return static_cast<uint64_t>(rate_bytes_per_s * to_seconds(round_trip));
}

void LinkEstimator::on_end(const Start& start, uint64_t received_bytes, Time now) {
  delivered_bytes_ += received_bytes;
  const Nanos took = std::max<Nanos>(now - start.at, 1us);
  const double rate =
      static_cast<double>(delivered_bytes_ - start.delivered_bytes) / to_seconds(took);
  const auto latency = static_cast<double>(took.count());

  // The last sample of a window stays even when it is old: an idle link is still the link it was.
  while (!rates_.empty() && rates_.back().value <= rate) rates_.pop_back();
  rates_.push_back({now, rate});
  while (rates_.size() > 1 && rates_.front().at < now - kWindow) rates_.pop_front();
  while (!latencies_.empty() && latencies_.back().value >= latency) latencies_.pop_back();
  latencies_.push_back({now, latency});
  while (latencies_.size() > 1 && latencies_.front().at < now - kWindow) latencies_.pop_front();
}

LinkEstimate LinkEstimator::estimate() const {
  if (rates_.empty()) return {};
  return {rates_.front().value, Nanos(static_cast<int64_t>(latencies_.front().value))};
}

}  // namespace forerun::iosched
