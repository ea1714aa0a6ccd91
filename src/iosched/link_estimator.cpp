#include "iosched/link_estimator.h"

#include <algorithm>

namespace forerun::iosched {

uint64_t LinkEstimate::bandwidth_delay_bytes() const {
  return static_cast<uint64_t>(rate_bytes_per_s * to_seconds(round_trip));
}

LinkEstimator::Start LinkEstimator::on_start(Time now, bool is_alone) {
  if (is_alone || now >= probe_at_ + kProbePatience) probe_at_ = now + kProbeInterval;
  return {now, delivered_bytes_};
}

void LinkEstimator::on_end(const Start& start, uint64_t received_bytes, Time now) {
  delivered_bytes_ += received_bytes;
  const Nanos took = std::max<Nanos>(now - start.at, 1us);
  const double rate =
      static_cast<double>(delivered_bytes_ - start.delivered_bytes) / to_seconds(took);
  const auto latency = static_cast<double>(took.count());

  // The last sample of a window stays even when it is old: an idle link is still the link it was.
  while (!rates_.empty() && rates_.back().value <= rate) rates_.pop_back();
  const auto bytes = static_cast<double>(received_bytes);
  rates_.push_back({now, rate, bytes});
  while (rates_.size() > 1 && rates_.front().at < now - kWindow) rates_.pop_front();
  while (!latencies_.empty() && latencies_.back().value >= latency) latencies_.pop_back();
  latencies_.push_back({now, latency, bytes});
  while (latencies_.size() > 1 && latencies_.front().at < now - kWindow) latencies_.pop_front();
}

LinkEstimate LinkEstimator::estimate() const {
  if (rates_.empty()) return {};
  const double rate = rates_.front().value;
  const Sample& least = latencies_.front();
  // The rate may be a burst's: not all of a latency can be its own bytes'.
  const double round_trip = std::max(least.value - least.bytes / rate * 1e9, least.value / 8);
  return {rate, Nanos(static_cast<int64_t>(round_trip))};
}

}  // namespace forerun::iosched
