#include "daemon/stall_meter.h"

#include <algorithm>

namespace forerun::daemon {

void StallMeter::on_wait_begin(Time now) {
  const std::lock_guard lock(mutex_);
  if (waiting_++ == 0) stalled_since_ = now;
}

void StallMeter::on_wait_end(Time now, Nanos waited) {
  const std::lock_guard lock(mutex_);
  const auto seconds = static_cast<float>(to_seconds(waited));
  if (waits_seconds_.size() < kWaitsMax)
    waits_seconds_.push_back(seconds);
  else
    waits_seconds_[wait_count_ % kWaitsMax] = seconds;
  ++wait_count_;
  if (--waiting_ == 0) add(stalled_since_, now);
}

void StallMeter::add(Time begin, Time end) {
  stalled_ += end - begin;
  while (begin < end) {
    const auto bin = static_cast<size_t>((begin - start_) / kBin);
    if (bin >= kBinsMax) return;
    const Time bin_end = start_ + kBin * static_cast<int64_t>(bin + 1);
    const Time part_end = std::min(end, bin_end);
    if (bins_us_.size() <= bin) bins_us_.resize(bin + 1);
    bins_us_[bin] += static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(part_end - begin).count());
    begin = part_end;
  }
}

StallMeter::Reading StallMeter::read(Time now) const {
  StallMeter copy(start_);
  {
    const std::lock_guard lock(mutex_);
    copy.waiting_ = waiting_;
    copy.stalled_ = stalled_;
    copy.stalled_since_ = stalled_since_;
    copy.bins_us_ = bins_us_;
    copy.waits_seconds_ = waits_seconds_;
    copy.wait_count_ = wait_count_;
  }
  if (copy.waiting_ > 0 && now > copy.stalled_since_) copy.add(copy.stalled_since_, now);
  Reading reading;
  reading.stall_seconds = to_seconds(copy.stalled_);
  reading.is_stalled = copy.waiting_ > 0;
  reading.waits = copy.wait_count_;
  auto& waits = copy.waits_seconds_;
  std::sort(waits.begin(), waits.end());
  if (!waits.empty()) {
    reading.p50_seconds = waits[(waits.size() - 1) / 2];
    reading.p99_seconds = waits[(waits.size() - 1) * 99 / 100];
  }
  for (const uint32_t us : copy.bins_us_)
    reading.bin_ms.push_back(static_cast<uint16_t>((us + 500) / 1000));
  return reading;
}

}  // namespace forerun::daemon
