// S3-FIFO, an eviction policy of three queues, over entries of known size; both levels of the tier
// use it.
//
// SOURCE: Yang, Zhang, Qiu, Yue, Vinayak, "FIFO queues are all you need for cache eviction", SOSP
// 2023, §4 and algorithm 1. New entries enter a small queue; what leaves it without having been
// used again is forgotten but for its id (the ghost queue), so that a scan flushes a tenth of the
// cache and not the rest. Changed, for prefetching:
// - A prefetched entry waits in a queue of its own, on probation. Its first use counts as the
// demand that would have
//   brought it: it goes where a demanded entry would have gone.
// - Unused prefetched entries hold at most probation_ratio (one entry at least, unless the ratio is
// 0); one more
//   drops the oldest of them. None survives the demand of as many bytes as probation may hold, once
//   the cache is full: a wrong forecast does not take room from the guest for long.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/result.h"
#include "tier/admission.h"

namespace forerun::tier {

struct S3FifoOptions {
  uint64_t bytes_max = 0;
  double small_ratio = 0.10;
  double probation_ratio = 0.25;
  uint8_t promote_uses = 2;      // uses in the small queue that let an entry into the main queue
  uint32_t burst_accesses = 64;  // to all entries; at most half as many as there are entries
  size_t entries_expected = 0;   // the table has room for so many without being rebuilt
};

// One thread (a shard's lock guards it). Returned pointers are valid until the next call that is
// not const.
template <typename Id, typename Value, typename Hash = std::hash<Id>>
class S3Fifo {
 public:
  struct Evicted {
    Id id;
    Value value;
    bool unused = false;  // was prefetched, and never used
  };
  struct Use {
    Value* value = nullptr;  // null: not here
    bool counted = false;    // the entry's standing rose: no burst, and its counter was not full
    bool ended_probation = false;  // this was a prefetched entry's first use
  };

  explicit S3Fifo(const S3FifoOptions& options)
      : bytes_max_(options.bytes_max),
        small_max_(share(options.bytes_max, options.small_ratio)),
        ghost_max_(options.bytes_max - small_max_),
        probation_max_(share(options.bytes_max, options.probation_ratio)),
        takes_prefetched_(options.probation_ratio > 0),
        promote_uses_(options.promote_uses),
        burst_accesses_(options.burst_accesses) {
    index_.reserve(options.entries_expected);
  }
  S3Fifo(const S3Fifo&) = delete;
  S3Fifo& operator=(const S3Fifo&) = delete;

  // Returns the entry and counts a use of it.
  Use use(const Id& id) {
    Node* const node = find(id);
    if (node == nullptr) return {};
    Entry& entry = node->second;
    ++accesses_;
    if (entry.place == Place::kProbation) {
      move(*node, entry.remembered ? Place::kMain : Place::kSmall);
      entry.counted_at = accesses_;
      return {&entry.value, true, true};
    }
    if (accesses_ - entry.counted_at < std::min<uint64_t>(burst_accesses_, entries_ / 2)) {
      return {&entry.value, false, false};
    }
    entry.counted_at = accesses_;
    const bool counted = entry.uses < kUsesMax;
    if (counted) ++entry.uses;
    return {&entry.value, counted, false};
  }

  // Returns the entry without counting a use, or null.
  Value* peek(const Id& id) {
    Node* const node = find(id);
    return node == nullptr ? nullptr : &node->second.value;
  }
  bool contains(const Id& id) const {
    const auto found = index_.find(id);
    return found != index_.end() && found->second.place != Place::kGhost;
  }
  bool on_probation(const Id& id) const {
    const auto found = index_.find(id);
    return found != index_.end() && found->second.place == Place::kProbation;
  }

  // Puts a new entry in, and appends what had to leave for it. Returns false, with nothing changed,
  // if the entry is already here or can never fit.
  bool insert(const Id& id, uint64_t size, Value value, Admission admission,
              std::vector<Evicted>& evicted) {
    const bool prefetched = admission == Admission::kPrefetch;
    if (size > bytes_max_ || contains(id) || (prefetched && !takes_prefetched_)) return false;
    const bool remembered = forget_ghost(id);
    Queue& probation = queue(Place::kProbation);
    while (prefetched && probation.oldest != nullptr && probation.bytes + size > probation_max_) {
      drop(*probation.oldest, evicted);
    }
    while (bytes() + size > bytes_max_) evict_one(evicted);
    place_new(id, size, std::move(value), remembered,
              prefetched   ? Place::kProbation
              : remembered ? Place::kMain
                           : Place::kSmall);
    if (!prefetched) demanded_bytes_ += size;
    return true;
  }

  // Puts back an entry that an earlier run held: proven ones go to the main queue. REQUIRES: oldest
  // first.
  bool restore(const Id& id, uint64_t size, Value value, Admission admission,
               std::vector<Evicted>& evicted) {
    if (admission == Admission::kPrefetch) {
      return insert(id, size, std::move(value), admission, evicted);
    }
    if (size > bytes_max_ || contains(id)) return false;
    forget_ghost(id);
    while (bytes() + size > bytes_max_) evict_one(evicted);
    place_new(id, size, std::move(value), false, Place::kMain);
    return true;
  }

  // Takes an entry out; it is not remembered.
  std::optional<Evicted> erase(const Id& id) {
    Node* const node = find(id);
    if (node == nullptr) return std::nullopt;
    Entry& entry = node->second;
    Evicted out{id, std::move(entry.value), entry.place == Place::kProbation};
    unlink(*node);
    index_.erase(out.id);
    --entries_;
    return out;
  }

