#include "iosched/scheduler.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "core/result.h"
#include "iosched/fair_queue.h"
#include "iosched/light_flows.h"
#include "iosched/link_estimator.h"

namespace forerun::iosched {
namespace {

// Before the link is known: enough to learn it, too little to be felt.
constexpr double kFirstWindowBytes = 48 * 1024;
// In-flight places that only critical requests may take.
constexpr uint32_t kCriticalReserve = 4;

// Which VMs had critical requests lately: whether there is more than one.
class Readers {
 public:
  void see(VmId vm, Time now) {
    if (now - since_ >= kSpan) {
      before_ = now - since_ < 2 * kSpan ? current_ : Seen{};
      current_ = {};
      since_ = now;
    }
    if (current_.has_one && current_.vm != vm) current_.has_more = true;
    current_.vm = vm;
    current_.has_one = true;
  }
  bool are_several() const {
    return current_.has_more || before_.has_more ||
           (current_.has_one && before_.has_one && current_.vm != before_.vm);
  }

 private:
  static constexpr Nanos kSpan = 5s;
  struct Seen {
    VmId vm{};
    bool has_one = false, has_more = false;
  };
  Seen current_, before_;
  Time since_ = kTimeZero;
};

struct Entry {
  Request request;
  FairQueue::Place place;
  Time queued_at{};
  bool in_flight = false;
  LinkEstimator::Start start;
};

}  // namespace

struct Scheduler::Impl {
  explicit Impl(SchedulerOptions with)
      : options(with),
        queues{FairQueue(shares, true), FairQueue(shares, false), FairQueue(shares, false)} {}

  SchedulerOptions options;
  std::unordered_map<uint64_t, Entry> entries;
  Shares shares;
  std::array<FairQueue, kIoClassCount> queues;
  std::array<ClassStats, kIoClassCount> stats{};
  std::array<double, kIoClassCount> owed_bytes{};  // to a backlogged class, by its floor
  LinkEstimator estimator;
  uint64_t sequence = 0;
  uint32_t in_flight = 0;
  uint64_t in_flight_bytes = 0;
  Readers readers;
  LightFlows light;                                           // of critical requests
  std::unordered_map<uint32_t, uint32_t> critical_in_flight;  // of each VM that has any

  static size_t index(IoClass io_class) { return static_cast<size_t>(io_class); }

  double window_bytes() const {
    const LinkEstimate link = estimator.estimate();
    if (link.rate_bytes_per_s <= 0) return kFirstWindowBytes;
    return std::max(kFirstWindowBytes, static_cast<double>(link.bandwidth_delay_bytes()));
  }

  // Returns whether the link idles unless `bytes` more are under way. What it holds and half a
  // request: with less it idles whenever an answer is a moment late, more only lengthens the queue
  // that a guest's read waits behind (bench/fairness tried 0 to 1 request, and 1.0 to 1.3 windows).
  // Without the half a guest that waits for each read has a tenth less p99, and the link is used to
  // 98 % by requests of mixed lengths, but to 60 to 85 % by those of one length.
  bool has_room(uint64_t bytes, Time now) const {
    if (in_flight_bytes == 0) return true;
    if (estimator.wants_probe(now)) return false;
    double room = window_bytes();
    if (is_probing_up(now)) room *= 1 + options.probe_gain;
    return static_cast<double>(in_flight_bytes) < room + static_cast<double>(bytes) / 2;
  }
  bool is_probing_up(Time now) const {
    if (options.probe_gain <= 0) return false;
    const Nanos round_trip = std::max<Nanos>(estimator.estimate().round_trip, 1us);
    return (now - kTimeZero) / round_trip % 8 == 0;
  }

  struct Choice {
    size_t index = 0;  // of the class
    FairQueue::Next next;
  };
  std::optional<Choice> next_of(size_t index, Time now) {
    const auto next = queues[index].peek(now);
    return next ? std::optional<Choice>({index, *next}) : std::nullopt;
  }
  // The first of the classes from `from` on that has something to send.
  std::optional<Choice> first_of(size_t from, Time now) {
    for (size_t i = from; i < kIoClassCount; ++i)
      if (auto choice = next_of(i, now)) return choice;
    return std::nullopt;
  }
  bool has_place() const { return in_flight < options.in_flight_max; }
  bool has_place_below_critical() const {
    return in_flight + kCriticalReserve < options.in_flight_max;
  }

