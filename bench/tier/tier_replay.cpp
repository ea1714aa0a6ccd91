// Replays block traces through the tier and through LRU, a VM a trace, and says how long the guests
// would have waited. `make bench-tier TRACES="…"` writes build/bench/tier.json; what each figure
// means: README.md.
//
// usage: tier_replay OUT.json COMMIT TRACE.csv…
//
// A trace has a request per line: ts_us,op,start_sector,n_sectors, sectors of 512 bytes. Reads and
// writes count alike.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <list>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/codec.h"
#include "core/rng.h"
#include "tier/tier.h"

namespace {

using namespace forerun;
using tier::Admission;
using tier::FetchCosts;
using tier::Level;
using tier::Tier;
namespace json = boost::json;

constexpr FetchCosts kCosts{.remote_seconds = 0.010, .file_seconds = 0.0003};  // 100 Mbit/s
constexpr uint64_t kSeed = 20261121;

// One access of one VM to one chunk.
struct Access {
  uint32_t chunk = 0;  // of all VMs, numbered
  uint32_t vm = 0;
};

// What is replayed, and how large its chunks are.
struct Scenario {
  std::string name;
  std::vector<Access> accesses;
  std::vector<repository::ChunkPtr> chunks;
  uint64_t bytes = 0;    // of all chunks, as memory counts them
  bool has_file = true;  // four times the memory; else only the memory
  bool is_foreseen = false;
  double prefetch_precision = 0;  // over 0: forecasts of this quality are fetched ahead
};

struct Outcome {
  uint64_t from_file = 0, remote = 0, prefetched = 0;
  double wait_seconds = 0;

  void miss(Level level, uint64_t size) {
    ++(level == Level::kFile ? from_file : remote);
    wait_seconds += level == Level::kFile ? kCosts.file_seconds
                                          : kCosts.remote_seconds + kCosts.remote_seconds_per_byte *
                                                                        static_cast<double>(size);
  }
};

// A file whose writes are kept as they came: the tier reads back at the offsets it wrote to.
class SparseFile final : public StorageFile {
 public:
  Status read(uint64_t offset, MutableByteView out) override {
    const auto found = writes_.find(offset);
    std::fill(out.begin(), out.end(), std::byte{0});
    if (found != writes_.end())
      std::copy_n(found->second.begin(), std::min(out.size(), found->second.size()), out.begin());
    return {};
  }
  Status write(uint64_t offset, ByteView data) override {
    writes_[offset].assign(data.begin(), data.end());
    return {};
  }
  Status flush() override { return {}; }
  Status punch(ByteRange) override { return {}; }
  Status resize(uint64_t) override { return {}; }
  Result<uint64_t> size() override { return 0; }

 private:
  std::unordered_map<uint64_t, Buffer> writes_;
};

uint64_t charge(const repository::Chunk& chunk) {
  return std::max<uint64_t>(chunk.content.size(), 4096);
}

repository::ChunkPtr chunk_of(uint64_t number, size_t size) {
  ByteWriter writer;
  writer.u64(number);
  Buffer content = writer.take();
  content.resize(size);
  const ChunkId id = sha256(content);
  return std::make_shared<const repository::Chunk>(repository::Chunk{id, std::move(content)});
}

// ---- the caches

std::unique_ptr<Tier> open_tier(const Scenario& scenario, uint64_t memory_bytes,
                                tier::TierOptions options) {
  options.memory_bytes_max = memory_bytes;
  options.file_bytes_max =
      scenario.has_file ? 4 * (memory_bytes / 4096) * repository::kChunkSize : 0;
  options.shards = 1;
  auto opened = scenario.has_file ? Tier::open(options, std::make_unique<SparseFile>(),
                                               std::make_unique<SparseFile>())
                                  : Tier::open(options, nullptr, nullptr);
  FR_ASSERT(opened.has_value());
  (*opened)->set_costs(kCosts);
  return std::move(*opened);
}

// What a forecast of four right ones in five says: each VM's next accesses a while before they
// come, but a fifth of them is left out, and as many are said that do not come.
class Forecast {
 public:
  // Of what is fetched ahead: as far as an eager prefetcher runs in front of its guest.
  static constexpr size_t kPrefetchLead = 512;
  static constexpr size_t kLead = 4096;  // accesses of all VMs: a boot is foreseen whole
  static constexpr double kProbability = 0.8;

  explicit Forecast(const Scenario& scenario) : scenario_(scenario) {}
  void before(size_t at, Tier& cache) {
    cache.tick(Time(std::chrono::milliseconds(at)));
    const Time until{std::chrono::milliseconds(at + 2 * kLead)};
    if (at + kLead < scenario_.accesses.size() && rng_.chance(kProbability))
      cache.need(id_of(scenario_.accesses[at + kLead].chunk), kProbability, until);
    if (rng_.chance(1 - kProbability))
      cache.need(id_of(static_cast<uint32_t>(rng_.below(scenario_.chunks.size()))), kProbability,
                 until);
  }

