#include "link_model.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

namespace forerun::bench {
namespace {

// Likely ones first, as the daemon's prefetcher orders them.
int band_of(float probability) { return probability >= 0.5f ? 0 : probability >= 0.2f ? 1 : 2; }

struct Wish {
  int band = 0;
  Time due{};
  uint64_t sequence = 0;
  uint64_t block = 0;
  auto operator<=>(const Wish&) const = default;
};

enum class State : uint8_t { kUnderWay, kHere };

struct Chunk {
  State state = State::kUnderWay;
  Time arrives{};
  bool prefetched = false;
  bool used = false;
};

class Simulation {
 public:
  Simulation(predict::Arbiter& arbiter, const RunOptions& options)
      : arbiter_(arbiter), options_(options) {
    const double window = options.link.rate_bytes_per_s * to_seconds(options.link.round_trip);
    in_flight_max_ = static_cast<size_t>(window / options.link.block_bytes) + 1;
    block_time_ = from_seconds(options.link.block_bytes / options.link.rate_bytes_per_s);
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
      const Time ready = demand(read);
      const Nanos waited = ready - now_;
      // The daemon observes a read when it is asked, not when it is served: what follows travels
      // right behind.
      observe(read, waited);
      if (waited > Nanos{0}) {
        waits_ms_.push_back(to_seconds(waited) * 1e3);
        result_.stall_s += to_seconds(waited);
        advance(ready);
      }
    }
    return finish();
  }

 private:
  void observe(const TraceRead& read, Nanos waited) {
    trace::Access access{
        .at = now_, .first_block = read.first_block, .block_count = read.block_count};
    access.served_from =
        waited > Nanos{0} ? trace::ServedFrom::kRepository : trace::ServedFrom::kMemory;
    proposals_.clear();
    const auto before = std::chrono::steady_clock::now();
    arbiter_.on_access(access, proposals_);
    spent_ns_.push_back(static_cast<double>((std::chrono::steady_clock::now() - before).count()));
    offer(proposals_);
    pump();
  }

  // Puts one block on the wire. Returns when it arrives.
  Time send(uint64_t block, bool prefetched) {
    busy_until_ = std::max(busy_until_, now_ + options_.link.round_trip / 2) + block_time_;
    const Time arrives =
        std::max(busy_until_ + options_.link.round_trip / 2, now_ + options_.link.round_trip);
    chunks_[block] = {State::kUnderWay, arrives, prefetched, false};
    under_way_.emplace(arrives, block);
    ++result_.fetched;
    result_.prefetched += prefetched ? 1 : 0;
    return arrives;
  }

  void pump() {
    while (!under_way_.empty() && under_way_.begin()->first <= now_)
      under_way_.erase(under_way_.begin());
    while (options_.prefetches && under_way_.size() < in_flight_max_ && !wishes_.empty()) {
      const Wish best = *wishes_.begin();
      wishes_.erase(wishes_.begin());
      wished_.erase(best.block);
      if (!chunks_.contains(best.block)) send(best.block, true);
    }
  }

  void advance(Time until) {
    for (pump(); !under_way_.empty() && under_way_.begin()->first <= until; pump())
      now_ = under_way_.begin()->first;
    now_ = std::max(now_, until);
    pump();
  }

  // Asks for what is missing. Returns when all of the read is here.
  Time demand(const TraceRead& read) {
    Time ready = now_;
    for (uint64_t block = read.first_block; block < read.first_block + read.block_count; ++block) {
      auto found = chunks_.find(block);
      if (const auto wish = wished_.find(block); wish != wished_.end()) {
        wishes_.erase(wish->second);
        wished_.erase(wish);
      }
      if (found == chunks_.end()) {
        ready = std::max(ready, send(block, false));
        chunks_[block].used = true;
        continue;
      }
      Chunk& chunk = found->second;
      if (chunk.prefetched && !chunk.used) ++(chunk.arrives > now_ ? result_.late : result_.hit);
      chunk.used = true;
      ready = std::max(ready, chunk.arrives);
    }
    return ready;
  }

  void offer(const std::vector<predict::Proposal>& proposals) {
    for (const auto& proposal : proposals) {
      for (uint32_t i = 0; i < proposal.block_count; ++i) {
        const uint64_t block = proposal.first_block + i;
        if (chunks_.contains(block)) continue;
        Wish wish{band_of(proposal.probability), proposal.due, sequence_++, block};
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
    for (const auto& [block, chunk] : chunks_)
      result_.wasted += chunk.prefetched && !chunk.used ? 1 : 0;
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
  Time now_ = Time{} + 1s;
  Time busy_until_{};
  Nanos block_time_{};
  size_t in_flight_max_ = 1;
  std::map<uint64_t, Chunk> chunks_;
  std::multimap<Time, uint64_t> under_way_;  // demand and prefetch
  std::set<Wish> wishes_;
  std::map<uint64_t, Wish> wished_;
  uint64_t sequence_ = 0;
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
