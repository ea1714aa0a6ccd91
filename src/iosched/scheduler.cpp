#include "iosched/scheduler.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "core/result.h"
#include "iosched/link_estimator.h"

namespace forerun::iosched {
namespace {

// Before the link is known: enough to learn it, too little to be felt.
constexpr uint64_t kFirstWindowBytes = 64 * 1024;
// Of the bandwidth × delay product. At 1 a request that is a moment late leaves the link idle: at
// 20 Mbit/s and 20 ms a learned boot then used three quarters of it. More only lengthens the queue
// that a guest's read waits behind (bench/predict_quick: 3-4 chunks in flight are best there).
constexpr double kWindowGain = 1.3;
// In-flight places that only critical requests may take.
constexpr uint32_t kCriticalReserve = 4;

struct QueueOrder {
  Time due{};
  uint64_t sequence = 0;
  uint64_t key = 0;
  auto operator<=>(const QueueOrder&) const = default;
};

struct Entry {
  Request request;
  QueueOrder order;
  Time queued_at{};
  bool in_flight = false;
  LinkEstimator::Start start;
};

}  // namespace

struct Scheduler::Impl {
  explicit Impl(SchedulerOptions with) : options(with) {}

  SchedulerOptions options;
  std::unordered_map<uint64_t, Entry> entries;
  // Within a class: by due time, then by arrival. Weighted fair queuing among VMs will replace this
  // order.
  std::array<std::set<QueueOrder>, kIoClassCount> queues;
  std::array<ClassStats, kIoClassCount> stats{};
  std::array<double, kIoClassCount> owed_bytes{};  // to a backlogged class, by its floor
  LinkEstimator estimator;
  uint64_t sequence = 0;
  uint32_t in_flight = 0;
  uint64_t in_flight_bytes = 0;

  static size_t index(IoClass io_class) { return static_cast<size_t>(io_class); }

  uint64_t window_bytes() const {
    const LinkEstimate link = estimator.estimate();
    if (link.rate_bytes_per_s <= 0) return kFirstWindowBytes;
    const auto product = static_cast<double>(link.bandwidth_delay_bytes());
    return std::max(kFirstWindowBytes, static_cast<uint64_t>(product * kWindowGain));
  }

  bool floor_is_due(size_t index) const {
    if (queues[index].empty()) return false;
    return owed_bytes[index] >= entries.at(queues[index].begin()->key).request.bytes;
  }

  // Returns the class to serve next, or nothing.
  std::optional<size_t> choose() const {
    if (in_flight >= options.in_flight_max) return std::nullopt;
    const bool place_below_critical = in_flight + kCriticalReserve < options.in_flight_max;
    if (options.discipline == Discipline::kFifo) {
      if (!queues[0].empty()) return 0;
      const uint64_t ahead = stats[1].in_flight + stats[2].in_flight;
      for (size_t i = 1; i < kIoClassCount; ++i)
        if (!queues[i].empty() && ahead < options.fifo_depth) return i;
      return std::nullopt;
    }
    for (size_t i = kIoClassCount; i-- > 1;)
      if (place_below_critical && floor_is_due(i)) return i;
    if (!queues[0].empty()) return 0;
    if (!place_below_critical || in_flight_bytes >= window_bytes()) return std::nullopt;
    for (size_t i = 1; i < kIoClassCount; ++i)
      if (!queues[i].empty()) return i;
    return std::nullopt;
  }

