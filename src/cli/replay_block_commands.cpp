// forerun replay block: what fetching ahead is worth on a recorded trace of block requests, method
// by method. Without a daemon.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/replay_plot.h"
#include "cli/text.h"
#include "os/clock.h"
#include "os/file.h"
#include "replay/block_replay.h"
#include "trace/block_trace.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using replay::BlockOutcome;

struct Arguments {
  std::vector<std::string> files, methods;
  std::vector<std::string> caches = {"5%", "20%"};
  std::string hit = "20us", latency = "1ms", bandwidth = "200000000", block = "4K", warm_up = "0%";
  std::string clock = "closed", eviction = "lru";
  double traffic_cap = 0;  // none
  std::string plot;        // a file
};

struct Plan {
  replay::BlockWorld world;
  std::vector<std::pair<std::string, double>> caches;  // as typed, share
  std::vector<std::string> methods;                    // "none" first
  uint32_t block_bytes = 0;
};

// One trace with one size of cache.
struct Part {
  std::string file, cache;
  size_t requests = 0, cache_blocks = 0;
  std::vector<BlockOutcome> outcomes;  // by method
};

Result<double> parse_percent(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || std::string_view(end) != "%" || !(value >= 0 && value <= 100))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no share from 0% to 100%", text));
  return value / 100;
}

Result<Plan> plan_of(const Arguments& arguments) {
  Plan plan;
  FR_TRY(const uint64_t block_bytes, parse_size(arguments.block));
  if (block_bytes % trace::kSectorBytes != 0 || block_bytes == 0 || block_bytes > 16 * kMiB)
    return fail(ErrorCode::kInvalid, "a block is a multiple of 512 bytes, at most 16 MiB");
  plan.block_bytes = static_cast<uint32_t>(block_bytes);
  FR_TRY(const double hit, parse_seconds(arguments.hit));
  FR_TRY(const double latency, parse_seconds(arguments.latency));
  FR_TRY(const uint64_t bandwidth, parse_size(arguments.bandwidth));
  if (bandwidth == 0) return fail(ErrorCode::kInvalid, "the bandwidth is 0");
  plan.world.hit_us = hit * 1e6;
  plan.world.miss_us = latency * 1e6;
  plan.world.block_us = static_cast<double>(block_bytes) * 1e6 / static_cast<double>(bandwidth);
  FR_TRY(plan.world.warm_up_share, parse_percent(arguments.warm_up));
  plan.world.traffic_max = arguments.traffic_cap;
  if (arguments.eviction == "s3fifo") plan.world.eviction = replay::Eviction::kS3Fifo;
  plan.world.has_recorded_times = arguments.clock == "recorded";
  for (const std::string& cache : arguments.caches) {
    FR_TRY(const double share, parse_percent(cache));
    plan.caches.emplace_back(cache, share);
  }
  plan.methods = {"none"};
  const auto known = replay::block_method_names();
  std::vector<std::string> wanted = arguments.methods;
  if (wanted.empty()) wanted.assign(known.begin(), known.end());
  for (const std::string& name : wanted) {
    FR_TRY(const auto method, replay::make_block_method(name, {}));
    if (name != "none") plan.methods.push_back(name);
  }
  return plan;
}

