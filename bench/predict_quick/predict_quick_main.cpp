// predict_quick TRACE…: replays recorded boots through models and arbiter over a modelled link, and
// prints what came of it. The last trace is the one that runs; the earlier ones are the history of
// "learned". For choosing defaults quickly.
//
// A trace is `ts_us,op,start_sector,n_sectors` per line (a header line is skipped); sectors of 512
// bytes; blocks of 64 KiB.
#include <CLI/CLI.hpp>
#include <charconv>
#include <fstream>

#include "core/bytes.h"
#include "link_model.h"
#include "predict/registry.h"

namespace forerun::bench {
namespace {

constexpr uint64_t kSectorsPerBlock = 128;

std::vector<TraceRead> load(const std::string& path, size_t reads_max) {
  std::vector<TraceRead> reads;
  std::ifstream file(path);
  if (!file) {
    fmt::print(stderr, "cannot open {}\n", path);
    std::exit(2);
  }
  for (std::string line; std::getline(file, line) && reads.size() < reads_max;) {
    std::istringstream fields(line);
    std::string at, op, sector, count;
    std::getline(fields, at, ',');
    std::getline(fields, op, ',');
    std::getline(fields, sector, ',');
    std::getline(fields, count, ',');
    uint64_t at_us = 0, first = 0, sectors = 0;
    const auto number = [](const std::string& text, uint64_t& out) {
      return std::from_chars(text.data(), text.data() + text.size(), out).ec == std::errc{};
    };
    if (op != "R" || !number(at, at_us) || !number(sector, first) || !number(count, sectors) ||
        sectors == 0)
      continue;
    const uint64_t begin = first / kSectorsPerBlock;
    const uint64_t end = (first + sectors - 1) / kSectorsPerBlock + 1;
    reads.push_back({std::chrono::microseconds(at_us),
                     {{ComponentId{}, begin, static_cast<uint32_t>(end - begin)}}});
  }
  return reads;
}

std::shared_ptr<const predict::BlockSequence> load_prior(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string saved{std::istreambuf_iterator<char>(file), {}};
  auto prior = predict::parse_block_sequence(as_bytes(saved));
  if (file && prior) return *prior;
  fmt::print(stderr, "{}: {}\n", path, prior ? "cannot be read" : prior.error().message);
  std::exit(2);
}

struct Mode {
  std::string name;
  std::vector<std::string> models;
  bool prefetches = true;
  std::shared_ptr<predict::ReplayHistory> history;
  std::shared_ptr<const predict::BlockSequence> prior;
  predict::Arbiter::Options arbiter;
};

RunResult play(const std::vector<TraceRead>& reads, const Mode& mode, RunOptions options) {
  predict::ModelNeeds needs{.components = {ComponentId{}}, .history = mode.history};
  if (mode.prior) needs.priors[ComponentId{}] = mode.prior;
  auto models = predict::make_models(mode.models, needs);
  if (!models) {
    fmt::print(stderr, "{}\n", models.error().message);
    std::exit(2);
  }
  options.prefetches = mode.prefetches;
  predict::Arbiter arbiter(mode.arbiter, std::move(*models));
  return run(reads, arbiter, options);
}

void print_row(const std::string& name, const RunResult& result, double none_stall_s,
               bool verbose) {
  fmt::print("{:<26} {:>7.2f} {:>6.3f} {:>7} {:>6} {:>5} {:>6} {:>6.1f} {:>8.1f} {:>6.0f}\n", name,
             result.stall_s, none_stall_s > 0 ? result.stall_s / none_stall_s : 1, result.fetched,
             result.hit, result.late, result.wasted, 100 * result.waste_share(), result.wait_p99_ms,
             result.ns_per_access_p50);
  if (!verbose) return;
  for (const auto& model : result.models) {
    fmt::print("    {:<14} said {:>6} true {:>6} gap {:.3f}{} state {} B  said/happened:",
               model.name, model.said, model.came_true, model.calibration_gap,
               model.muted ? " muted" : "", model.state_bytes);
    for (const auto& bin : model.bins)
      if (bin.count > 0) fmt::print(" {:.2f}/{:.2f}({})", bin.said, bin.happened, bin.count);
    fmt::print("\n");
  }
}

struct NamedLink {
  std::string name;
  Link link;
};

struct Settings {
  double think_scale = 1;
  bool verbose = false;
  std::shared_ptr<const predict::BlockSequence> prior;
  std::vector<float> thresholds{0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f};
};

void table(const std::vector<std::vector<TraceRead>>& traces, const NamedLink& link,
           const Settings& settings) {
  RunOptions options{.link = link.link, .think_scale = settings.think_scale};
  const auto& target = traces.back();
  fmt::print(
      "\n{}, think times x {}\n{:<26} {:>7} {:>6} {:>7} {:>6} {:>5} {:>6} {:>6} {:>8} {:>6}\n",
      link.name, settings.think_scale, "mode", "stall s", "ratio", "fetched", "hit", "late",
      "wasted", "wst %", "p99 ms", "ns p50");
  const RunResult none =
      play(target, {.name = "none", .models = {"sequential"}, .prefetches = false}, options);
  print_row("none", none, none.stall_s, false);
  const auto row = [&](Mode mode) {
    print_row(mode.name, play(target, mode, options), none.stall_s, settings.verbose);
  };
  row({.name = "default, sequential", .models = {"sequential"}});
  row({.name = "default, first boot", .history = std::make_shared<predict::ReplayHistory>()});
  if (settings.prior) {
    row({.name = "prior alone", .models = {"prior"}, .prior = settings.prior});
    row({.name = "first boot + prior", .prior = settings.prior});
  }
  for (const float threshold : settings.thresholds) {
    const predict::Arbiter::Options arbiter{.probability_min = threshold};
    row({.name = fmt::format("{:.2f} sequential", threshold),
         .models = {"sequential"},
         .arbiter = arbiter});
    row({.name = fmt::format("{:.2f} neighbourhood", threshold),
         .models = {"neighbourhood"},
         .arbiter = arbiter});
    row({.name = fmt::format("{:.2f} first boot", threshold),
         .history = std::make_shared<predict::ReplayHistory>(),
         .arbiter = arbiter});
    if (settings.prior)
      row({.name = fmt::format("{:.2f} first boot + prior", threshold),
           .prior = settings.prior,
           .arbiter = arbiter});
  }
  auto history = std::make_shared<predict::ReplayHistory>();
  for (size_t i = 0; i + 1 < traces.size(); ++i) {
    play(traces[i], {.name = "", .prefetches = false, .history = history}, options);
    auto copy = std::make_shared<predict::ReplayHistory>();
    if (auto status = copy->load(ComponentId{}, history->save(ComponentId{})); !status)
      std::exit(2);
    row({.name = fmt::format("default, learned from {}", i + 1), .history = copy});
    if (!settings.prior) continue;
    copy = std::make_shared<predict::ReplayHistory>();  // the run before taught the other one
    if (auto status = copy->load(ComponentId{}, history->save(ComponentId{})); !status)
      std::exit(2);
    row({.name = fmt::format("learned from {} + prior", i + 1),
         .history = copy,
         .prior = settings.prior});
  }
}

}  // namespace
}  // namespace forerun::bench

