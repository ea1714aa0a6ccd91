// What honest VMs lose to a hostile one that shares their host: each one's hit rate beside it,
// against its rate alone with an equal part of the tier. README.md says what each figure means.
//
// usage: pollution_replay OUT.json TRACE…
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <future>
#include <set>

#include "host.h"

namespace {

using namespace forerun;
using namespace forerun::pollution;
namespace json = boost::json;

constexpr size_t kAccesses = 20'000;  // of an honest VM
constexpr size_t kHostileAccesses = 160'000;
constexpr size_t kAtOnce = 2;
constexpr double kTierShare = 0.10;  // of what the honest VMs touch
constexpr std::array kPolicies = {
    std::pair{"shares", Policy::kShares}, std::pair{"no_shares", Policy::kNoShares},
    std::pair{"partition", Policy::kPartition}, std::pair{"lru", Policy::kLru}};
constexpr std::array kBehaviours = {"none",          "scan",   "random_scan", "rereads",
                                    "prefetch_liar", "writes", "many_vms"};

Result<std::vector<Vm>> honest_vms(int argc, char** argv) {
  std::vector<Vm> vms;
  for (int i = 2; i < argc; ++i) {
    const std::string path = argv[i];
    std::string name = path.substr(path.rfind('/') + 1);
    name = name.substr(0, name.find('.'));
    Vm vm{.name = name, .image = ComponentId{static_cast<uint32_t>(i)}};
    FR_TRY(vm.accesses, load_trace(path, kAccesses));
    vms.push_back(vm);
  }
  // One whose image another VM has, which reads the same a little later.
  if (!vms.empty()) {
    Vm twin = vms.back();
    twin.name += "_twin";
    twin.begins = 0.02;
    vms.push_back(twin);
  }
  vms.push_back({.name = "zipf_1.0", .image = ComponentId{100}});
  vms.back().accesses = zipf(6000, 1.0, kAccesses, 1);
  vms.push_back({.name = "zipf_0.8", .image = ComponentId{101}});
  vms.back().accesses = zipf(6000, 0.8, kAccesses, 2);
  return vms;
}

size_t chunks_touched(const std::vector<Vm>& vms) {
  std::set<std::pair<uint32_t, uint32_t>> chunks;
  for (const Vm& vm : vms)
    for (const ChunkAccess& access : vm.accesses) chunks.insert({vm.image.value, access.chunk});
  return chunks.size();
}

// Returns each honest VM's outcome alone with an equal part.
std::map<std::string, VmOutcome> solo(const std::vector<Vm>& vms, Policy policy,
                                      HostOptions options) {
  options.tier_chunks /= options.parts;
  options.parts = 1;
  std::map<std::string, VmOutcome> outcomes;
  for (const Vm& vm : vms) outcomes.merge(replay({vm}, policy, options));
  return outcomes;
}

json::object compare(const std::vector<Vm>& honest, const std::map<std::string, VmOutcome>& beside,
                     const std::map<std::string, VmOutcome>& alone) {
  json::object vms;
  double worst = 1e9, sum = 0;
  uint64_t hits = 0, reads = 0;
  for (const Vm& vm : honest) {
    const VmOutcome& outcome = beside.at(vm.name);
    const double kept = outcome.hit_rate() / alone.at(vm.name).hit_rate();
    worst = std::min(worst, kept);
    sum += kept;
    hits += outcome.hits;
    reads += outcome.reads;
    vms[vm.name] = json::object{{"hit_rate", outcome.hit_rate()},
                                {"solo_share_hit_rate", alone.at(vm.name).hit_rate()},
                                {"kept", kept},
                                {"prefetched", outcome.prefetched},
                                {"wasted", outcome.wasted}};
  }
  return {{"worst_kept", worst},
          {"mean_kept", sum / static_cast<double>(honest.size())},
          {"hit_rate", static_cast<double>(hits) / static_cast<double>(reads)},
          {"vms", vms}};
}

using Alone = std::map<std::string, std::map<std::string, VmOutcome>>;

Result<json::object> run_behaviour(const std::string& behaviour, const std::vector<Vm>& honest,
                                   const Alone& alone, const HostOptions& options) {
  std::vector<Vm> vms = honest;
  if (behaviour != "none") {
    FR_TRY(const auto bad,
           hostile(behaviour, 200, kHostileAccesses, static_cast<uint32_t>(options.tier_chunks)));
    vms.insert(vms.end(), bad.begin(), bad.end());
  }
  json::object policies;
  std::string line = fmt::format("{:>14} |", behaviour);
  for (const auto& [name, policy] : kPolicies) {
    // Partitions share nothing.
    std::vector<Vm> apart = vms;
    for (uint32_t i = 0; policy == Policy::kPartition && i < apart.size(); ++i)
      apart[i].image = ComponentId{1000 + i};
    const json::object figures = compare(honest, replay(apart, policy, options), alone.at(name));
    line += fmt::format(" {} worst {:.3f} mean {:.3f} hits {:.3f} |", name,
                        figures.at("worst_kept").as_double(), figures.at("mean_kept").as_double(),
                        figures.at("hit_rate").as_double());
    policies[name] = figures;
  }
  fmt::print("{}\n", line);
  std::fflush(stdout);
  return policies;
}

Result<json::object> run(int argc, char** argv) {
  FR_TRY(const std::vector<Vm> honest, honest_vms(argc, argv));
  HostOptions options;
  options.tier_chunks =
      static_cast<uint64_t>(static_cast<double>(chunks_touched(honest)) * kTierShare);
  options.parts = static_cast<uint32_t>(honest.size() + 1);  // the hostile tenant is one
  Alone alone;
  // Alone, the tier with and without shares is the same, and so is its only part.
  alone["shares"] = solo(honest, Policy::kShares, options);
  alone["no_shares"] = alone["partition"] = alone["shares"];
  alone["lru"] = solo(honest, Policy::kLru, options);
  std::map<std::string, std::future<Result<json::object>>> running;
  json::object scenarios;
  // Two at a time: each is one thread.
  for (size_t i = 0; i < std::size(kBehaviours) + kAtOnce; ++i) {
    if (i >= kAtOnce) {
      FR_TRY(scenarios[kBehaviours[i - kAtOnce]], running.at(kBehaviours[i - kAtOnce]).get());
    }
    if (i >= std::size(kBehaviours)) continue;
    const std::string behaviour = kBehaviours[i];
    running[behaviour] = std::async(std::launch::async, [&honest, &alone, options, behaviour] {
      return run_behaviour(behaviour, honest, alone, options);
    });
  }
  return json::object{{"tier_chunks", options.tier_chunks},
                      {"honest_accesses", kAccesses},
                      {"hostile_accesses", kHostileAccesses},
                      {"scenarios", scenarios}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: pollution_replay OUT.json TRACE…\n");
    return 2;
  }
  const auto report = run(argc, argv);
  if (!report) {
    fmt::print(stderr, "pollution_replay: {}\n", report.error().message);
    return 1;
  }
  std::ofstream out(argv[1]);
  out << json::serialize(*report) << "\n";
  return out.good() ? 0 : 1;
}
