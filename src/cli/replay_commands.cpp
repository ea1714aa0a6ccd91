// forerun replay launches: what the prediction of launches is worth on a recorded trace. As the
// other replays it works on files by itself: there is nothing to ask the daemon.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/text.h"
#include "forecast/launch_replay.h"
#include "os/file.h"
#include "trace/launch_trace.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using forecast::LaunchReplay;
using forecast::LaunchReplayResult;
using forecast::MethodResult;

constexpr uint64_t kEqualBytes = 256 * kMiB;
constexpr double kWarmUp = 1.0 / 3;  // of the trace, where no other file teaches

struct Arguments {
  std::vector<std::string> files, train;
  uint32_t hosts = 50;
  std::string window = "10m", tick = "5m";
  std::vector<std::string> budgets = {"32M", "64M", "128M", "256M", "512M"};
  std::string deal = "trace";
  std::string sizes = "name";
  uint64_t seed = 1;
};

struct Trace {
  trace::LaunchNames names;
  std::vector<forecast::LaunchTick> ticks;
  uint32_t tenants = 1;
};

Result<uint32_t> whole_seconds(const std::string& text, double low, double high) {
  FR_TRY(const double seconds, parse_seconds(text));
  if (seconds < low || seconds > high || seconds != std::floor(seconds))
    return fail(
        ErrorCode::kInvalid,
        fmt::format("'{}' is not a whole number of seconds from {} to {}", text, low, high));
  return static_cast<uint32_t>(seconds);
}