  uint64_t bytes() const {
    return queue(Place::kProbation).bytes + queue(Place::kSmall).bytes + queue(Place::kMain).bytes;
  }
  uint64_t probation_bytes() const { return queue(Place::kProbation).bytes; }
  uint64_t ghost_bytes() const { return queue(Place::kGhost).bytes; }
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  enum class Place : uint8_t { kProbation, kSmall, kMain, kGhost };
  static constexpr uint8_t kUsesMax = 3;  // the paper's two bits

  struct Entry;
  using Node = std::pair<const Id, Entry>;
  struct Entry {
    Value value{};
    Node* newer = nullptr;
    Node* older = nullptr;
    uint64_t size = 0;
    uint64_t admitted_at = 0;  // demanded_bytes_ then
    uint64_t counted_at = 0;   // accesses_ then: of the last use that counted
    uint8_t uses = 0;
    Place place = Place::kGhost;
    bool remembered = false;  // was in the ghost queue when it came
  };
  struct Queue {
    Node* newest = nullptr;
    Node* oldest = nullptr;
    uint64_t bytes = 0;
  };

  static uint64_t share(uint64_t bytes, double ratio) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * std::clamp(ratio, 0.0, 1.0));
  }
  Queue& queue(Place place) { return queues_[static_cast<size_t>(place)]; }
  const Queue& queue(Place place) const { return queues_[static_cast<size_t>(place)]; }

  Node* find(const Id& id) {
    const auto found = index_.find(id);
    if (found == index_.end() || found->second.place == Place::kGhost) return nullptr;
    return &*found;
  }

  void link(Node& node, Place place) {
    Queue& to = queue(place);
    Entry& entry = node.second;
    entry.place = place;
    entry.newer = nullptr;
    entry.older = to.newest;
    if (to.newest != nullptr) to.newest->second.newer = &node;
    to.newest = &node;
    if (to.oldest == nullptr) to.oldest = &node;
    to.bytes += entry.size;
  }
  void unlink(Node& node) {
    Entry& entry = node.second;
    Queue& from = queue(entry.place);
    (entry.newer == nullptr ? from.newest : entry.newer->second.older) = entry.older;
    (entry.older == nullptr ? from.oldest : entry.older->second.newer) = entry.newer;
    from.bytes -= entry.size;
  }
  void move(Node& node, Place place) {
    unlink(node);
    link(node, place);
  }

  void place_new(const Id& id, uint64_t size, Value value, bool remembered, Place place) {
    Node& node = *index_.try_emplace(id).first;
    Entry& entry = node.second;
    entry.value = std::move(value);
    entry.size = size;
    entry.admitted_at = demanded_bytes_;
    entry.counted_at = ++accesses_;
    entry.remembered = remembered;
    link(node, place);
    ++entries_;
  }
  // Returns whether `id` was in the ghost queue; it no longer is.
  bool forget_ghost(const Id& id) {
    const auto found = index_.find(id);
    if (found == index_.end()) return false;
    unlink(*found);
    index_.erase(found);
    return true;
  }
  void drop(Node& node, std::vector<Evicted>& evicted) {
    evicted.push_back(
        {node.first, std::move(node.second.value), node.second.place == Place::kProbation});
    unlink(node);
    index_.erase(evicted.back().id);
    --entries_;
  }
  // The entry leaves, its id stays.
  void drop_to_ghost(Node& node, std::vector<Evicted>& evicted) {
    evicted.push_back({node.first, std::exchange(node.second.value, Value{}), false});
    move(node, Place::kGhost);
    --entries_;
    Queue& ghosts = queue(Place::kGhost);
    while (ghosts.bytes > ghost_max_) forget_ghost(Id{ghosts.oldest->first});
  }

  // REQUIRES: something is here.
  void evict_one(std::vector<Evicted>& evicted) {
    Queue& probation = queue(Place::kProbation);
    Queue& small = queue(Place::kSmall);
    Queue& main = queue(Place::kMain);
    if (probation.oldest != nullptr &&
        demanded_bytes_ - probation.oldest->second.admitted_at > probation_max_) {
      return drop(*probation.oldest, evicted);
    }
    // Ends: each turn empties the small queue by one, or takes one of at most kUsesMax uses of a
    // main entry.
    for (;;) {
      if (small.oldest != nullptr && (small.bytes >= small_max_ || main.oldest == nullptr)) {
        Node& node = *small.oldest;
        if (node.second.uses < promote_uses_) return drop_to_ghost(node, evicted);
        node.second.uses = 0;
        move(node, Place::kMain);
      } else if (main.oldest != nullptr) {
        Node& node = *main.oldest;
        if (node.second.uses == 0) return drop(node, evicted);
        --node.second.uses;
        move(node, Place::kMain);
      } else {
        FR_ASSERT(probation.oldest != nullptr, "eviction from an empty cache");
        return drop(*probation.oldest, evicted);
      }
    }
  }

  const uint64_t bytes_max_;
  const uint64_t small_max_;
  const uint64_t ghost_max_;
  const uint64_t probation_max_;
  const bool takes_prefetched_;
  const uint8_t promote_uses_;
  const uint32_t burst_accesses_;
  std::unordered_map<Id, Entry, Hash> index_;  // nodes do not move, so the queues link them
  std::array<Queue, 4> queues_{};
  uint64_t entries_ = 0;         // those in the ghost queue do not count
  uint64_t demanded_bytes_ = 0;  // admitted by demand since the start
  uint64_t accesses_ = 0;        // uses and inserts since the start
};

}  // namespace forerun::tier
