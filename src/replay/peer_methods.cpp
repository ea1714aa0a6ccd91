#include "replay/peer_methods.h"

#include <algorithm>
#include <utility>

namespace forerun::replay {
namespace {

constexpr size_t kSaid = 2;

// Says the two that were seen most, of equal ones the older, if at least so often.
template <typename Seen>
void say_most_seen(const std::vector<Seen>& all, uint32_t seen_min, std::vector<BlockRun>& out) {
  std::array<const Seen*, kSaid> best{};
  for (const Seen& one : all) {
    const Seen* rising = one.seen >= seen_min ? &one : nullptr;
    for (const Seen*& place : best)
      if (rising && (!place || rising->seen > place->seen)) std::swap(rising, place);
  }
  for (const Seen* one : best)
    if (one) out.push_back({one->block, one->block_count});
}

}  // namespace

void OneBlockLookahead::on_read(const BlockAccess& access, bool /*is_hit*/, double /*now_us*/,
                                std::vector<BlockRun>& out) {
  out.push_back({access.first_block + access.block_count, 1});
}

void Readahead::on_read(const BlockAccess& access, bool /*is_hit*/, double /*now_us*/,
                        std::vector<BlockRun>& out) {
  ++reads_;
  const uint64_t end = access.first_block + access.block_count;
  const auto continues = [&](const Stream& stream) {
    return access.first_block <= stream.next && end >= stream.next &&
           access.first_block + kGapMax >= stream.next;
  };
  const auto found = std::find_if(streams_.begin(), streams_.end(), continues);
  if (found == streams_.end()) {
    const Stream fresh{.next = end, .mark = end, .end = end, .used_at = reads_};
    const auto idle_longer = [](const Stream& a, const Stream& b) { return a.used_at < b.used_at; };
    if (streams_.size() < kStreamsMax)
      streams_.push_back(fresh);
    else
      *std::min_element(streams_.begin(), streams_.end(), idle_longer) = fresh;
    return;
  }
  found->next = std::max(found->next, end);
  found->used_at = reads_;
  if (found->window != 0 && end < found->mark && end < found->end) return;
  found->window = found->window == 0 ? kWindowFirst : std::min(kWindowMax, found->window * 2);
  found->mark = std::max(found->end, end);
  out.push_back({found->mark, found->window});
  found->end = found->mark + found->window;
}

// Boyer and Moore's vote over the shortest window that has a majority.
std::optional<int64_t> LeapPeer::majority() const {
  for (size_t window = 4; window <= kHistory && window <= deltas_.size(); window *= 2) {
    const auto begin = deltas_.end() - static_cast<ptrdiff_t>(window);
    int64_t candidate = 0;
    int votes = 0;
    for (auto delta = begin; delta != deltas_.end(); ++delta) {
      if (votes == 0) candidate = *delta;
      votes += *delta == candidate ? 1 : -1;
    }
    if (2 * std::count(begin, deltas_.end(), candidate) > static_cast<ptrdiff_t>(window))
      return candidate;
  }
  return std::nullopt;
}

void LeapPeer::on_read(const BlockAccess& access, bool is_hit, double /*now_us*/,
                       std::vector<BlockRun>& out) {
  if (last_) deltas_.push_back(static_cast<int64_t>(access.first_block - *last_));
  last_ = access.first_block;
  if (deltas_.size() > kHistory) deltas_.pop_front();
  window_ = is_hit ? std::min(kWindowMax, window_ * 2) : std::max(1U, window_ / 2);
  const auto delta = majority();
  if (!delta || *delta == 0) return;
  auto block = static_cast<int64_t>(access.first_block);
  for (uint32_t i = 0; i < window_; ++i) {
    block += *delta;
    if (block < 0) return;
    out.push_back({static_cast<uint64_t>(block), access.block_count});
  }
}

void MarkovPeer::on_read(const BlockAccess& access, bool /*is_hit*/, double /*now_us*/,
                         std::vector<BlockRun>& out) {
  if (last_) {
    auto& known = successors_[*last_];
    const auto same = std::find_if(known.begin(), known.end(), [&](const Successor& one) {
      return one.block == access.first_block;
    });
    if (same == known.end()) {
      known.push_back({access.first_block, access.block_count, 1});
    } else {
      ++same->seen;
      same->block_count = std::max(same->block_count, access.block_count);
    }
  }
  last_ = access.first_block;
  const auto found = successors_.find(access.first_block);
  if (found == successors_.end()) return;
  say_most_seen(found->second, 1, out);
}

size_t MarkovPeer::state_bytes() const {
  size_t bytes = 0;
  for (const auto& [block, known] : successors_)
    bytes += sizeof(block) + sizeof(known) + known.capacity() * sizeof(Successor);
  return bytes;
}

void MithrilPeer::on_read(const BlockAccess& access, bool is_hit, double /*now_us*/,
                          std::vector<BlockRun>& out) {
  if (!is_hit) {
    for (const BlockAccess& before : misses_) {
      if (before.first_block == access.first_block) continue;
      auto& known = partners_[before.first_block];
      const auto same = std::find_if(known.begin(), known.end(), [&](const Partner& one) {
        return one.block == access.first_block;
      });
      if (same != known.end()) {
        ++same->seen;
        same->block_count = std::max(same->block_count, access.block_count);
      } else if (known.size() < kPartnersMax) {
        known.push_back({access.first_block, access.block_count, 1});
      }
    }
    misses_.push_back(access);
    if (misses_.size() > kWindow) misses_.pop_front();
  }
  const auto found = partners_.find(access.first_block);
  if (found == partners_.end()) return;
  say_most_seen(found->second, kSupport, out);
}

size_t MithrilPeer::state_bytes() const {
  size_t bytes = misses_.size() * sizeof(BlockAccess);
  for (const auto& [block, known] : partners_)
    bytes += sizeof(block) + sizeof(known) + known.capacity() * sizeof(Partner);
  return bytes;
}

void UnionPeer::on_read(const BlockAccess& access, bool is_hit, double now_us,
                        std::vector<BlockRun>& out) {
  a_.on_read(access, is_hit, now_us, out);
  b_.on_read(access, is_hit, now_us, out);
}

void Oracle::on_write(const BlockAccess& /*access*/, double /*now_us*/) { ++next_; }

void Oracle::on_read(const BlockAccess& /*access*/, bool /*is_hit*/, double /*now_us*/,
                     std::vector<BlockRun>& out) {
  ++next_;
  size_t reads = 0, blocks = 0;
  for (size_t i = next_; i < trace_.size() && reads < kReads && blocks < blocks_max_; ++i) {
    if (trace_[i].is_write) continue;
    out.push_back({trace_[i].first_block, trace_[i].block_count});
    ++reads;
    blocks += trace_[i].block_count;
  }
}

}  // namespace forerun::replay
