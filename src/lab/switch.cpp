#include "lab/switch.h"

#include "core/result.h"

namespace forerun::lab {
namespace {

constexpr size_t kAddressBytes = 6;

uint64_t address_at(ByteView frame, size_t at) {
  uint64_t address = 0;
  for (size_t i = 0; i < kAddressBytes; ++i)
    address = address << 8 | std::to_integer<uint64_t>(frame[kVnetHeaderBytes + at + i]);
  return address;
}

bool is_group(uint64_t address) { return (address >> 40 & 1) != 0; }

}  // namespace

Switch::Switch(size_t ports, const LinkSettings& settings)
    : ports_(ports), links_(ports * ports, Link(settings)) {
  FR_ASSERT(ports >= 2 && ports <= kPortsMax);
}

void Switch::set_link(size_t from, size_t to, const LinkSettings& settings, Time now) {
  FR_ASSERT(from < ports_ && to < ports_ && from != to);
  at(from, to).set(settings, now);
}

void Switch::learn(uint64_t address, size_t port) {
  if (is_group(address)) return;
  if (port_of_.size() >= kAddressesMax && !port_of_.contains(address)) port_of_.clear();
  port_of_[address] = port;
}

void Switch::receive(size_t port, ByteView frame, Time now) {
  FR_ASSERT(port < ports_);
  if (frame.size() < kVnetHeaderBytes + kEthernetHeaderBytes || frame.size() > kFrameBytesMax)
    return;
  const uint64_t destination = address_at(frame, 0);
  learn(address_at(frame, kAddressBytes), port);
  const auto shared = std::make_shared<const Buffer>(frame.begin(), frame.end());
  const auto known = is_group(destination) ? port_of_.end() : port_of_.find(destination);
  if (known != port_of_.end()) {
    if (known->second != port) at(port, known->second).send(shared, now);
    return;
  }
  for (size_t to = 0; to < ports_; ++to)
    if (to != port) at(port, to).send(shared, now);
}

void Switch::deliver(Time now, const std::function<void(size_t port, ByteView frame)>& write) {
  for (size_t from = 0; from < ports_; ++from)
    for (size_t to = 0; to < ports_; ++to)
      while (const auto frame = at(from, to).take(now)) write(to, **frame);
}

Time Switch::next() const {
  Time next = kTimeNever;
  for (const Link& link : links_) next = std::min(next, link.next());
  return next;
}

}  // namespace forerun::lab