  // More of this VM would only stand before other guests' reads.
  bool crowds(const FairQueue::Next& next, Time now) const {
    if (next.is_reserved || !readers.are_several()) return false;
    const bool is_light = light.is_light(next.vm);
    const uint32_t kept = is_light ? 0 : std::min(light.at_once(now), kCriticalReserve);
    if (in_flight + kept >= options.in_flight_max) return true;
    return !has_room(next.place.bytes, now) &&
           ((!is_light && light.at_once(now) > 0) || critical_in_flight.contains(next.vm.value) ||
            estimator.wants_probe(now));
  }
  std::optional<Choice> next_critical(Time now) {
    const auto next = next_of(0, now);
    if (!next || !crowds(next->next, now)) return next;
    const auto ahead = queues[0].peek_ahead(now, [this](VmId vm) { return light.is_light(vm); });
    return ahead && !crowds(*ahead, now) ? std::optional<Choice>({0, *ahead}) : std::nullopt;
  }
  void see_critical(VmId vm, Time now) {
    readers.see(vm, now);
    light.arrive(vm, now);
  }
  // A critical request went out (+1) or came back (-1).
  void count_critical(VmId vm, int by) {
    uint32_t& count = critical_in_flight[vm.value];
    count = static_cast<uint32_t>(static_cast<int>(count) + by);
    if (count == 0) critical_in_flight.erase(vm.value);
  }

  bool fifo_has_place() const {
    return stats[1].in_flight + stats[2].in_flight < options.fifo_depth;
  }

  // Returns what to send next, or nothing.
  std::optional<Choice> choose(Time now) {
    if (!has_place()) return std::nullopt;
    if (options.discipline == Discipline::kFifo) {
      if (auto critical = next_of(0, now)) return critical;
      return fifo_has_place() ? first_of(1, now) : std::nullopt;
    }
    for (size_t i = kIoClassCount; i-- > 1 && has_place_below_critical();)
      if (auto choice = next_of(i, now); choice && owed_bytes[i] >= choice->next.place.bytes)
        return choice;
    if (next_of(0, now)) return next_critical(now);
    if (!has_place_below_critical()) return std::nullopt;
    const auto below = first_of(1, now);
    return below && has_room(below->next.place.bytes, now) ? below : std::nullopt;
  }

  // Returns when the clock alone lets something go that cannot now.
  Time held_until(Time now) {
    if (!has_place()) return kTimeNever;
    Time at = queues[0].peek(now) ? kTimeNever : queues[0].ready_at(now);
    for (size_t i = 1; i < kIoClassCount; ++i)
      if (!queues[i].peek(now)) at = std::min(at, queues[i].ready_at(now));
    return at;
  }

