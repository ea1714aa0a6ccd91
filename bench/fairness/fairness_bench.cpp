// How fairly guests share a link, by scheduler: the same clients and arrivals through each, in
// virtual time, so that a figure is the scheduler's and not the machine's. Writes JSON.
#include <boost/json.hpp>
#include <cmath>
#include <fstream>

#include "link_sim.h"

namespace json = boost::json;
using namespace forerun;
using namespace forerun::bench;
using iosched::IoClass;

namespace {

struct Named {
  const char* name;
  Link link;
};
const std::vector<Named> kLinks{{"20mbit_10ms", {2.5e6, 10ms, {}}},
                                {"100mbit_5ms", {12.5e6, 5ms, {}}},
                                {"200mbit_2ms", {25e6, 2ms, {}}},
                                {"1gbit_0.2ms", {125e6, 200us, {}}}};
constexpr Nanos kWarm = 5s;  // not counted: the link is being learned

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return std::numeric_limits<double>::infinity();  // nobody was served
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(p * static_cast<double>(values.size())))];
}

// JSON has no infinity.
json::value number(double value) {
  return std::isfinite(value) ? json::value(value) : json::value();
}

std::vector<double> latencies(const std::vector<Done>& done, size_t client) {
  std::vector<double> found;
  for (const Done& one : done)
    if (one.client == client && one.asked >= kTimeZero + kWarm)
      found.push_back(to_seconds(one.served - one.asked) * 1e3);
  return found;
}

double bytes_of(const std::vector<Done>& done, size_t client, Time from = kTimeZero + kWarm,
                Time to = kTimeNever) {
  double bytes = 0;
  for (const Done& one : done)
    if (one.client == client && one.served >= from && one.served < to) bytes += one.bytes;
  return bytes;
}

// The largest |W_f/w_f - W_m/w_m| over an interval in which both wait, over the bound of SFQ(D).
class BoundWatch final : public Watch {
 public:
  BoundWatch(std::vector<double> weights, std::vector<double> longest)
      : weights_(std::move(weights)),
        longest_(std::move(longest)),
        work_(weights_.size()),
        waits_(weights_.size()),
        span_(weights_.size(), std::vector<std::pair<double, double>>(weights_.size())) {}
  void on_wait(VmId vm, size_t waiting) override {
    const bool waits = waiting > 0;
    if (waits == waits_[vm.value]) return;
    waits_[vm.value] = waits;
    for (size_t other = 0; other < work_.size(); ++other) reset(vm.value, other);
  }
  void on_done(const Done& done, VmId vm) override {
    work_[vm.value] += done.bytes / weights_[vm.value];
    for (size_t other = 0; other < work_.size(); ++other) {
      if (other == vm.value) continue;
      if (!waits_[vm.value] || !waits_[other]) {
        reset(vm.value, other);
        continue;
      }
      auto& [least, most] =
          span_[std::min<size_t>(vm.value, other)][std::max<size_t>(vm.value, other)];
      const double gap = difference(vm.value, other);
      least = std::min(least, gap);
      most = std::max(most, gap);
      const double bound = (Policy::kDepth + 1) * (longest_[vm.value] / weights_[vm.value] +
                                                   longest_[other] / weights_[other]);
      worst_ = std::max(worst_, (most - least) / bound);
    }
  }
  double worst() const { return worst_; }

 private:
  double difference(size_t a, size_t b) const {
    return work_[std::min(a, b)] - work_[std::max(a, b)];
  }
  void reset(size_t a, size_t b) {
    const double gap = difference(a, b);
    span_[std::min(a, b)][std::max(a, b)] = {gap, gap};
  }
  std::vector<double> weights_, longest_, work_;
  std::vector<bool> waits_;
  std::vector<std::vector<std::pair<double, double>>> span_;
  double worst_ = 0;
};

