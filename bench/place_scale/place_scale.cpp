// place_scale: plans for synthetic fleets grown from a seed, ten VMs a host, a tenth of the hosts
// contended and as many not needed. Prints JSON: seconds (median of 3) and bytes a VM.
//
// usage: place_scale HOSTS...
#include <malloc.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "core/rng.h"
#include "place/planner.h"

namespace {

namespace json = boost::json;
using forerun::Rng;
using namespace forerun::place;

constexpr size_t kVmsPerHost = 10;
constexpr size_t kPast = 60;

struct Fleet {
  FleetState state;
  std::vector<float> pasts;
};

// Demands wander about a mean of their own, hosts are loaded by 5 to 110 %.
Fleet make_fleet(size_t hosts) {
  Rng rng(hosts);
  Fleet fleet;
  fleet.pasts.resize(hosts * kVmsPerHost * kPast);
  for (size_t h = 0; h < hosts; ++h) {
    const double load = h % 10 == 0 ? 1.1 : h % 10 == 1 ? 0.05 : 0.4 + 0.35 * rng.unit();
    fleet.state.hosts.push_back({.capacity = 5320, .memory_mb = 65536, .power = &hp_ml110_g5()});
    for (size_t i = 0; i < kVmsPerHost; ++i) {
      const double mean = load * 5320 / kVmsPerHost;
      float* past = &fleet.pasts[(h * kVmsPerHost + i) * kPast];
      for (size_t s = 0; s < kPast; ++s)
        past[s] = static_cast<float>(mean * (0.8 + 0.4 * rng.unit()));
      FleetVm vm;
      vm.host = static_cast<int>(h);
      vm.memory_mb = 2048;
      vm.demand = past[kPast - 1];
      vm.past = {past, kPast};
      fleet.state.vms.push_back(vm);
    }
  }
  return fleet;
}

json::object measure(size_t hosts) {
  const Fleet fleet = make_fleet(hosts);
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  const LoadBook book(fleet.state, {});
  const size_t held = mallinfo2().uordblks + mallinfo2().hblkhd - before;
  const Planner planner({});
  std::vector<double> seconds;
  size_t moves = 0;
  for (int i = 0; i < 3; ++i) {
    const auto from = std::chrono::steady_clock::now();
    moves = planner.plan(fleet.state).moves.size();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double vms = static_cast<double>(hosts * kVmsPerHost);
  // A VM's past is the caller's, but somebody holds it.
  return {{"seconds", seconds[1]},
          {"bytes", static_cast<double>(held) / vms + kPast * sizeof(float) + sizeof(FleetVm)},
          {"moves", moves}};
}

}  // namespace

int main(int argc, char** argv) {
  json::object scale;
  double first_seconds = 0, first_hosts = 0, exponent = 0;
  for (int i = 1; i < argc; ++i) {
    const size_t hosts = std::strtoul(argv[i], nullptr, 10);
    if (hosts == 0 || hosts > 100'000) {
      std::fprintf(stderr, "usage: place_scale HOSTS...\n");
      return 2;
    }
    json::object one = measure(hosts);
    const double seconds = one["seconds"].as_double();
    if (i == 1) {
      first_seconds = seconds;
      first_hosts = static_cast<double>(hosts);
    } else {
      exponent =
          std::log(seconds / first_seconds) / std::log(static_cast<double>(hosts) / first_hosts);
    }
    scale[std::to_string(hosts) + "x" + std::to_string(hosts * kVmsPerHost)] = std::move(one);
  }
  if (argc > 2) scale["exponent"] = exponent;
  std::puts(json::serialize(scale).c_str());
  return 0;
}
