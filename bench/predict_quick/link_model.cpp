#include "link_model.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "predict/price.h"

namespace forerun::bench {
namespace {

// Worthy ones first, as the daemon's prefetcher orders them.
int band_of(float worth) { return worth >= 0.5f ? 0 : worth >= 0.2f ? 1 : 2; }

using Block = std::pair<ComponentId, uint64_t>;

struct Wish {
  int band = 0;
  Time due{};
  uint64_t sequence = 0;
  Block block;
  uint8_t model = 0;
  auto operator<=>(const Wish&) const = default;
};

enum class State : uint8_t { kUnderWay, kHere };

struct Chunk {
  State state = State::kUnderWay;
  Time arrives{};
  uint32_t bytes = 0;
  bool prefetched = false;
  bool used = false;
  uint8_t model = 0;  // that a prefetch was proposed by
};

class Simulation {
 public:
  Simulation(predict::Arbiter& arbiter, const RunOptions& options)
      : arbiter_(arbiter), options_(options) {
    const double window = options.link.rate_bytes_per_s * to_seconds(options.link.round_trip);
    in_flight_max_ = static_cast<uint64_t>(window) + options.link.block_bytes;
  }

  RunResult play(const std::vector<TraceRead>& reads) {
    arbiter_.on_start(now_, proposals_);
    offer(proposals_);
    Nanos recorded{};
    for (const TraceRead& read : reads) {
      const auto think =
          from_seconds(to_seconds(std::max(Nanos{0}, read.at - recorded)) * options_.think_scale);
      recorded = read.at;
      advance(now_ + think);
      is_counted_ = read.at <= options_.served;
      const Time ready = demand(read);
      const Nanos waited = ready - now_;
      // The daemon observes a read when it is asked, not when it is served: what follows travels
      // right behind.
      observe(read, waited);
      if (waited > Nanos{0}) {
        if (is_counted_) {
          waits_ms_.push_back(to_seconds(waited) * 1e3);
          result_.stall_s += to_seconds(waited);
        }
        advance(ready);
      }
    }
    return finish();
  }

 private:
  void observe(const TraceRead& read, Nanos waited) {
    for (const TraceRun& run : read.runs) {
      trace::Access access{.at = now_,
                           .component = run.component,
                           .first_block = run.first_block,
                           .block_count = run.block_count};
      access.served_from =
          waited > Nanos{0} ? trace::ServedFrom::kRepository : trace::ServedFrom::kMemory;
      proposals_.clear();
      const auto before = std::chrono::steady_clock::now();
      arbiter_.on_access(access, proposals_);
      spent_ns_.push_back(static_cast<double>((std::chrono::steady_clock::now() - before).count()));
      offer(proposals_);
    }
    pump();
  }

  uint32_t bytes_of(const Block& block) const {
    return options_.bytes_of ? options_.bytes_of(block.first, block.second)
                             : options_.link.block_bytes;
  }

  // Puts one block on the wire. Returns when it arrives; zeroes are here.
  Time send(const Block& block, bool prefetched, uint8_t model) {
    const uint32_t bytes = bytes_of(block);
    if (bytes == 0) {
      chunks_[block] = {State::kHere, now_, 0, false, false, 0};
      return now_;
    }
    busy_until_ = std::max(busy_until_, now_ + options_.link.round_trip / 2) +
                  from_seconds(bytes / options_.link.rate_bytes_per_s);
    const Time arrives =
        std::max(busy_until_ + options_.link.round_trip / 2, now_ + options_.link.round_trip);
    chunks_[block] = {State::kUnderWay, arrives, bytes, prefetched, false, model};
    under_way_.emplace(arrives, bytes);
    under_way_bytes_ += bytes;
    ++result_.fetched;
    PartResult& part = result_.parts[block.first];
    if (prefetched) {
      ++result_.prefetched;
      result_.prefetched_bytes += bytes;
      ++part.prefetched;
      part.prefetched_bytes += bytes;
      auto& its = result_.by_model[model];
      ++its.prefetched;
      its.prefetched_bytes += bytes;
    } else {
      ++part.demanded;
      part.demand_bytes += bytes;
    }
    return arrives;
  }

  void land() {
    under_way_bytes_ -= under_way_.begin()->second;
    under_way_.erase(under_way_.begin());
  }

  void pump() {
    while (!under_way_.empty() && under_way_.begin()->first <= now_) land();
    while (options_.prefetches && under_way_bytes_ < in_flight_max_ && !wishes_.empty()) {
      const Wish best = *wishes_.begin();
      wishes_.erase(wishes_.begin());
      wished_.erase(best.block);
      if (!chunks_.contains(best.block)) send(best.block, true, best.model);
    }
  }