json::object bound_case(std::string_view policy) {
  double worst = 0;
  constexpr uint64_t kSeeds = 200;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Rng rng(seed);
    const auto scheduler = make_policy(policy);
    std::vector<Client> clients(2 + rng.below(6));
    std::vector<double> weights, longest;
    for (uint32_t vm = 0; vm < clients.size(); ++vm) {
      Client& client = clients[vm];
      client = {VmId{vm}, IoClass::kCritical, static_cast<uint32_t>(1 + rng.below(40)), 512,
                static_cast<uint32_t>(512 << rng.below(8))};
      if (rng.below(2) == 0) client.think_max = Nanos(rng.below(50'000'000));
      if (rng.below(3) == 0) client.on = 1s, client.off = Nanos(rng.below(2'000'000'000) + 1);
      weights.push_back(1 + static_cast<double>(rng.below(1000)));
      longest.push_back(client.bytes_max);
      scheduler->set_share(client.vm, {.weight = weights.back()});
    }
    BoundWatch watch(weights, longest);
    run(*scheduler, kLinks[seed % kLinks.size()].link, clients, 4s, seed, &watch);
    worst = std::max(worst, watch.worst());
  }
  return {{"worst_of_bound", worst}, {"runs", kSeeds}};
}

// A guest that reads one block after the other, beside 0 to 3 that read as much as they can.
json::object isolation_case(std::string_view policy, const Link& link) {
  json::object result;
  double alone_p50 = 0, alone_p99 = 0;
  for (uint32_t aggressors = 0; aggressors <= 3; ++aggressors) {
    const auto scheduler = make_policy(policy);
    std::vector<Client> clients{{VmId{1}, IoClass::kCritical, 1, 4096, 49152, 40ms}};
    for (uint32_t i = 0; i < aggressors; ++i)
      clients.push_back({VmId{2 + i}, IoClass::kCritical, 32, 4096, 49152});
    const auto done = run(*scheduler, link, clients, 65s, 7);
    const double p50 = percentile(latencies(done, 0), 0.5),
                 p99 = percentile(latencies(done, 0), 0.99);
    if (aggressors == 0) alone_p50 = p50, alone_p99 = p99;
    double bytes = 0;
    for (size_t client = 0; client < clients.size(); ++client) bytes += bytes_of(done, client);
    result[fmt::format("aggressors_{}", aggressors)] = {
        {"p50_ms", number(p50)},
        {"p99_ms", number(p99)},
        {"p50_ratio", number(p50 / alone_p50)},
        {"p99_ratio", number(p99 / alone_p99)},
        {"used_of_link", bytes / 60 / link.bytes_per_s}};
  }
  return result;
}

// The same guest beside another's prefetch that is there for a part of the time.
json::object prefetch_case(std::string_view policy, const Link& link) {
  json::object result;
  double alone = 0;
  for (const int load : {0, 50, 100}) {
    const auto scheduler = make_policy(policy);
    std::vector<Client> clients{{VmId{1}, IoClass::kCritical, 1, 4096, 49152, 40ms}};
    if (load > 0) clients.push_back({VmId{2}, IoClass::kPrefetch, 64, 4096, 49152});
    if (load == 50) clients.back().on = clients.back().off = 500ms;
    const auto done = run(*scheduler, link, clients, 65s, 7);
    const double p99 = percentile(latencies(done, 0), 0.99);
    if (load == 0) alone = p99;
    json::object figures{{"p99_ms", number(p99)}, {"p99_ratio", number(p99 / alone)}};
    if (load > 0) figures["prefetch_of_link"] = bytes_of(done, 1) / 60 / link.bytes_per_s;
    result[fmt::format("load_{}", load)] = std::move(figures);
  }
  return result;
}

// Three VMs of which two have reserved, while the link's rate falls to 60 % and comes back. Worst
// second of what was reserved and given.
json::object reservation_case(std::string_view policy) {
  Link link = kLinks[2].link;
  link.part = [](Time at) { return (at - kTimeZero) / 10s % 2 == 0 ? 1.0 : 0.6; };
  const auto scheduler = make_policy(policy);
  const double reserved[] = {0.3, 0.2};
  scheduler->set_share(VmId{1}, {.weight = 10, .reserved_bytes_per_s = 0.3 * link.bytes_per_s});
  scheduler->set_share(VmId{2}, {.weight = 10, .reserved_bytes_per_s = 0.2 * link.bytes_per_s});
  scheduler->set_share(VmId{3}, {.weight = 1000});
  std::vector<Client> clients;
  for (uint32_t vm = 1; vm <= 3; ++vm)
    clients.push_back({VmId{vm}, IoClass::kCritical, 32, 4096, 65536});
  const auto done = run(*scheduler, link, clients, 65s, 3);
  double worst = 1e9;
  for (int second = 6; second < 64; ++second)
    for (size_t vm = 0; vm < 2; ++vm)
      worst = std::min(worst,
                       bytes_of(done, vm, kTimeZero + second * 1s, kTimeZero + (second + 1) * 1s) /
                           (reserved[vm] * link.bytes_per_s));
  return {{"worst_second_of_reserved", worst}};
}

// A client that asks one by one and is silent at times, with a reservation, beside a heavy one
// (ceph/dmclock pull request 34). What it got of what it could have had alone, up to the reserved.
json::object on_off_case(std::string_view policy) {
  const Link link{25e6, 100us, {}};
  const auto run_with = [&](bool beside) {
    const auto scheduler = make_policy(policy);
    scheduler->set_share(VmId{1}, {.weight = 1, .reserved_bytes_per_s = 5e6});
    scheduler->set_share(VmId{2}, {.weight = 10'000});
    std::vector<Client> clients{{VmId{1}, IoClass::kCritical, 2, 16384, 16384, 2ms, 700ms, 300ms}};
    if (beside) clients.push_back({VmId{2}, IoClass::kCritical, 32, 65536, 65536});
    return bytes_of(run(*scheduler, link, clients, 65s, 5), 0) / 60;
  };
  const double could = std::min(run_with(false), 5e6 * 0.7);
  return {{"got_of_reserved", run_with(true) / could}};
}

// 20 MiB requests against 4 KiB ones, at equal weights (ceph/ceph pull request 39140).
json::object sizes_case(std::string_view policy) {
  const auto scheduler = make_policy(policy);
  const std::vector<Client> clients{{VmId{1}, IoClass::kCritical, 4, 20 << 20, 20 << 20},
                                    {VmId{2}, IoClass::kCritical, 64, 4096, 4096}};
  const auto done = run(*scheduler, kLinks[3].link, clients, 125s, 2);
  const double large = bytes_of(done, 0), small = bytes_of(done, 1);
  return {{"small_of_half", small / ((large + small) / 2)}};
}

// Jain's index of what four equal VMs of unlike sizes got, a window of 100 ms at a time: mean.
json::object jain_case(std::string_view policy) {
  const auto scheduler = make_policy(policy);
  std::vector<Client> clients;
  for (uint32_t vm = 0; vm < 4; ++vm)
    clients.push_back({VmId{vm + 1}, IoClass::kCritical, 8u << vm, 4096, 8192u << vm});
  const auto done = run(*scheduler, kLinks[3].link, clients, 15s, 4);
  double sum = 0;
  int windows = 0;
  for (Time at = kTimeZero + kWarm; at < kTimeZero + 15s; at += 100ms, ++windows) {
    double total = 0, squares = 0;
    for (size_t vm = 0; vm < 4; ++vm) {
      const double got = bytes_of(done, vm, at, at + 100ms);
      total += got;
      squares += got * got;
    }
    sum += squares > 0 ? total * total / (4 * squares) : 0;
  }
  return {{"jain_100ms", sum / windows}};
}

// What background work gets while guests' reads fill the link; and how much of the link is used.
json::object starvation_case(std::string_view policy) {
  const auto scheduler = make_policy(policy);
  const std::vector<Client> clients{{VmId{1}, IoClass::kCritical, 32, 65536, 65536},
                                    {VmId{2}, IoClass::kCritical, 32, 65536, 65536},
                                    {VmId{3}, IoClass::kBackground, 32, 65536, 65536}};
  const Link& link = kLinks[2].link;
  const auto done = run(*scheduler, link, clients, 65s, 6);
  double all = 0;
  for (size_t i = 0; i < 3; ++i) all += bytes_of(done, i);
  return {{"background_of_link", bytes_of(done, 2) / 60 / link.bytes_per_s},
          {"used_of_link", all / 60 / link.bytes_per_s}};
}

json::object measure(std::string_view policy) {
  json::object isolation, prefetch;
  for (const Named& named : kLinks) {
    isolation[named.name] = isolation_case(policy, named.link);
    prefetch[named.name] = prefetch_case(policy, named.link);
  }
  return {{"bound", bound_case(policy)},     {"isolation", std::move(isolation)},
          {"prefetch", std::move(prefetch)}, {"reservation", reservation_case(policy)},
          {"on_off", on_off_case(policy)},   {"sizes", sizes_case(policy)},
          {"jain", jain_case(policy)},       {"starvation", starvation_case(policy)}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: fairness_bench OUT.json COMMIT\n");
    return 2;
  }
  json::object policies;
  fmt::print(
      "{:<9} {:>7} | p99 over alone with 3 aggressors, prefetch at 100 %: {:>23} | {:>8} {:>7} "
      "{:>6} {:>6}"
      " {:>6} {:>6}\n",
      "", "bound", "20, 100, 200, 1000 Mbit/s", "reserved", "on/off", "sizes", "Jain", "backgr",
      "used");
  for (const std::string_view policy : kPolicies) {
    const json::object figures = measure(policy);
    const auto at = [&](std::string_view pointer) {
      const json::value all(figures);
      const json::value& found = all.at_pointer(pointer);
      return found.is_null() ? std::numeric_limits<double>::infinity() : found.to_number<double>();
    };
    std::string ratios;
    for (const Named& named : kLinks)
      ratios += fmt::format(" {:>7.2f} {:>6.2f} ",
                            at(fmt::format("/isolation/{}/aggressors_3/p99_ratio", named.name)),
                            at(fmt::format("/prefetch/{}/load_100/p99_ratio", named.name)));
    fmt::print("{:<9} {:>7.2f} | {} | {:>8.2f} {:>7.2f} {:>6.2f} {:>6.3f} {:>6.3f} {:>6.2f}\n",
               policy, at("/bound/worst_of_bound"), ratios,
               at("/reservation/worst_second_of_reserved"), at("/on_off/got_of_reserved"),
               at("/sizes/small_of_half"), at("/jain/jain_100ms"),
               at("/starvation/background_of_link"), at("/starvation/used_of_link"));
    policies[policy] = figures;
  }
  const json::object result{
      {"commit", argv[2]}, {"depth", Policy::kDepth}, {"policies", std::move(policies)}};
  std::ofstream out(argv[1]);
  out << json::serialize(result) << "\n";
  out.close();
  if (!out) fmt::print(stderr, "cannot write {}\n", argv[1]);
  return out ? 0 : 1;
}