Result<replay::BlockAccesses> read_trace(const std::string& path, uint32_t block_bytes) {
  FR_TRY(auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  trace::BlockTraceReader reader(*file, path);
  replay::BlockAccesses accesses(block_bytes);
  for (trace::BlockRequest request;;) {
    FR_TRY(const bool more, reader.next(request));
    if (!more) break;
    FR_CHECK(accesses.add(request));
  }
  if (accesses.all().empty())
    return fail(ErrorCode::kInvalid, fmt::format("cannot replay {}: it holds no request", path));
  return accesses;
}

// Says on stderr what is replayed and how far it is.
class Teller {
 public:
  Teller(const Context& context, size_t runs)
      : progress_(Progress::style_for(context), clock_.now()), runs_(runs) {}
  ~Teller() { say(progress_.finish()); }
  Teller(const Teller&) = delete;
  Teller& operator=(const Teller&) = delete;

  void tell(const std::string& what, double share) {
    const double done = (static_cast<double>(runs_done_) + share) / static_cast<double>(runs_);
    say(progress_.update({.message = fmt::format("{:.0f} %, {}", 100 * done, what)}, clock_.now()));
  }
  void end_run() { ++runs_done_; }

 private:
  static void say(const std::string& text) { std::fputs(text.c_str(), stderr); }
  os::SystemClock clock_;
  Progress progress_;
  size_t runs_, runs_done_ = 0;
};

Result<std::vector<Part>> replay_all(const Context& context, const Arguments& arguments,
                                     const Plan& plan) {
  const os::SystemClock clock;
  Teller teller(context, arguments.files.size() * plan.caches.size() * plan.methods.size());
  std::vector<Part> parts;
  for (const std::string& path : arguments.files) {
    FR_TRY(const auto accesses, read_trace(path, plan.block_bytes));
    const std::string file = std::filesystem::path(path).filename().string();
    for (const auto& [cache, share] : plan.caches) {
      replay::BlockWorld world = plan.world;
      world.cache_share = share;
      Part part{.file = file,
                .cache = cache,
                .requests = accesses.all().size(),
                .cache_blocks = replay::BlockReplay::cache_blocks(accesses, world)};
      const replay::BlockReplay run(accesses.all(), part.cache_blocks, world, &clock);
      for (const std::string& name : plan.methods) {
        FR_TRY(const auto method, replay::make_block_method(
                                      name, {accesses.all(), part.cache_blocks, plan.block_bytes}));
        const std::string what = fmt::format("{}, cache {}, {}", file, cache, name);
        part.outcomes.push_back(
            run.run(method.get(), [&](double done) { teller.tell(what, done); }));
        teller.end_run();
      }
      parts.push_back(std::move(part));
    }
  }
  return parts;
}

json::object json_of(const BlockOutcome& one, const BlockOutcome& none) {
  const auto share = [](uint64_t part, uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  return {{"mean_us", one.mean_us},
          {"p50_us", one.p50_us},
          {"p90_us", one.p90_us},
          {"p99_us", one.p99_us},
          {"p999_us", one.p999_us},
          {"coverage", one.coverage(none)},
          {"accuracy", one.accuracy()},
          {"traffic", one.traffic(none)},
          {"timely", one.timely()},
          {"late_wait_us", one.late_wait_us},
          {"reads", one.reads},
          {"reads_missed_ratio", share(one.reads_missed, one.reads)},
          {"blocks_missed", one.blocks_missed},
          {"blocks_issued", one.blocks_issued},
          {"blocks_used", one.blocks_used},
          {"blocks_polluted", one.polluted_blocks},
          {"ns_per_access", one.method_ns_p50},
          {"ns_per_access_p99", one.method_ns_p99},
          {"state_bytes", one.state_bytes}};
}

// Returns the best method of one idea, chosen afterwards; null: there is none.
const BlockOutcome* best_single(const Part& part) {
  const BlockOutcome* best = nullptr;
  for (const BlockOutcome& one : part.outcomes)
    if (replay::is_single_method(one.method) && (!best || one.mean_us < best->mean_us)) best = &one;
  return best;
}

json::object result_json(const Plan& plan, const std::vector<Part>& parts) {
  json::object traces;
  for (const Part& part : parts) {
    json::object& trace = traces[part.file].is_object() ? traces[part.file].as_object()
                                                        : traces[part.file].emplace_object();
    json::object methods;
    for (const BlockOutcome& one : part.outcomes)
      methods[one.method] = json_of(one, part.outcomes.front());
    if (const BlockOutcome* best = best_single(part)) {
      json::object row = json_of(*best, part.outcomes.front());
      row["method"] = best->method;
      methods["best_single"] = std::move(row);
    }
    trace[part.cache] = {{"requests", part.requests},
                         {"cache_blocks", part.cache_blocks},
                         {"methods", std::move(methods)}};
  }
  return {{"block_bytes", plan.block_bytes},
          {"hit_us", plan.world.hit_us},
          {"latency_us", plan.world.miss_us},
          {"block_us", plan.world.block_us},
          {"eviction", plan.world.eviction == replay::Eviction::kLru ? "lru" : "s3fifo"},
          {"traffic_cap",
           plan.world.traffic_max > 0 ? json::value(plan.world.traffic_max) : json::value()},
          {"clock", plan.world.has_recorded_times ? "recorded" : "closed"},
          {"warm_up_ratio", plan.world.warm_up_share},
          {"traces", std::move(traces)}};
}

std::vector<std::string> row_of(const std::string& name, const BlockOutcome& one,
                                const BlockOutcome& none) {
  const auto unless_none = [&](std::string cell) { return &one == &none ? "–" : cell; };
  const double missed_ratio =
      one.reads == 0 ? 0 : static_cast<double>(one.reads_missed) / static_cast<double>(one.reads);
  return {name,
          fmt::format("{:.0f}", one.mean_us),
          fmt::format("{:.0f}", one.p99_us),
          fmt::format("{:.3f}", missed_ratio),
          unless_none(fmt::format("{:.2f}", one.coverage(none))),
          unless_none(fmt::format("{:.2f}", one.accuracy())),
          unless_none(fmt::format("{:.2f}", one.timely())),
          fmt::format("{:.2f}", one.traffic(none)),
          unless_none(fmt::format("{:.0f}", one.method_ns_p50)),
          unless_none(show_bytes(static_cast<double>(one.state_bytes)))};
}

std::string result_table(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& part : parts) {
    const BlockOutcome& none = part.outcomes.front();
    Table table({{"METHOD"},
                 {"MEAN µs", true},
                 {"P99", true},
                 {"READS MISSED", true},
                 {"COVERAGE", true},
                 {"ACCURACY", true},
                 {"TIMELY", true},
                 {"TRAFFIC", true},
                 {"ns/READ", true},
                 {"STATE", true}});
    for (const BlockOutcome& one : part.outcomes) table.add(row_of(one.method, one, none));
    if (const BlockOutcome* best = best_single(part))
      table.add(row_of(fmt::format("best_single: {}", best->method), *best, none));
    text += fmt::format("{}{}: {} requests, cache {} = {} blocks\n{}", text.empty() ? "" : "\n",
                        part.file, show_count(part.requests), part.cache,
                        show_count(part.cache_blocks), table.text());
  }
  return text;
}

// A picture for each trace and cache: of several, each has its own name.
Status write_plots(const std::string& path, const std::vector<Part>& parts) {
  const std::filesystem::path whole(path);
  for (const Part& part : parts) {
    std::filesystem::path own = whole;
    if (parts.size() > 1)
      own.replace_filename(fmt::format("{}.{}.{}{}", whole.stem().string(), part.file,
                                       part.cache.substr(0, part.cache.find('%')),
                                       whole.extension().string()));
    const std::string title = fmt::format("{}, cache {}", part.file, part.cache);
    FR_CHECK(os::write_file_atomic(own.string(), as_bytes(plot_replay(title, part.outcomes))));
  }
  return {};
}

Result<int> replay_block(const Context& context, const Arguments& arguments) {
  FR_TRY(const Plan plan, plan_of(arguments));
  FR_TRY(const auto parts, replay_all(context, arguments, plan));
  if (!arguments.plot.empty()) FR_CHECK(write_plots(arguments.plot, parts));
  if (context.output == Output::kTable)
    print(result_table(parts));
  else
    print_json(context, json::serialize(result_json(plan, parts)));
  return kExitOk;
}

}  // namespace