int main(int argc, char** argv) {
  using namespace forerun;
  using namespace forerun::bench;
  CLI::App app("Replays recorded boots through the models over a modelled link.");
  std::vector<std::string> paths;
  Settings settings;
  std::string prior;
  size_t reads_max = 1'000'000;
  app.add_option("trace", paths,
                 "ts_us,op,start_sector,n_sectors; the last one runs, the others are history")
      ->required();
  app.add_option("--think", settings.think_scale, "factor of the recorded think times");
  app.add_option("--thresholds", settings.thresholds,
                 "probabilities below which nothing is fetched");
  app.add_option("--reads-max", reads_max, "reads taken of each trace");
  app.add_option("--prior", prior, "a boot prior of the traces' disk: rows with it are added");
  app.add_flag("-v,--verbose", settings.verbose, "also the models' calibration");
  CLI11_PARSE(app, argc, argv);
  if (!prior.empty()) settings.prior = load_prior(prior);
  std::vector<std::vector<TraceRead>> traces;
  for (const auto& path : paths) traces.push_back(load(path, reads_max));
  table(traces, {"100 Mbit/s, 5 ms", {.rate_bytes_per_s = 12.5e6, .round_trip = 5ms}}, settings);
  table(traces, {"20 Mbit/s, 20 ms", {.rate_bytes_per_s = 2.5e6, .round_trip = 20ms}}, settings);
}
