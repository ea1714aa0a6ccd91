// predict_composed: replays recorded boots of composed images through models and arbiter over a
// modelled link, in component space: what boots of other images taught about this one's components.
//
//   predict_composed --repository DIR --boot IMAGE=TRACE [--learn IMAGE=TRACE]... [--own
//   IMAGE=TRACE]...
//
// A trace is as bench/lib/replay.py records it: `issue_us,done_us,offset,length` per line, of the
// disk; the image's mapping table says which chunk of which component that is.
#include <CLI/CLI.hpp>
#include <charconv>
#include <fstream>
#include <set>

#include "daemon/image_catalog.h"
#include "layout_disk.h"
#include "link_model.h"
#include "net/directory_store.h"
#include "predict/registry.h"

namespace forerun::bench {
namespace {

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "predict_composed: {}\n", why);
  std::exit(2);
}

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

void check(const Status& status) {
  if (!status) give_up(status.error().message);
}

struct Boot {
  std::string image;
  daemon::ImageCatalog::LayoutPtr layout;
  std::vector<TraceRead> reads;
  predict::Priors priors;
};

// As the daemon shows a read to the models: neighbouring chunks of one component are one run.
std::vector<TraceRun> runs_of(const image::MappingTable& table, ByteRange range) {
  std::vector<image::Piece> pieces;
  table.look_up(range, pieces);
  std::vector<TraceRun> runs;
  for (const image::Piece& piece : pieces) {
    if (piece.chunk.is_zero()) continue;
    if (!runs.empty() && runs.back().component == piece.component) {
      const uint64_t end = runs.back().first_block + runs.back().block_count;
      if (piece.chunk_index + 1 == end) continue;
      if (piece.chunk_index == end) {
        ++runs.back().block_count;
        continue;
      }
    }
    runs.push_back({piece.component, piece.chunk_index, 1});
  }
  return runs;
}

Boot load(daemon::ImageCatalog& catalog, const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) give_up("'" + argument + "' is not IMAGE=TRACE");
  Boot boot{argument.substr(0, equals), {}, {}, {}};
  boot.layout = must(catalog.open(boot.image)).layout;
  boot.priors = boot.layout->priors();
  std::ifstream file(argument.substr(equals + 1));
  if (!file) give_up("cannot open " + argument.substr(equals + 1));
  for (std::string line; std::getline(file, line);) {
    std::array<uint64_t, 4> fields{};
    const char* at = line.data();
    const char* const end = line.data() + line.size();
    size_t count = 0;
    for (; count < fields.size(); ++count) {
      const auto [next, error] = std::from_chars(at, end, fields[count]);
      if (error != std::errc{}) break;
      at = next == end ? end : next + 1;
    }
    const ByteRange range{fields[2], fields[3]};
    if (count < fields.size() || !fits(range, boot.layout->table.size_bytes())) continue;
    auto runs = runs_of(boot.layout->table, range);
    if (!runs.empty())
      boot.reads.push_back({std::chrono::microseconds(fields[0]), std::move(runs)});
  }
  return boot;
}

class Table {
 public:
  Table(const daemon::ImageCatalog& catalog, const RunOptions& options, bool verbose)
      : catalog_(catalog), options_(options), verbose_(verbose) {
    options_.bytes_of = [this](ComponentId component, uint64_t block) {
      return catalog_.resolve(component, block).stored_size;
    };
  }

  std::shared_ptr<predict::ReplayHistory> empty_history() const {
    return std::make_shared<predict::ReplayHistory>(
        predict::ReplayHistory::Options{},
        [this](ComponentId component) { return catalog_.name_of(component); });
  }

  std::shared_ptr<predict::ReplayHistory> learn(const std::vector<Boot>& boots) {
    auto history = empty_history();
    for (const Boot& boot : boots) {
      play(boot, {}, history, true, false);
      const auto components = boot.layout->components();
      known_.insert(components.begin(), components.end());
    }
    return history;
  }