  // Bytes of a class are owed in part to the backlogged classes below it.
  void charge(size_t index, uint32_t bytes) {
    owed_bytes[index] = std::max(0.0, owed_bytes[index] - bytes);
    for (size_t lower = index + 1; lower < kIoClassCount; ++lower)
      owed_bytes[lower] =
          queues[lower].is_empty() ? 0 : owed_bytes[lower] + bytes * options.floor_ratio[lower];
  }
};

Scheduler::Scheduler(SchedulerOptions options) : impl_(std::make_unique<Impl>(options)) {
  FR_ASSERT(options.in_flight_max > kCriticalReserve);
}
Scheduler::~Scheduler() = default;

void Scheduler::set_share(VmId vm, const Share& share, Time now) {
  impl_->shares.set(vm, share);
  for (FairQueue& queue : impl_->queues) queue.on_share(vm, now);
}

void Scheduler::forget(VmId vm, Time now) {
  impl_->shares.forget(vm);
  impl_->light.forget(vm);
  for (FairQueue& queue : impl_->queues) queue.on_share(vm, now);
}

bool Scheduler::push(const Request& request, Time now) {
  if (impl_->entries.size() >= impl_->options.queued_max) return false;
  Entry entry{
      request, {request.due, impl_->sequence++, request.key, request.bytes}, now, false, {}};
  if (request.io_class == IoClass::kCritical) entry.place.due = kTimeZero;
  const auto [place, is_new] = impl_->entries.emplace(request.key, entry);
  FR_ASSERT(is_new, "two requests of one key");
  const size_t index = Impl::index(request.io_class);
  if (index == 0) impl_->see_critical(request.vm, now);
  impl_->queues[index].push(request.vm, entry.place, now);
  ++impl_->stats[index].queued;
  return true;
}

void Scheduler::promote(uint64_t key, IoClass io_class, VmId vm, Time now) {
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
    if (to == 0) {
      impl_->readers.see(vm, now);
      impl_->light.arrive(entry.request.vm, now);
      impl_->light.start(entry.request.vm);
      impl_->count_critical(entry.request.vm, 1);
    }
    return;
  }
  impl_->queues[from].erase(entry.request.vm, entry.place);
  --impl_->stats[from].queued;
  entry.request.vm = vm;
  entry.queued_at = now;
  entry.place.sequence = impl_->sequence++;
  if (io_class == IoClass::kCritical) entry.place.due = kTimeZero;
  if (to == 0) impl_->see_critical(vm, now);
  impl_->queues[to].push(vm, entry.place, now);
  ++impl_->stats[to].queued;
}

bool Scheduler::cancel(uint64_t key) {
  const auto found = impl_->entries.find(key);
  if (found == impl_->entries.end() || found->second.in_flight) return false;
  const Request& request = found->second.request;
  if (request.io_class == IoClass::kCritical) return false;
  const size_t index = Impl::index(request.io_class);
  impl_->queues[index].erase(request.vm, found->second.place);
  --impl_->stats[index].queued;
  ++impl_->stats[index].cancelled;
  impl_->entries.erase(found);
  return true;
}

Time Scheduler::ready_at(Time now) const {
  return impl_->choose(now) ? now : std::max(impl_->held_until(now), now + Nanos{1});
}

std::optional<Request> Scheduler::pull(Time now) {
  const auto chosen = impl_->choose(now);
  if (!chosen) return std::nullopt;
  impl_->queues[chosen->index].take(chosen->next, now);
  Entry& entry = impl_->entries.at(chosen->next.place.key);
  entry.in_flight = true;
  entry.start = impl_->estimator.on_start(now, impl_->in_flight == 0);
  ClassStats& stats = impl_->stats[chosen->index];
  --stats.queued;
  ++stats.in_flight;
  stats.in_flight_bytes += entry.request.bytes;
  stats.waited_seconds += to_seconds(now - entry.queued_at);
  ++impl_->in_flight;
  impl_->in_flight_bytes += entry.request.bytes;
  if (chosen->index == 0) {
    impl_->light.start(entry.request.vm);
    impl_->count_critical(entry.request.vm, 1);
  }
  impl_->charge(chosen->index, entry.request.bytes);
  return entry.request;
}

void Scheduler::resize(uint64_t key, uint32_t bytes) {
  Entry& entry = impl_->entries.at(key);
  FR_ASSERT(entry.in_flight);
  uint64_t& of_class = impl_->stats[Impl::index(entry.request.io_class)].in_flight_bytes;
  of_class = of_class - entry.request.bytes + bytes;
  impl_->in_flight_bytes = impl_->in_flight_bytes - entry.request.bytes + bytes;
  entry.request.bytes = bytes;
}

void Scheduler::on_complete(uint64_t key, uint64_t received_bytes, Time now) {
  const auto found = impl_->entries.find(key);
  FR_ASSERT(found != impl_->entries.end() && found->second.in_flight,
            "completion of what is not in flight");
  const Entry& entry = found->second;
  ClassStats& stats = impl_->stats[Impl::index(entry.request.io_class)];
  if (entry.request.io_class == IoClass::kCritical) {
    impl_->light.finish(entry.request.vm, now);
    impl_->count_critical(entry.request.vm, -1);
  }
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
