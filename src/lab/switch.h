// The lab's Ethernet switch: learns which addresses are behind which port, and sends frames over a
// Link for each ordered pair of ports.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "lab/link.h"

namespace forerun::lab {

inline constexpr size_t kPortsMax = 16;
inline constexpr size_t kAddressesMax = 4096;  // learned; more, and all are forgotten

// One thread.
class Switch {
 public:
  // REQUIRES: 2 … kPortsMax ports.
  Switch(size_t ports, const LinkSettings& settings);

  // REQUIRES: two different ports.
  void set_link(size_t from, size_t to, const LinkSettings& settings, Time now);
  const Link& link(size_t from, size_t to) const { return links_[from * ports_ + to]; }
  size_t ports() const { return ports_; }

  // A frame came in at a port: it goes to the port where its destination was last seen, to all
  // others if that is not known or it is a broadcast or multicast. What is too short or too long
  // for a frame is ignored.
  void receive(size_t port, ByteView frame, Time now);
  // Hands out every frame that has arrived by `now`.
  void deliver(Time now, const std::function<void(size_t port, ByteView frame)>& write);
  // Returns when to call deliver() next; kTimeNever if nothing is on its way.
  Time next() const;

 private:
  Link& at(size_t from, size_t to) { return links_[from * ports_ + to]; }
  void learn(uint64_t address, size_t port);

  size_t ports_;
  std::vector<Link> links_;  // [from][to]; the diagonal is not used
  std::unordered_map<uint64_t, size_t> port_of_;
};

}  // namespace forerun::lab