  // Fetches ahead what is not here: of five accesses four are foreseen, and for each of them as
  // many others as the precision says.
  void fetch_ahead(size_t at, Tier& cache, Outcome& outcome) {
    if (!rng_.chance(kProbability)) return;
    const double precision = scenario_.prefetch_precision;
    if (at + kPrefetchLead < scenario_.accesses.size())
      fetch(scenario_.accesses[at + kPrefetchLead].chunk, cache, outcome);
    for (wrong_owed_ += 1 / precision - 1; wrong_owed_ >= 1; wrong_owed_ -= 1)
      fetch(static_cast<uint32_t>(rng_.below(scenario_.chunks.size())), cache, outcome);
  }

 private:
  void fetch(uint32_t number, Tier& cache, Outcome& outcome) {
    const repository::Chunk& chunk = *scenario_.chunks[number];
    if (cache.where(chunk.id) != Level::kNone) return;
    cache.insert(std::make_shared<const repository::Chunk>(chunk), Admission::kPrefetch);
    FR_ASSERT(cache.write_back(8).has_value());
    ++outcome.prefetched;
  }
  const ChunkId& id_of(uint32_t chunk) const { return scenario_.chunks[chunk]->id; }
  const Scenario& scenario_;
  Rng rng_{kSeed};
  double wrong_owed_ = 0;
};

Outcome replay_tier(const Scenario& scenario, uint64_t memory_bytes, tier::TierOptions options) {
  const auto cache = open_tier(scenario, memory_bytes, options);
  Forecast forecast(scenario);
  Outcome outcome;
  for (size_t i = 0; i < scenario.accesses.size(); ++i) {
    if (scenario.is_foreseen) forecast.before(i, *cache);
    if (scenario.prefetch_precision > 0) forecast.fetch_ahead(i, *cache, outcome);
    const repository::Chunk& chunk = *scenario.chunks[scenario.accesses[i].chunk];
    Level level{};
    const bool is_here = cache->find(chunk.id, &level) != nullptr;
    if (level == Level::kMemory) continue;
    outcome.miss(level, chunk.content.size());
    if (is_here) continue;
    cache->insert(std::make_shared<const repository::Chunk>(chunk), Admission::kDemand);
    FR_ASSERT(cache->write_back(8).has_value());
  }
  return outcome;
}

// Least recently used, of a size in bytes.
class Lru {
 public:
  explicit Lru(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  bool access(uint32_t chunk, uint64_t size) {
    if (const auto found = index_.find(chunk); found != index_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    bytes_ += size;
    order_.push_front({chunk, size});
    index_[chunk] = order_.begin();
    while (bytes_ > bytes_max_) {
      bytes_ -= order_.back().second;
      index_.erase(order_.back().first);
      order_.pop_back();
    }
    return false;
  }

 private:
  const uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  std::list<std::pair<uint32_t, uint64_t>> order_;
  std::unordered_map<uint32_t, std::list<std::pair<uint32_t, uint64_t>>::iterator> index_;
};

Outcome replay_lru(const Scenario& scenario, uint64_t memory_bytes) {
  Lru memory(memory_bytes);
  Lru file(scenario.has_file ? 4 * (memory_bytes / 4096) : 0);  // in slots
  Outcome outcome;
  for (const Access& access : scenario.accesses) {
    const repository::Chunk& chunk = *scenario.chunks[access.chunk];
    if (memory.access(access.chunk, charge(chunk))) continue;
    const bool is_in_file = scenario.has_file && file.access(access.chunk, 1);
    outcome.miss(is_in_file ? Level::kFile : Level::kNone, chunk.content.size());
  }
  return outcome;
}

// ---- what is replayed

std::vector<uint64_t> load(const char* path) {
  std::FILE* const file = std::fopen(path, "r");
  if (file == nullptr) {
    fmt::print(stderr, "tier_replay: cannot open {}\n", path);
    std::exit(1);
  }
  constexpr uint64_t kSectorsPerChunk = repository::kChunkSize / 512;
  std::vector<uint64_t> chunks;
  char line[128];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long long start = 0, count = 0;
    if (std::sscanf(line, "%*[^,],%*[^,],%llu,%llu", &start, &count) != 2 || count == 0) continue;
    const uint64_t last = (start + count - 1) / kSectorsPerChunk;
    for (uint64_t chunk = start / kSectorsPerChunk; chunk <= last; ++chunk) chunks.push_back(chunk);
  }
  std::fclose(file);
  return chunks;
}

// A VM's trace: which image (equal ones share their chunks), and how much later it starts.
struct Vm {
  const std::vector<uint64_t>* trace;
  uint32_t image;
  double lag_ratio;  // of the replay
};

// Deals the accesses of the VMs out over one replay, each spread evenly over what its lag leaves.
Scenario mix(std::string name, const std::vector<Vm>& vms, bool is_sized) {
  struct Timed {
    double at;
    uint32_t vm;
    size_t index;
    auto operator<=>(const Timed&) const = default;
  };
  std::vector<Timed> order;
  for (uint32_t vm = 0; vm < vms.size(); ++vm) {
    const double lag = vms[vm].lag_ratio;
    const auto count = static_cast<double>(vms[vm].trace->size());
    for (size_t i = 0; i < vms[vm].trace->size(); ++i)
      order.push_back({lag + (1 - lag) * static_cast<double>(i) / count, vm, i});
  }
  std::ranges::sort(order);
  Scenario scenario;
  scenario.name = std::move(name);
  std::unordered_map<uint64_t, uint32_t> numbers;
  Rng rng(kSeed);
  for (const Timed& each : order) {
    const uint64_t key = (uint64_t{vms[each.vm].image} << 48) | (*vms[each.vm].trace)[each.index];
    const auto [found, is_new] =
        numbers.try_emplace(key, static_cast<uint32_t>(scenario.chunks.size()));
    if (is_new) {
      const size_t size = is_sized ? size_t{4096} << rng.below(5) : 8;
      scenario.chunks.push_back(chunk_of(key, size));
      scenario.bytes += charge(*scenario.chunks.back());
    }
    scenario.accesses.push_back({found->second, each.vm});
  }
  return scenario;
}

// ---- the report

json::object figures(const Scenario& scenario, const Outcome& outcome) {
  const auto accesses = static_cast<double>(scenario.accesses.size());
  return {{"remote_ratio", static_cast<double>(outcome.remote) / accesses},
          {"file_ratio", static_cast<double>(outcome.from_file) / accesses},
          {"prefetched_ratio", static_cast<double>(outcome.prefetched) / accesses},
          {"wait_us_per_access", outcome.wait_seconds * 1e6 / accesses}};
}

json::object compare(const Scenario& scenario) {
  json::object sizes;
  for (const int percent : {2, 5, 10, 20}) {
    const uint64_t memory_bytes = scenario.bytes * static_cast<uint64_t>(percent) / 100;
    const tier::TierOptions by_worth;
    tier::TierOptions oldest, fixed_share;
    oldest.victim_candidates = 1;
    fixed_share.probation_ratio_min = fixed_share.probation_ratio_max = by_worth.probation_ratio;
    std::vector<std::pair<const char*, Outcome>> runs;
    if (scenario.prefetch_precision > 0) {
      runs.emplace_back("fixed_share", replay_tier(scenario, memory_bytes, fixed_share));
    } else {
      runs.emplace_back("lru", replay_lru(scenario, memory_bytes));
      runs.emplace_back("s3fifo", replay_tier(scenario, memory_bytes, oldest));
    }
    runs.emplace_back("by_worth", replay_tier(scenario, memory_bytes, by_worth));
    json::object policies;
    fmt::print("{:>16} {:>3}% |", scenario.name, percent);
    for (const auto& [name, outcome] : runs) {
      const json::object line = figures(scenario, outcome);
      fmt::print(" {} {:.4f} {:.4f} {:7.1f} |", name, line.at("remote_ratio").as_double(),
                 line.at("file_ratio").as_double(), line.at("wait_us_per_access").as_double());
      policies[name] = line;
    }
    fmt::print("\n");
    sizes[fmt::format("{}", percent)] = policies;
  }
  return {{"accesses", scenario.accesses.size()},
          {"chunks", scenario.chunks.size()},
          {"memory_percent", sizes}};
}

std::string stem(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  return name.substr(0, name.find('.'));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: tier_replay OUT.json COMMIT TRACE.csv…\n");
    return 2;
  }
  std::deque<std::vector<uint64_t>> traces;
  std::vector<Vm> each_alone, each_twice;
  json::object scenarios;
  const auto run = [&](const Scenario& scenario) { scenarios[scenario.name] = compare(scenario); };
  for (int i = 3; i < argc; ++i) {
    traces.push_back(load(argv[i]));
    const Vm vm{&traces.back(), static_cast<uint32_t>(i), 0};
    run(mix(stem(argv[i]), {vm}, false));
    each_alone.push_back(vm);
    each_twice.push_back(vm);
    each_twice.push_back({vm.trace, vm.image, 0.02});
  }
  run(mix("mix", each_alone, false));
  run(mix("mix_shared", each_twice, false));
  Scenario sized = mix("mix_sized", each_alone, true);
  sized.has_file = false;
  run(sized);
  Scenario foreseen = mix("mix_foreseen", each_alone, false);
  foreseen.is_foreseen = true;
  run(foreseen);
  for (const int percent : {80, 40}) {
    Scenario prefetched = mix(fmt::format("mix_prefetched_{}", percent), each_alone, false);
    prefetched.prefetch_precision = percent / 100.0;
    run(prefetched);
  }
  const json::object report = {{"commit", argv[2]},
                               {"seed", kSeed},
                               {"costs",
                                {{"remote_seconds", kCosts.remote_seconds},
                                 {"remote_seconds_per_byte", kCosts.remote_seconds_per_byte},
                                 {"file_seconds", kCosts.file_seconds}}},
                               {"scenarios", scenarios}};
  std::ofstream out(argv[1]);
  out << json::serialize(report) << "\n";
  return out.good() ? 0 : 1;
}