  // Bytes of a class are owed in part to the backlogged classes below it.
  void charge(size_t index, uint32_t bytes) {
    owed_bytes[index] = std::max(0.0, owed_bytes[index] - bytes);
    for (size_t lower = index + 1; lower < kIoClassCount; ++lower)
      owed_bytes[lower] =
          queues[lower].empty() ? 0 : owed_bytes[lower] + bytes * options.floor_ratio[lower];
  }
};

Scheduler::Scheduler(SchedulerOptions options) : impl_(std::make_unique<Impl>(options)) {
  FR_ASSERT(options.in_flight_max > kCriticalReserve);
}
Scheduler::~Scheduler() = default;

bool Scheduler::push(const Request& request, Time now) {
  if (impl_->entries.size() >= impl_->options.queued_max) return false;
  Entry entry{request, {request.due, impl_->sequence++, request.key}, now, false, {}};
  if (request.io_class == IoClass::kCritical) entry.order.due = kTimeZero;
  const auto [place, is_new] = impl_->entries.emplace(request.key, entry);
  FR_ASSERT(is_new, "two requests of one key");
  const size_t index = Impl::index(request.io_class);
  impl_->queues[index].insert(entry.order);
  ++impl_->stats[index].queued;
  return true;
}

void Scheduler::promote(uint64_t key, IoClass io_class, Time now) {
  const auto found = impl_->entries.find(key);
  if (found == impl_->entries.end() || found->second.request.io_class <= io_class) return;
  Entry& entry = found->second;
  const size_t from = Impl::index(entry.request.io_class);
  const size_t to = Impl::index(io_class);
  entry.request.io_class = io_class;
  ++impl_->stats[to].promoted;
  if (entry.in_flight) {
    --impl_->stats[from].in_flight;
    impl_->stats[from].in_flight_bytes -= entry.request.bytes;
    ++impl_->stats[to].in_flight;
    impl_->stats[to].in_flight_bytes += entry.request.bytes;
    return;
  }
  impl_->queues[from].erase(entry.order);
  --impl_->stats[from].queued;
  entry.queued_at = now;
  entry.order.sequence = impl_->sequence++;
  if (io_class == IoClass::kCritical) entry.order.due = kTimeZero;
  impl_->queues[to].insert(entry.order);
  ++impl_->stats[to].queued;
}

bool Scheduler::cancel(uint64_t key) {
  const auto found = impl_->entries.find(key);
  if (found == impl_->entries.end() || found->second.in_flight) return false;
  const size_t index = Impl::index(found->second.request.io_class);
  impl_->queues[index].erase(found->second.order);
  --impl_->stats[index].queued;
  ++impl_->stats[index].cancelled;
  impl_->entries.erase(found);
  return true;
}

bool Scheduler::is_ready(Time) const { return impl_->choose().has_value(); }

std::optional<Request> Scheduler::pull(Time now) {
  const auto chosen = impl_->choose();
  if (!chosen) return std::nullopt;
  auto& queue = impl_->queues[*chosen];
  Entry& entry = impl_->entries.at(queue.begin()->key);
  queue.erase(queue.begin());
  entry.in_flight = true;
  entry.start = impl_->estimator.on_start(now);
  ClassStats& stats = impl_->stats[*chosen];
  --stats.queued;
  ++stats.in_flight;
  stats.in_flight_bytes += entry.request.bytes;
  stats.waited_seconds += to_seconds(now - entry.queued_at);
  ++impl_->in_flight;
  impl_->in_flight_bytes += entry.request.bytes;
  impl_->charge(*chosen, entry.request.bytes);
  return entry.request;
}

void Scheduler::on_complete(uint64_t key, uint64_t received_bytes, Time now) {
  const auto found = impl_->entries.find(key);
  FR_ASSERT(found != impl_->entries.end() && found->second.in_flight,
            "completion of what is not in flight");
  const Entry& entry = found->second;
  ClassStats& stats = impl_->stats[Impl::index(entry.request.io_class)];
  --stats.in_flight;
  stats.in_flight_bytes -= entry.request.bytes;
  ++stats.done;
  stats.done_bytes += received_bytes;
  --impl_->in_flight;
  impl_->in_flight_bytes -= entry.request.bytes;
  if (received_bytes > 0) impl_->estimator.on_end(entry.start, received_bytes, now);
  impl_->entries.erase(found);
}

LinkEstimate Scheduler::link() const { return impl_->estimator.estimate(); }

const ClassStats& Scheduler::stats(IoClass io_class) const {
  return impl_->stats[Impl::index(io_class)];
}

}  // namespace forerun::iosched