  // The run itself teaches nobody: the history is copied.
  void row(const std::string& name, const Boot& boot,
           const std::shared_ptr<predict::ReplayHistory>& history, bool has_prior, bool prefetches,
           const std::vector<std::string>& models = {}) {
    auto copy = empty_history();
    for (const ComponentId component : known_) {
      const Buffer saved = history ? history->save(component) : Buffer{};
      if (!saved.empty()) check(copy->load(component, saved));
    }
    if (history && history->knows_meanings()) check(copy->load_meanings(history->save_meanings()));
    const RunResult result = play(boot, models, copy, has_prior, prefetches);
    if (none_stall_s_ == 0) none_stall_s_ = result.stall_s;
    fmt::print("{:<22} {:>7.2f} {:>6.3f} {:>7} {:>6} {:>5} {:>6} {:>6.1f} {:>8.1f}\n", name,
               result.stall_s, none_stall_s_ > 0 ? result.stall_s / none_stall_s_ : 1,
               result.fetched, result.hit, result.late, result.wasted,
               result.prefetched_bytes == 0 ? 0.0
                                            : 100.0 * static_cast<double>(result.wasted_bytes) /
                                                  static_cast<double>(result.prefetched_bytes),
               result.wait_p99_ms);
    if (verbose_) print_parts(boot, result);
  }

 private:
  RunResult play(const Boot& boot, const std::vector<std::string>& names,
                 const std::shared_ptr<predict::ReplayHistory>& history, bool has_prior,
                 bool prefetches) {
    predict::ModelNeeds needs{.components = boot.layout->components(), .history = history};
    if (has_prior) needs.priors = boot.priors;
    RunOptions options = options_;
    options.prefetches = prefetches;
    predict::Arbiter::Options arbiter_options;
    arbiter_options.probability_min = options.probability_min;
    if (options.is_priced) arbiter_options.bytes_of = options.bytes_of;
    predict::Arbiter arbiter(arbiter_options, must(predict::make_models(names, needs)));
    return run(boot.reads, arbiter, options);
  }

  // What the guest waited for, if it is a list that one reads.
  void print_waits(const Boot& boot, const RunResult& result) const {
    if (result.waits.size() > 200) return;
    constexpr std::array kWhy{"unforeseen", "not yet asked for", "on the wire"};
    const auto& parts = boot.layout->table.components();
    const predict::Priors& priors = boot.priors;
    for (const Wait& wait : result.waits) {
      const auto part = std::find_if(parts.begin(), parts.end(), [&](const auto& component) {
        return component->id == wait.component;
      });
      const auto prior = priors.find(wait.component);
      const auto index = prior == priors.end() ? std::nullopt : prior->second->find(wait.block);
      fmt::print("    {:7.3f} s part {} chunk {:>5}: {}, {:.1f} ms; prior {:.2f} at {:.1f} s\n",
                 to_seconds(wait.at), part - parts.begin(), wait.block,
                 kWhy[static_cast<size_t>(wait.why)], to_seconds(wait.length) * 1e3,
                 index ? prior->second->entries[*index].support : 0.0f,
                 index ? prior->second->entries[*index].time_s : 0.0f);
    }
  }

  void print_parts(const Boot& boot, const RunResult& result) const {
    for (const auto& component : boot.layout->table.components()) {
      const auto found = result.parts.find(component->id);
      if (found == result.parts.end()) continue;
      const PartResult& part = found->second;
      fmt::print(
          "    part {} ({} chunks): on demand {} ({} KB), ahead {} ({} KB), wasted {} ({} KB)\n",
          component->digest.short_hex(), component->index.chunks.size(), part.demanded,
          part.demand_bytes / 1000, part.prefetched, part.prefetched_bytes / 1000, part.wasted,
          part.wasted_bytes / 1000);
    }
    print_waits(boot, result);
    for (const auto& [model, its] : result.by_model) {
      fmt::print("    proposed by {}: {} ({} KB), wasted {} ({} KB)\n", result.models[model].name,
                 its.prefetched, its.prefetched_bytes / 1000, its.wasted, its.wasted_bytes / 1000);
    }
    for (const auto& model : result.models) {
      fmt::print("    {:<14} said {:>6} true {:>6} gap {:.3f}{}  said/happened:", model.name,
                 model.said, model.came_true, model.calibration_gap, model.muted ? " muted" : "");
      for (const auto& bin : model.bins)
        if (bin.count > 0) fmt::print(" {:.2f}/{:.2f}({})", bin.said, bin.happened, bin.count);
      fmt::print("\n");
    }
  }

