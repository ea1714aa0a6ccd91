// Replays block traces through the tier's eviction policy and through LRU, and prints miss ratios.
//
// usage: tier_replay [BLOCK_SIZE] TRACE.csv…      (BLOCK_SIZE: 4096, the default, or 65536)
//
// A trace has a request per line: ts_us,op,start_sector,n_sectors, sectors of 512 bytes. Reads and
// writes count alike. A request is missed if any of its blocks is. Cache sizes are shares of the
// blocks that the trace touches at all.
#include <cstdio>
#include <cstdlib>
#include <list>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tier/s3fifo.h"

namespace {

using forerun::tier::Admission;
using forerun::tier::S3Fifo;
using forerun::tier::S3FifoOptions;

struct Request {
  uint64_t first_block = 0;
  uint64_t last_block = 0;
};

struct Misses {
  uint64_t requests = 0;
  uint64_t blocks = 0;
};

// Both caches hold blocks of size 1 and answer: was it there? Afterwards it is.
class Lru {
 public:
  explicit Lru(uint64_t blocks_max) : blocks_max_(blocks_max) {}
  bool access(uint64_t block) {
    if (const auto found = index_.find(block); found != index_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    if (index_.size() == blocks_max_) {
      index_.erase(order_.back());
      order_.pop_back();
    }
    order_.push_front(block);
    index_[block] = order_.begin();
    return false;
  }

 private:
  const uint64_t blocks_max_;
  std::list<uint64_t> order_;
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> index_;
};

class Fifo3 {
 public:
  explicit Fifo3(const S3FifoOptions& options) : fifo_(options) {}
  bool access(uint64_t block) {
    if (fifo_.use(block).value != nullptr) return true;
    evicted_.clear();
    fifo_.insert(block, 1, {}, Admission::kDemand, evicted_);
    return false;
  }

 private:
  struct Nothing {};
  S3Fifo<uint64_t, Nothing> fifo_;
  std::vector<S3Fifo<uint64_t, Nothing>::Evicted> evicted_;
};

std::vector<Request> load(const char* path, uint64_t sectors_per_block) {
  std::FILE* const file = std::fopen(path, "r");
  if (file == nullptr) {
    fmt::print(stderr, "tier_replay: cannot open {}\n", path);
    std::exit(1);
  }
  std::vector<Request> requests;
  char line[128];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long long start = 0, count = 0;
    if (std::sscanf(line, "%*[^,],%*[^,],%llu,%llu", &start, &count) != 2 || count == 0) continue;
    requests.push_back({start / sectors_per_block, (start + count - 1) / sectors_per_block});
  }
  std::fclose(file);
  return requests;
}

template <typename Cache>
Misses replay(const std::vector<Request>& requests, Cache cache) {
  Misses misses;
  for (const Request& request : requests) {
    uint64_t missed = 0;
    for (uint64_t block = request.first_block; block <= request.last_block; ++block) {
      missed += cache.access(block) ? 0 : 1;
    }
    misses.blocks += missed;
    misses.requests += missed > 0 ? 1 : 0;
  }
  return misses;
}

void compare(const char* path, uint64_t block_size) {
  const std::vector<Request> requests = load(path, block_size / 512);
  std::unordered_set<uint64_t> footprint;
  uint64_t accesses = 0;
  for (const Request& request : requests) {
    for (uint64_t b = request.first_block; b <= request.last_block; ++b) footprint.insert(b);
    accesses += request.last_block - request.first_block + 1;
  }
  fmt::print("{}: {} requests, {} accesses to {} blocks of {} bytes\n", path, requests.size(),
             accesses, footprint.size(), block_size);
  fmt::print("  {:>6} {:>9} | {:>24} | {:>24}\n", "cache", "blocks", "requests missed",
             "blocks missed");
  fmt::print("  {:>6} {:>9} | {:>7} {:>7} {:>8} | {:>7} {:>7} {:>8}\n", "", "", "LRU", "S3-FIFO",
             "paper", "LRU", "S3-FIFO", "paper");
  for (const int percent : {1, 5, 10, 20}) {
    const uint64_t blocks_max = std::max<uint64_t>(footprint.size() * percent / 100, 1);
    const Misses of[] = {
        replay(requests, Lru(blocks_max)),
        replay(requests, Fifo3({.bytes_max = blocks_max})),
        replay(requests, Fifo3({.bytes_max = blocks_max, .burst_accesses = 0})),
    };
    const auto share = [](uint64_t part, uint64_t whole) {
      return static_cast<double>(part) / static_cast<double>(std::max<uint64_t>(whole, 1));
    };
    fmt::print("  {:>5}% {:>9} |", percent, blocks_max);
    for (const Misses& m : of) fmt::print(" {:>7.4f}", share(m.requests, requests.size()));
    fmt::print("  |");
    for (const Misses& m : of) fmt::print(" {:>7.4f}", share(m.blocks, accesses));
    fmt::print("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  int next = 1;
  uint64_t block_size = 4096;
  if (argc > 1 && (std::string(argv[1]) == "4096" || std::string(argv[1]) == "65536")) {
    block_size = std::strtoull(argv[next++], nullptr, 10);
  }
  if (next == argc) {
    fmt::print(stderr, "usage: tier_replay [4096|65536] TRACE.csv…\n");
    return 2;
  }
  for (; next < argc; ++next) compare(argv[next], block_size);
}