  void advance(Time until) {
    for (pump(); !under_way_.empty() && under_way_.begin()->first <= until; pump())
      now_ = std::max(now_, under_way_.begin()->first);
    now_ = std::max(now_, until);
    pump();
  }

  // Asks for what is missing. Returns when all of the read is here.
  Time demand(const TraceRead& read) {
    Time ready = now_;
    for (const TraceRun& run : read.runs) {
      for (uint32_t i = 0; i < run.block_count; ++i)
        ready = std::max(ready, demand({run.component, run.first_block + i}));
    }
    return ready;
  }

  Time demand(const Block& block) {
    auto why = Wait::Why::kUnforeseen;
    if (const auto wish = wished_.find(block); wish != wished_.end()) {
      why = Wait::Why::kNotYetAsked;
      wishes_.erase(wish->second);
      wished_.erase(wish);
    }
    const auto found = chunks_.find(block);
    if (found == chunks_.end()) {
      const Time arrives = send(block, false, 0);
      chunks_[block].used = true;
      note_wait(block, why, arrives);
      return arrives;
    }
    Chunk& chunk = found->second;
    note_wait(block, Wait::Why::kOnTheWire, chunk.arrives);
    if (chunk.prefetched && !chunk.used) ++(chunk.arrives > now_ ? result_.late : result_.hit);
    chunk.used = true;
    return chunk.arrives;
  }

  void note_wait(const Block& block, Wait::Why why, Time arrives) {
    if (is_counted_ && arrives > now_)
      result_.waits.push_back({now_ - started_, block.first, block.second, why, arrives - now_});
  }

  void offer(const std::vector<predict::Proposal>& proposals) {
    for (const auto& proposal : proposals) {
      for (uint32_t i = 0; i < proposal.block_count; ++i) {
        const Block block{proposal.component, proposal.first_block + i};
        if (chunks_.contains(block)) continue;
        const float worth = options_.is_priced
                                ? predict::worth_of(proposal.probability, bytes_of(block))
                                : proposal.probability;
        Wish wish{band_of(worth), proposal.due, sequence_++, block, proposal.model};
        if (const auto known = wished_.find(block); known != wished_.end()) {
          wish.band = std::min(wish.band, known->second.band);
          wish.due = std::min(wish.due, known->second.due);
          wishes_.erase(known->second);
        }
        wished_[block] = wish;
        wishes_.insert(wish);
      }
    }
  }

  RunResult finish() {
    arbiter_.on_end(now_);
    for (const auto& [block, chunk] : chunks_) {
      if (!chunk.prefetched || chunk.used) continue;
      ++result_.wasted;
      result_.wasted_bytes += chunk.bytes;
      ++result_.parts[block.first].wasted;
      result_.parts[block.first].wasted_bytes += chunk.bytes;
      auto& its = result_.by_model[chunk.model];
      ++its.wasted;
      its.wasted_bytes += chunk.bytes;
    }
    result_.total_s = to_seconds(now_ - Time{});
    result_.wait_p99_ms = percentile(waits_ms_, 0.99);
    result_.ns_per_access_p50 = percentile(spent_ns_, 0.5);
    result_.models = arbiter_.report();
    return result_;
  }

  static double percentile(std::vector<double>& values, double share) {
    if (values.empty()) return 0;
    const auto at =
        values.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), at, values.end());
    return *at;
  }

  predict::Arbiter& arbiter_;
  RunOptions options_;
  const Time started_ = Time{} + 1s;
  Time now_ = started_;
  Time busy_until_{};
  uint64_t in_flight_max_ = 0;  // bytes
  uint64_t under_way_bytes_ = 0;
  std::map<Block, Chunk> chunks_;
  std::multimap<Time, uint32_t> under_way_;  // bytes, by arrival; demand and prefetch
  std::set<Wish> wishes_;
  std::map<Block, Wish> wished_;
  uint64_t sequence_ = 0;
  bool is_counted_ = true;  // the read under way is before the services' answer
  std::vector<predict::Proposal> proposals_;
  std::vector<double> waits_ms_, spent_ns_;
  RunResult result_;
};

}  // namespace

RunResult run(const std::vector<TraceRead>& reads, predict::Arbiter& arbiter,
              const RunOptions& options) {
  return Simulation(arbiter, options).play(reads);
}

}  // namespace forerun::bench