  const daemon::ImageCatalog& catalog_;
  RunOptions options_;
  const bool verbose_;
  std::set<ComponentId> known_;  // components that were learned of
  double none_stall_s_ = 0;
};

struct Scenario {
  Boot boot;
  std::vector<Boot> learn, own;
};

void table(const daemon::ImageCatalog& catalog, const std::string& link_name, const Link& link,
           const RunOptions& given, const Scenario& scenario, bool verbose) {
  RunOptions options = given;
  options.link = link;
  const double think_scale = given.think_scale;
  Table rows(catalog, options, verbose);
  fmt::print("\n{}: {}, think times x {}\n{:<22} {:>7} {:>6} {:>7} {:>6} {:>5} {:>6} {:>6} {:>8}\n",
             scenario.boot.image, link_name, think_scale, "mode", "stall s", "ratio", "fetched",
             "hit", "late", "wasted", "wst %", "p99 ms");
  rows.row("on_demand", scenario.boot, nullptr, false, false);
  rows.row("no prior, no history", scenario.boot, nullptr, false, true);
  rows.row("static", scenario.boot, nullptr, true, true);
  if (!scenario.learn.empty())
    rows.row("learned from others", scenario.boot, rows.learn(scenario.learn), true, true);
  if (!scenario.own.empty())
    rows.row("learned", scenario.boot, rows.learn(scenario.own), true, true);
}

}  // namespace
}  // namespace forerun::bench

int main(int argc, char** argv) {
  using namespace forerun;
  using namespace forerun::bench;
  CLI::App app(
      "Replays recorded boots of composed images through the models over a modelled link.");
  std::string repository, boot;
  std::vector<std::string> learn, own;
  RunOptions options;
  double served_s = 0;
  bool verbose = false, foresees_again = false;
  app.add_option("--repository", repository, "the folder of components and images")->required();
  app.add_option("--boot", boot, "IMAGE=TRACE: the boot that is foreseen")->required();
  app.add_option("--learn", learn, "IMAGE=TRACE: boots of other images, in order");
  app.add_option("--own", own, "IMAGE=TRACE: earlier boots of the same image");
  app.add_option("--think", options.think_scale, "factor of the recorded think times");
  app.add_option("--served", served_s,
                 "seconds of the recording until the services answered: later waits are no stall");
  app.add_option("--probability-min", options.probability_min, "proposed from here on");
  app.add_flag("!--no-price", options.is_priced, "small chunks are proposed no sooner than large");
  app.add_flag("--foresee", foresees_again,
               "with the prior as this program would make it, not as it stands in the repository");
  app.add_flag("-v,--verbose", verbose, "also each part, and the models' calibration");
  CLI11_PARSE(app, argc, argv);
  if (served_s > 0) options.served = from_seconds(served_s);
  auto store = must(net::DirectoryStore::open(repository, net::DirectoryStore::Mode::kReadOnly));
  auto kept = must(net::DirectoryStore::open(repository, net::DirectoryStore::Mode::kReadOnly));
  daemon::ImageCatalog catalog({store.get()}, *kept);
  Scenario scenario{load(catalog, boot), {}, {}};
  if (foresees_again) scenario.boot.priors = must(foresee_again(*scenario.boot.layout, *store));
  for (const auto& argument : learn) scenario.learn.push_back(load(catalog, argument));
  for (const auto& argument : own) scenario.own.push_back(load(catalog, argument));
  table(catalog, "100 Mbit/s, 5 ms", {.rate_bytes_per_s = 12.5e6, .round_trip = 5ms}, options,
        scenario, verbose);
  table(catalog, "20 Mbit/s, 20 ms", {.rate_bytes_per_s = 2.5e6, .round_trip = 20ms}, options,
        scenario, verbose);
}
