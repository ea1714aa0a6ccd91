// forerun-sim: runs the whole system in virtual time, seed after seed, each twice; the second run
// must be the first one's twin. Prints what was broken, by which seed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "os/clock.h"
#include "sim/world.h"

namespace forerun::sim {
namespace {

struct Options {
  std::string seeds = "1..200";
  uint64_t replay = 0;
  bool is_verbose = false;
  double minutes = 0;
  double span_seconds = 20;
  uint32_t jobs = 0;
  std::string plant;
  bool must_fail = false;
  std::string output = "text";
};

struct SeedResult {
  uint64_t seed = 0;
  WorldResult result;
  bool is_repeatable = true;
};

struct Sum {
  uint64_t seeds = 0, failed = 0, violated = 0, events = 0;
  double simulated_seconds = 0, cpu_seconds = 0, wall_seconds = 0;
  std::vector<std::pair<std::string, uint64_t>> counts;

  void add(const std::string& name, uint64_t value) {
    for (auto& [known, count] : counts) {
      if (known == name) {
        count += value;
        return;
      }
    }
    counts.emplace_back(name, value);
  }
};

std::string commit() {
  std::string text;
  if (FILE* pipe =
          popen("git -C " FORERUN_SOURCE_DIR " rev-parse --short=12 HEAD 2>/dev/null", "r")) {
    char line[64] = {};
    if (std::fgets(line, sizeof line, pipe) != nullptr) text = line;
    pclose(pipe);
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "unknown" : text;
}

// Returns first and last of "A..B" or "A".
bool parse_seeds(const std::string& text, uint64_t& first, uint64_t& last) {
  unsigned long long a = 0, b = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "%llu..%llu%n", &a, &b, &used) == 2) {
    first = a;
    last = b;
  } else if (std::sscanf(text.c_str(), "%llu%n", &a, &used) == 1) {
    first = last = a;
  } else {
    return false;
  }
  return static_cast<size_t>(used) == text.size() && first <= last;
}

WorldOptions world_options(const Options& options, uint64_t seed) {
  WorldOptions world;
  world.seed = seed;
  world.span = from_seconds(options.span_seconds);
  world.is_verbose = options.is_verbose;
  world.plant_lying_flush = options.plant == "lying-flush";
  world.plant_unverified_chunk = options.plant == "unverified-chunk";
  return world;
}

SeedResult run_seed(const Options& options, uint64_t seed) {
  SeedResult done{seed, run_world(world_options(options, seed)), true};
  WorldOptions silent = world_options(options, seed);
  silent.is_verbose = false;
  const WorldResult again = run_world(silent);
  done.is_repeatable = again.hash == done.result.hash && again.events == done.result.events &&
                       again.violation == done.result.violation;
  return done;
}

void add(Sum& sum, const SeedResult& done) {
  const WorldResult& r = done.result;
  ++sum.seeds;
  sum.failed += !r.violation.empty() || !done.is_repeatable;
  sum.violated += !r.violation.empty();
  sum.events += r.events;
  sum.simulated_seconds += to_seconds(r.simulated);
  sum.add("power_cuts", r.faults.power_cuts);
  sum.add("cuts_inside_operations", r.faults.cuts_inside_operations);
  sum.add("daemon_kills", r.faults.daemon_kills);
  sum.add("partitions", r.faults.partitions);
  sum.add("tier_faults", r.faults.tier_faults);
  sum.add("damaged_objects", r.faults.damaged_objects);
  sum.add("disk_errors", r.faults.disk_errors);
  sum.add("disk_full", r.faults.disk_full);
  sum.add("sectors_lost", r.sectors_lost);
  sum.add("sectors_rolled_back", r.sectors_rolled_back);
  sum.add("guest_reads", r.guests.reads);
  sum.add("guest_writes", r.guests.writes);
  sum.add("guest_trims", r.guests.trims);
  sum.add("guest_flushes", r.guests.flushes);
  sum.add("guest_sessions", r.guests.sessions);
  sum.add("guest_boots", r.guests.boots_finished);
  sum.add("guest_errors", r.guests.errors);
  sum.add("requests_resent", r.guests.resent);
  sum.add("demand_fetches", r.host.demand_fetches);
  sum.add("prefetches", r.host.prefetches);
  sum.add("prefetch_hit", r.host.hit);
  sum.add("prefetch_late", r.host.late);
  sum.add("prefetch_wasted", r.host.wasted);
  sum.add("prefetch_cancelled", r.host.cancelled);
  sum.add("fetches_joined", r.host.joined);
  sum.add("answers_corrupted", r.links_corrupted);
  sum.add("answers_refused", r.host.corrupt_answers);
  sum.add("tier_file_hits", r.host.tier_file_hits);
  sum.add("tier_refused", r.host.tier_corrupt);
  sum.add("tier_evicted", r.host.tier_evicted);
}

void tell_failure(const Options& options, const SeedResult& done) {
  if (options.output != "text") return;
  if (!done.is_repeatable) {
    fmt::print("seed {} at commit {}: its second run differs from its first\n", done.seed,
               commit());
  }
  if (!done.result.violation.empty()) {
    fmt::print("seed {} at commit {}, after {:.6f} s: {}\n", done.seed, commit(),
               to_seconds(done.result.violated_at - kTimeZero), done.result.violation);
  }
  std::fflush(stdout);
}

void tell(const Options& options, const Sum& sum) {
  const double ratio = sum.cpu_seconds > 0 ? sum.simulated_seconds * 2 / sum.cpu_seconds : 0;
  if (options.output == "json") {
    std::string counts;
    for (const auto& [name, count] : sum.counts) {
      counts += fmt::format("{}\"{}\":{}", counts.empty() ? "" : ",", name, count);
    }
    fmt::print(
        "{{\"commit\":\"{}\",\"seeds\":{},\"failed\":{},\"events\":{},"
        "\"simulated_s\":{:.1f},\"wall_s\":{:.1f},\"cpu_s\":{:.1f},"
        "\"simulated_per_cpu_s\":{:.1f},\"counts\":{{{}}}}}\n",
        commit(), sum.seeds, sum.failed, sum.events, sum.simulated_seconds, sum.wall_seconds,
        sum.cpu_seconds, ratio, counts);
    return;
  }
  fmt::print("{} seeds, each run twice: {} failed\n", sum.seeds, sum.failed);
  fmt::print(
      "{:.0f} s simulated in {:.1f} s ({:.1f} CPU s; {:.0f} simulated s per CPU s), {} "
      "events a run of all seeds\n",
      sum.simulated_seconds, sum.wall_seconds, sum.cpu_seconds, ratio, sum.events);
  for (const auto& [name, count] : sum.counts) fmt::print("  {:<24} {}\n", name, count);
}

// Nothing was tested that never happened.
std::vector<std::string> never_happened(const Sum& sum) {
  std::vector<std::string> names;
  for (const auto& [name, count] : sum.counts) {
    if (count == 0) names.push_back(name);
  }
  return names;
}

int run(const Options& options) {
  uint64_t first = options.replay, last = options.replay;
  if (options.replay == 0 && !parse_seeds(options.seeds, first, last)) {
    fmt::print(stderr, "forerun-sim: --seeds wants A..B\n");
    return 2;
  }
  if (options.minutes > 0) last = UINT64_MAX;
  const os::SystemClock clock;
  const Time began = clock.now();
  const Time end = options.minutes > 0 ? began + from_seconds(options.minutes * 60) : kTimeNever;
  std::atomic<uint64_t> next{first};
  std::atomic<bool> is_enough{false};
  std::mutex mutex;  // guards sum and stdout
  Sum sum;
  const auto work = [&] {
    for (uint64_t seed = next++; seed <= last && !is_enough && clock.now() < end; seed = next++) {
      const SeedResult done = run_seed(options, seed);
      const std::lock_guard lock(mutex);
      add(sum, done);
      if (!done.result.violation.empty() || !done.is_repeatable) {
        tell_failure(options, done);
        if (options.must_fail) is_enough = true;
      }
    }
  };
  const uint32_t jobs =
      options.jobs > 0 ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
  {
    std::vector<std::jthread> threads;
    for (uint32_t i = 1; i < jobs && options.replay == 0; ++i) threads.emplace_back(work);
    work();
  }
  sum.wall_seconds = to_seconds(clock.now() - began);
  sum.cpu_seconds = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  tell(options, sum);
  if (options.must_fail) {
    if (sum.violated > 0 && sum.violated == sum.failed) return 0;
    fmt::print("the planted bug was not found, or a run was not repeatable\n");
    return 1;
  }
  if (sum.failed > 0) return 1;
  const auto missing = never_happened(sum);
  if (sum.seeds >= 100 && !missing.empty()) {
    fmt::print("in {} seeds these never happened: {}\n", sum.seeds, fmt::join(missing, ", "));
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace forerun::sim

int main(int argc, char** argv) {
  forerun::sim::Options options;
  CLI::App app{"Runs the whole of Forerun in virtual time, with faults; a seed replays a run.",
               "forerun-sim"};
  app.add_option("--seeds", options.seeds, "Seeds to run, A..B")->capture_default_str();
  app.add_option("--replay", options.replay, "Run this one seed");
  app.add_flag("--verbose", options.is_verbose, "Tell every fault and log line");
  app.add_option("--minutes", options.minutes, "Run seeds from A on for so long");
  app.add_option("--span", options.span_seconds, "Virtual seconds with faults, a run")
      ->capture_default_str();
  app.add_option("--jobs", options.jobs, "Runs at once; 0: one a core")->capture_default_str();
  app.add_option("--plant", options.plant, "Plant a bug")
      ->check(CLI::IsMember({"lying-flush", "unverified-chunk"}));
  app.add_flag("--must-fail", options.must_fail, "Succeed if a violation is found");
  app.add_option("-o,--output", options.output)->check(CLI::IsMember({"text", "json"}));
  CLI11_PARSE(app, argc, argv);
  // Injected faults make the rooms log a lot; above error there is no level.
  forerun::log::set_level(
      options.is_verbose ? forerun::log::Level::kDebug
                         : forerun::log::Level{static_cast<int>(forerun::log::Level::kError) + 1});
  return forerun::sim::run(options);
}
