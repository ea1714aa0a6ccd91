#include "replay/block_replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

namespace forerun::replay {
namespace {

constexpr size_t kCacheBlocksMin = 64;
constexpr size_t kWindows = 100;
constexpr size_t kProgressEvery = 1 << 14;  // requests

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

double quantile(std::vector<float>& values, double share) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// One run: the state of the world, and what is counted of it.
class Run {
 public:
  Run(size_t cache_blocks, const BlockWorld& world, const Clock* clock, BlockMethod* method,
      size_t reads)
      : world_(world),
        clock_(clock),
        method_(method),
        cache_(cache_blocks, world.eviction),
        shadow_(cache_blocks, world.eviction),
        reads_per_window_(std::max<size_t>(1, (reads + kWindows - 1) / kWindows)) {
    if (method)
      method->begin(
          [this](uint64_t first, uint32_t count) { return cache_.which_are_here(first, count); });
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void begin_scoring() { is_scoring_ = true; }

  void step(const BlockAccess& access) {
    if (world_.has_recorded_times) now_ = access.at_us;
    if (access.is_write)
      write(access);
    else
      read(access);
  }

  BlockOutcome outcome() {
    if (method_) {
      out_.method = method_->name();
      out_.state_bytes = method_->state_bytes();
    } else {
      out_.method = "none";
    }
    double sum = 0;
    for (const float one : waits_) sum += one;
    out_.mean_us = ratio(sum, static_cast<double>(waits_.size()));
    out_.late_wait_us = ratio(late_wait_, static_cast<double>(late_reads_));
    out_.p50_us = quantile(waits_, 0.5);
    out_.p90_us = quantile(waits_, 0.9);
    out_.p99_us = quantile(waits_, 0.99);
    out_.p999_us = quantile(waits_, 0.999);
    out_.method_ns_p50 = quantile(costs_, 0.5);
    out_.method_ns_p99 = quantile(costs_, 0.99);
    close_window();
    return std::move(out_);
  }

 private:
  struct Window {
    double wait = 0;
    uint64_t reads = 0, blocks = 0, missed = 0;
  };

  void write(const BlockAccess& access) {
    for (uint32_t i = 0; i < access.block_count; ++i) {
      const uint64_t number = access.first_block + i;
      shadow(number);
      if (BlockCache::Block* block = cache_.find(number)) {
        block->is_prefetched = false;
        cache_.touch(*block);
      } else {
        put({.number = number});
      }
    }
    if (method_) method_->on_write(access, now_);
    now_ += world_.hit_us;
  }

  void read(const BlockAccess& access) {
    double done = now_ + world_.hit_us;
    bool has_waited = false;
    missing_.clear();
    for (uint32_t i = 0; i < access.block_count; ++i) {
      const uint64_t number = access.first_block + i;
      const bool shadow_has = shadow(number);
      if (!shadow_has) ++none_missed_;
      if (BlockCache::Block* block = cache_.find(number)) {
        if (block->is_prefetched) has_waited = use(*block, done) || has_waited;
        cache_.touch(*block);
      } else {
        missing_.push_back(number);
        if (shadow_has && is_scoring_) ++out_.polluted_blocks;
      }
    }
    for (const uint64_t number : missing_)
      if (!cache_.find(number)) put({.number = number});
    fetched_ += missing_.size();
    const auto missed = static_cast<double>(missing_.size());
    if (!missing_.empty()) {
      done = std::max(done, now_ + world_.miss_us + world_.block_us * missed);
      busy_ = std::max(busy_, now_) + world_.block_us * missed;
    }
    if (is_scoring_) score(access, done - now_, has_waited);
    if (method_) fetch_ahead(access);
    now_ = done;
  }

  // Returns whether the block is still on its way.
  bool use(BlockCache::Block& block, double& done) {
    block.is_prefetched = false;
    const bool is_late = block.ready_us > now_;
    if (is_late) done = std::max(done, block.ready_us + world_.hit_us);
    if (is_scoring_) {
      ++out_.blocks_used;
      if (is_late) ++out_.blocks_late;
    }
    if (method_) method_->on_used(block.number, is_late);
    return is_late;
  }

  void fetch_ahead(const BlockAccess& access) {
    runs_.clear();
    const Time before = clock_ ? clock_->now() : kTimeZero;
    method_->on_read(access, missing_.empty(), now_, runs_);
    if (clock_ && is_scoring_)
      costs_.push_back(static_cast<float>((clock_->now() - before).count()));
    method_->work_aside();
    for (const BlockRun& run : runs_)
      for (uint32_t i = 0; i < std::min(run.block_count, world_.run_blocks_max); ++i) {
        const uint64_t number = run.first_block + i;
        if (cache_.find(number) || is_capped()) continue;
        ++fetched_;
        busy_ = std::max(busy_, now_) + world_.block_us;
        put({.number = number, .ready_us = busy_ + world_.miss_us, .is_prefetched = true});
        if (is_scoring_) ++out_.blocks_issued;
      }
  }

  bool is_capped() const {
    return world_.traffic_max > 0 && static_cast<double>(fetched_ + 1) >
                                         world_.traffic_max * static_cast<double>(none_missed_);
  }

  void put(const BlockCache::Block& block) {
    const auto left = cache_.put(block);
    if (left && left->is_prefetched && method_) method_->on_unused(left->number);
  }

  // Returns whether a cache without prefetches had the block.
  bool shadow(uint64_t number) {
    if (!method_) return false;
    if (const BlockCache::Block* block = shadow_.find(number)) {
      shadow_.touch(*block);
      return true;
    }
    shadow_.put({.number = number});
    return false;
  }

  void score(const BlockAccess& access, double wait, bool has_waited) {
    ++out_.reads;
    out_.blocks_read += access.block_count;
    out_.blocks_missed += missing_.size();
    if (!missing_.empty()) ++out_.reads_missed;
    if (has_waited && missing_.empty()) {
      late_wait_ += wait - world_.hit_us;
      ++late_reads_;
    }
    waits_.push_back(static_cast<float>(wait));
    window_.wait += wait;
    window_.blocks += access.block_count;
    window_.missed += missing_.size();
    if (++window_.reads == reads_per_window_) close_window();
  }

  void close_window() {
    if (window_.reads == 0) return;
    out_.window_mean_us.push_back(window_.wait / static_cast<double>(window_.reads));
    out_.window_missed_share.push_back(
        ratio(static_cast<double>(window_.missed), static_cast<double>(window_.blocks)));
    window_ = {};
  }

  const BlockWorld& world_;
  const Clock* clock_;
  BlockMethod* method_;
  BlockCache cache_, shadow_;
  size_t reads_per_window_;
  BlockOutcome out_;
  Window window_;
  double now_ = 0, busy_ = 0;  // busy_: until when the link has prefetches to carry
  bool is_scoring_ = false;
  uint64_t fetched_ = 0,
           none_missed_ = 0;  // blocks, and those that a cache without prefetches asks
  double late_wait_ = 0;
  uint64_t late_reads_ = 0;
  std::vector<float> waits_, costs_;
  std::vector<uint64_t> missing_;  // scratch, so the next
  std::vector<BlockRun> runs_;
};

}  // namespace

Status BlockAccesses::add(const trace::BlockRequest& request) {
  if (accesses_.size() >= kAccessesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("cannot replay more than {} requests", kAccessesMax));
  const uint64_t first = request.first_sector / block_sectors_;
  const uint64_t last = (request.first_sector + request.sectors - 1) / block_sectors_;
  accesses_.push_back({static_cast<double>(request.at_us), first,
                       static_cast<uint32_t>(last - first + 1), request.op != trace::Op::kRead});
  return {};
}

size_t BlockAccesses::distinct_blocks() const {
  std::unordered_set<uint64_t> blocks;
  for (const BlockAccess& access : accesses_)
    for (uint32_t i = 0; i < access.block_count; ++i) blocks.insert(access.first_block + i);
  return blocks.size();
}

size_t BlockReplay::cache_blocks(const BlockAccesses& accesses, const BlockWorld& world) {
  const double blocks = world.cache_share * static_cast<double>(accesses.distinct_blocks());
  return std::max(kCacheBlocksMin, static_cast<size_t>(blocks));
}

BlockOutcome BlockReplay::run(BlockMethod* method,
                              const std::function<void(double)>& progress) const {
  const auto warm_up =
      static_cast<size_t>(world_.warm_up_share * static_cast<double>(accesses_.size()));
  const auto is_read = [](const BlockAccess& access) { return !access.is_write; };
  const auto reads = static_cast<size_t>(
      std::count_if(accesses_.begin() + static_cast<ptrdiff_t>(warm_up), accesses_.end(), is_read));
  Run run(cache_blocks_, world_, clock_, method, reads);
  for (size_t i = 0; i < accesses_.size(); ++i) {
    if (i == warm_up) run.begin_scoring();
    run.step(accesses_[i]);
    if (progress && i % kProgressEvery == 0)
      progress(static_cast<double>(i) / static_cast<double>(accesses_.size()));
  }
  return run.outcome();
}

double BlockOutcome::coverage(const BlockOutcome& none) const {
  return none.blocks_missed == 0 ? 0
                                 : 1 - ratio(static_cast<double>(blocks_missed),
                                             static_cast<double>(none.blocks_missed));
}

double BlockOutcome::traffic(const BlockOutcome& none) const {
  return none.blocks_missed == 0 ? 1
                                 : ratio(static_cast<double>(blocks_missed + blocks_issued),
                                         static_cast<double>(none.blocks_missed));
}

double BlockOutcome::accuracy() const {
  return ratio(static_cast<double>(blocks_used), static_cast<double>(blocks_issued));
}

double BlockOutcome::timely() const {
  return ratio(static_cast<double>(blocks_used - blocks_late), static_cast<double>(blocks_used));
}

}  // namespace forerun::replay