void add_replay_block(CLI::App& replay, const Context& context, Command& chosen) {
  auto* block = replay.add_subcommand(
      "block", "what reads of a recorded disk would have waited, by method of fetching ahead");
  auto arguments = std::make_shared<Arguments>();
  block->add_option("FILE", arguments->files, "traces: ts_us,op,start_sector,n_sectors a line")
      ->required();
  block->add_option("--methods", arguments->methods, "some of them (default: all)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME,...");
  block->add_option("--cache", arguments->caches, "of the trace's distinct blocks")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("SHARE,...")
      ->capture_default_str();
  block->add_option("--hit", arguments->hit, "a read of the cache")->capture_default_str();
  block->add_option("--latency", arguments->latency, "of the slow tier")->capture_default_str();
  block->add_option("--bandwidth", arguments->bandwidth, "of the slow tier, bytes a second")
      ->capture_default_str();
  block->add_option("--block", arguments->block, "bytes of a block")->capture_default_str();
  block
      ->add_option("--clock", arguments->clock,
                   "closed: a request begins when the one before is done; recorded: at its time")
      ->check(CLI::IsMember({"closed", "recorded"}))
      ->capture_default_str();
  block->add_option("--warm-up", arguments->warm_up, "of the requests: replayed, not scored")
      ->capture_default_str();
  block->add_option("--eviction", arguments->eviction, "what leaves the cache; s3fifo: as the tier")
      ->check(CLI::IsMember({"lru", "s3fifo"}))
      ->capture_default_str();
  block
      ->add_option("--traffic-cap", arguments->traffic_cap,
                   "what would make a method fetch more than so many times what none does is left")
      ->check(CLI::Range(1.0, 100.0))
      ->type_name("RATIO");
  block->add_option("--plot", arguments->plot, "an SVG of waits and coverage over the trace")
      ->type_name("FILE");
  block->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return replay_block(context, *arguments); };
  });
}

}  // namespace forerun::cli