Status read_into(const std::string& path, bool counted, trace::LaunchNames& names,
                 forecast::LaunchTicks& ticks) {
  FR_TRY(auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  trace::LaunchTraceReader reader(*file, path, names, {});
  trace::LaunchBin bin;
  for (;;) {
    FR_TRY(const bool more, reader.next(bin));
    if (!more) return {};
    FR_CHECK(ticks.add(bin, counted));
  }
}

Result<Trace> read_trace(const Arguments& arguments, uint32_t tick_s) {
  Trace trace;
  const auto by = arguments.deal == "bin" ? forecast::DealBy::kBin : forecast::DealBy::kTrace;
  forecast::LaunchTicks ticks(tick_s, {arguments.hosts, by, arguments.seed});
  for (const auto& path : arguments.train) FR_CHECK(read_into(path, false, trace.names, ticks));
  const size_t learned = ticks.ticks().size();
  for (const auto& path : arguments.files) FR_CHECK(read_into(path, true, trace.names, ticks));
  trace.ticks = ticks.ticks();
  trace.tenants = ticks.tenants();
  if (trace.ticks.size() == learned || trace.names.size() == 0)
    return fail(ErrorCode::kInvalid, "cannot replay launches: the files hold none");
  if (learned == 0) {
    const auto warm_up = static_cast<size_t>(static_cast<double>(trace.ticks.size()) * kWarmUp);
    for (size_t i = 0; i < warm_up; ++i) trace.ticks[i].counted = false;
  }
  return trace;
}

double ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// The best of what anyone would write first; what is the engine's, or knows sizes, is not.
bool is_baseline(const MethodResult& method) {
  return method.method != LaunchReplay::kEngine && method.method != LaunchReplay::kEngineUnsaved &&
         method.method != LaunchReplay::kPerByte;
}

struct Comparison {
  const MethodResult* engine = nullptr;
  const MethodResult* best = nullptr;
  const MethodResult* per_byte = nullptr;
};

Comparison compare(const LaunchReplayResult& result, uint64_t budget) {
  Comparison found;
  for (const MethodResult& method : result.methods) {
    if (method.budget_bytes != budget) continue;
    if (method.method == LaunchReplay::kEngine) found.engine = &method;
    if (method.method == LaunchReplay::kPerByte) found.per_byte = &method;
    if (is_baseline(method) && (!found.best || method.launches_ready > found.best->launches_ready))
      found.best = &method;
  }
  return found;
}

double gain(const MethodResult& engine, const MethodResult& other) {
  return ratio(engine.launches_ready, other.launches_ready) - (other.launches_ready > 0 ? 1 : 0);
}

json::array budgets_json(const LaunchReplayResult& result, const std::vector<uint64_t>& budgets) {
  json::array list;
  for (const uint64_t budget : budgets) {
    json::object methods;
    for (const MethodResult& method : result.methods) {
      if (method.budget_bytes != budget) continue;
      methods[method.method] = {
          {"ready_ratio", ratio(method.launches_ready, result.launches)},
          {"batches_ready_ratio", ratio(method.batches_ready, result.batches)},
          {"granted_bytes", method.granted_bytes},
          {"spent_bytes", method.spent_bytes},
          {"prefetches", method.prefetches},
          {"used_ratio", ratio(method.used, method.prefetches)},
      };
    }
    const Comparison found = compare(result, budget);
    list.push_back({{"budget_bytes", budget},
                    {"best_baseline", found.best->method},
                    {"gain_ratio", gain(*found.engine, *found.best)},
                    {"gain_over_per_byte_ratio", gain(*found.engine, *found.per_byte)},
                    {"methods", std::move(methods)}});
  }
  return list;
}

json::object result_json(const Arguments& arguments, const forecast::LaunchShape& shape,
                         const LaunchReplayResult& result, const std::vector<uint64_t>& budgets) {
  json::array deciles, pieces;
  for (const auto& bin : result.reliability.bins())
    deciles.push_back({{"said", bin.said}, {"happened", bin.happened}, {"count", bin.count}});
  for (const auto& piece : result.scores)
    pieces.push_back(
        {{"name", piece.name}, {"log_loss", piece.log_loss}, {"weight_mean", piece.weight_mean}});
  return {{"hosts", shape.hosts},
          {"manifests", shape.manifests},
          {"tick_seconds", shape.tick_s},
          {"window_seconds", shape.tick_s * shape.window_ticks},
          {"deal", arguments.deal},
          {"sizes", arguments.sizes},
          {"seed", arguments.seed},
          {"ticks_learned", result.ticks_learned},
          {"ticks_counted", result.ticks_counted},
          {"launches", result.launches},
          {"batches", result.batches},
          {"budgets", budgets_json(result, budgets)},
          {"calibration",
           {{"gap", result.reliability.gap()},
            {"outcomes", result.reliability.count()},
            {"deciles", std::move(deciles)}}},
          {"pieces", std::move(pieces)}};
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string result_table(const LaunchReplayResult& result, const std::vector<uint64_t>& budgets) {
  std::vector<Table::Column> columns = {{"BUDGET"}};
  for (const MethodResult& method : result.methods) {
    if (method.budget_bytes != budgets.front()) break;
    std::string heading = method.method;
    for (char& c : heading) c = c == '_' ? ' ' : static_cast<char>(std::toupper(c));
    columns.push_back({heading, true});
  }
  columns.push_back({"GAIN", true});
  Table shares(columns);
  for (const uint64_t budget : budgets) {
    std::vector<std::string> row = {show_bytes(static_cast<double>(budget))};
    for (const MethodResult& method : result.methods)
      if (method.budget_bytes == budget)
        row.push_back(percent(ratio(method.launches_ready, result.launches)));
    const Comparison found = compare(result, budget);
    row.push_back(fmt::format("{:+.0f} %", 100 * gain(*found.engine, *found.best)));
    shares.add(std::move(row));
  }
  Table deciles({{"SAID", true}, {"HAPPENED", true}, {"PREDICTIONS", true}});
  for (const auto& bin : result.reliability.bins())
    if (bin.count > 0)
      deciles.add({percent(bin.said), percent(bin.happened), show_count(bin.count)});
  Table pieces({{"PIECE"}, {"LOG LOSS", true}, {"WEIGHT", true}});
  for (const auto& piece : result.scores)
    pieces.add({piece.name, fmt::format("{:.5f}", piece.log_loss),
                piece.name == "mix" ? "" : fmt::format("{:.2f}", piece.weight_mean)});
  return fmt::format(
      "{} launches in {} batches, counted in {} ticks after {} learned\n\n"
      "Launches whose manifest was prefetched, by budget per host and window\n{}\n"
      "Probabilities of a launch within the window, and what came true\n{}\n"
      "Pieces: nats per prediction, weight in the mix\n{}",
      show_count(result.launches), show_count(result.batches), show_count(result.ticks_counted),
      show_count(result.ticks_learned), shares.text(), deciles.text(), pieces.text());
}

Result<int> replay_launches(const Context& context, const Arguments& arguments) {
  FR_TRY(const uint32_t tick_s, whole_seconds(arguments.tick, 60, 3600));
  FR_TRY(const uint32_t window_s, whole_seconds(arguments.window, 60, 86400));
  if (window_s % tick_s != 0)
    return fail(ErrorCode::kInvalid, "the window is not a whole number of ticks");
  std::vector<uint64_t> budgets;
  for (const std::string& budget : arguments.budgets) {
    FR_TRY(const uint64_t bytes, parse_size(budget));
    budgets.push_back(bytes);
  }
  FR_TRY(const Trace trace, read_trace(arguments, tick_s));
  const forecast::LaunchShape shape{.hosts = arguments.hosts,
                                    .manifests = static_cast<uint32_t>(trace.names.size()),
                                    .tick_s = tick_s,
                                    .window_ticks = window_s / tick_s,
                                    .tenants = trace.tenants};
  std::vector<uint64_t> sizes;
  for (uint32_t m = 0; m < shape.manifests; ++m)
    sizes.push_back(arguments.sizes == "equal" ? kEqualBytes
                                               : forecast::size_by_name(trace.names.name_of(m)));
  FR_TRY(auto replay, LaunchReplay::make(shape, {.sizes = std::move(sizes), .budgets = budgets}));
  for (const forecast::LaunchTick& tick : trace.ticks)
    replay->feed(tick.tick, tick.launched, tick.counted, tick.stopped);
  const LaunchReplayResult result = replay->result();
  if (context.output == Output::kTable)
    print(result_table(result, budgets));
  else
    print_json(context, json::serialize(result_json(arguments, shape, result, budgets)));
  return kExitOk;
}

}  // namespace

void add_replay_commands(CLI::App& app, const Context& context, Command& chosen) {
  auto* replay = app.add_subcommand("replay", "replay recordings offline, without a daemon");
  replay->require_subcommand(1);
  add_replay_block(*replay, context, chosen);
  auto* launches = replay->add_subcommand(
      "launches", "how many launches would have found their manifest prefetched");
  auto arguments = std::make_shared<Arguments>();
  launches->add_option("FILE", arguments->files, "traces of launches, in the order of their time")
      ->required();
  launches
      ->add_option("--train", arguments->train,
                   "traces to learn from before; without, the first third is not counted")
      ->allow_extra_args(false)
      ->type_name("FILE");
  launches->add_option("--hosts", arguments->hosts, "hosts that batches are dealt to")
      ->check(CLI::Range(1U, forecast::kLaunchHostsMax))
      ->capture_default_str();
  launches->add_option("--window", arguments->window, "how long a prefetch counts")
      ->capture_default_str();
  launches->add_option("--tick", arguments->tick, "how often it is predicted")
      ->capture_default_str();
  launches->add_option("--budget-bytes", arguments->budgets, "bytes per host and window, several")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("SIZE,...")
      ->capture_default_str();
  launches
      ->add_option("--deal", arguments->deal,
                   "deal batches by their position in the trace, or in their bin")
      ->check(CLI::IsMember({"trace", "bin"}))
      ->capture_default_str();
  launches
      ->add_option("--sizes", arguments->sizes,
                   "bytes of a manifest: by a hash of its name, or all 256 MiB")
      ->check(CLI::IsMember({"name", "equal"}))
      ->capture_default_str();
  launches->add_option("--seed", arguments->seed, "of the dealing")->capture_default_str();
  launches->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return replay_launches(context, *arguments); };
  });
}

}  // namespace forerun::cli
