// Clients that read over one link, in virtual time, through a scheduler that decides whose turn it
// is. The link takes requests one after the other, and answers after its delay.
#pragma once

#include <functional>
#include <map>
#include <queue>

#include "core/rng.h"
#include "policies.h"

namespace forerun::bench {

struct Link {
  double bytes_per_s = 2.5e6;
  Nanos delay = 10ms;  // each way
  // What part of the rate there is at a time; none: all of it.
  std::function<double(Time)> part;
};

// A program that keeps `depth` requests waiting, and thinks before it asks again.
struct Client {
  VmId vm;
  iosched::IoClass io_class = iosched::IoClass::kCritical;
  uint32_t depth = 1;
  uint32_t bytes_min = 65536, bytes_max = 65536;
  Nanos think_max = 0ms;      // drawn evenly up to this
  Nanos on = 0ms, off = 0ms;  // asks for `on`, is silent for `off`; 0: always
};

struct Done {
  size_t client = 0;
  Time asked{}, served{};
  uint32_t bytes = 0;
};

// What is told of one run as it goes.
struct Watch {
  virtual ~Watch() = default;
  virtual void on_wait(VmId, size_t /*waiting*/) {}  // how many of the VM's wait for their turn
  virtual void on_done(const Done&, VmId) {}
};

// Runs the clients for `span`. Returns what they got, in the order in which they got it.
std::vector<Done> run(Policy& policy, const Link& link, const std::vector<Client>& clients,
                      Nanos span, uint64_t seed, Watch* watch = nullptr);

}  // namespace forerun::bench
