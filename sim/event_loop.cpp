#include "sim/event_loop.h"

#include <utility>

#include "core/result.h"

namespace forerun::sim {

EventLoop::Ticket EventLoop::after(Nanos delay, EventKind kind, uint64_t id, Action action) {
  FR_ASSERT(delay >= 0ns, "an event in the past");
  const Ticket ticket{now_ + delay, rng_.next(), sequence_++};
  events_.emplace(ticket, Event{kind, id, std::move(action)});
  return ticket;
}

bool EventLoop::run_one(Time until) {
  if (events_.empty() || events_.begin()->first.at > until) {
    now_ = until;
    return false;
  }
  const Ticket ticket = events_.begin()->first;
  Event event = std::move(events_.begin()->second);
  events_.erase(events_.begin());
  now_ = ticket.at;
  ++events_run_;
  mix(static_cast<uint64_t>(ticket.at.time_since_epoch().count()));
  mix(ticket.tie);
  mix(static_cast<uint64_t>(event.kind));
  mix(event.id);
  event.action();
  return true;
}

void EventLoop::mix(uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    hash_ ^= (value >> (8 * i)) & 0xff;
    hash_ *= 0x100000001b3;
  }
}

}  // namespace forerun::sim
