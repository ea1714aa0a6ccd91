// S3-FIFO, an eviction policy of three queues, over entries of known size; both levels of the tier
// use it.
//
// SOURCE: Yang, Zhang, Qiu, Yue, Vinayak, "FIFO queues are all you need for cache eviction", SOSP
// 2023, §4 and algorithm 1. New entries enter a small queue; what leaves it without having been
// used again is forgotten but for its id (the ghost queue), so that a scan flushes a tenth of the
// cache and not the rest. Changed:
// - Who leaves is chosen among the oldest that may: the one of least worth per byte, as a judge
//   says (with a judge to whom all are alike: the oldest, as in the paper). What is passed over is
//   worth half as much the next time; if it is worth more than twice the victim it goes round.
// - What the judge says is in use does not leave.
// - A prefetched entry waits in a queue of its own, on probation. Its first use counts as the
//   demand that would have brought it: it goes where a demanded entry would have gone.
// - While there is room, probation may fill it. Once the cache is full, unused prefetched entries
//   hold at most their share, and none survives the demand of as many bytes as that: a wrong
//   forecast does not take room from the guest for long. The share follows what was regretted, as
//   in ARC (Megiddo, Modha, FAST 2003, §III): it grows when an entry is wanted that left probation
//   unused, and shrinks when one is wanted that left the small queue while probation was well
//   filled.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
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
  double probation_ratio = 0.25;      // to begin with; 0: prefetched entries are not taken
  double probation_ratio_min = 0.25;  // what the share moves between
  double probation_ratio_max = 0.25;
  uint32_t candidates_max = 1;   // among how many of the oldest the victim is chosen; at most 16
  uint8_t promote_uses = 2;      // uses in the small queue that let an entry into the main queue
  uint32_t burst_accesses = 64;  // to all entries; at most half as many as there are entries
  size_t entries_expected = 0;   // the table has room for so many without being rebuilt
};

// What a judge says of an entry.
struct Standing {
  double worth = 1;  // of keeping it, per byte; only the order matters
  bool in_use = false;
};

// To this one, all are alike.
struct NoJudge {
  template <typename Id, typename Value>
  Standing operator()(const Id&, const Value&, uint64_t /*size*/, uint8_t /*uses*/) const {
    return {};
  }
};

// One thread (a shard's lock guards it). Returned pointers are valid until the next call that is
// not const.
template <typename Id, typename Value, typename Judge = NoJudge>
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

  explicit S3Fifo(const S3FifoOptions& options, Judge judge = {})
      : options_(options), judge_(std::move(judge)), probation_ratio_(options.probation_ratio) {
    options_.candidates_max = std::clamp<uint32_t>(options.candidates_max, 1, kCandidatesMax);
    options_.probation_ratio_min = std::min(options.probation_ratio_min, options.probation_ratio);
    options_.probation_ratio_max = std::max(options.probation_ratio_max, options.probation_ratio);
    limit(options.bytes_max);
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
    if (accesses_ - entry.counted_at < std::min<uint64_t>(options_.burst_accesses, entries_ / 2)) {
      return {&entry.value, false, false};
    }
    entry.counted_at = accesses_;
    const bool counted = entry.uses < kUsesMax;
    if (counted) ++entry.uses;
    entry.rounds = 0;
    return {&entry.value, counted, false};
  }

  // Returns the entry without counting a use, or null.
  Value* peek(const Id& id) {
    Node* const node = find(id);
    return node == nullptr ? nullptr : &node->second.value;
  }
  const Value* peek(const Id& id) const {
    const auto found = index_.find(id);
    if (found == index_.end() || is_ghost(found->second.place)) return nullptr;
    return &found->second.value;
  }
  bool contains(const Id& id) const {
    const auto found = index_.find(id);
    return found != index_.end() && !is_ghost(found->second.place);
  }
  bool on_probation(const Id& id) const {
    const auto found = index_.find(id);
    return found != index_.end() && found->second.place == Place::kProbation;
  }

  // Puts a new entry in, and appends what had to leave for it. Returns false, and the entry is not
  // in, if it is here already, can never fit, or all else is in use.
  bool insert(const Id& id, uint64_t size, Value value, Admission admission,
              std::vector<Evicted>& evicted) {
    const bool prefetched = admission == Admission::kPrefetch;
    if (size > bytes_max_ || contains(id)) return false;
    if (prefetched && options_.probation_ratio <= 0) return false;
    const bool remembered = recall(id, prefetched, size);
    if (!make_room(size, prefetched ? size : 0, evicted)) return false;
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
    forget(id);
    if (!make_room(size, 0, evicted)) return false;
    place_new(id, size, std::move(value), false, Place::kMain);
    return true;
  }

  // Changes the limit and appends what had to leave. Entries in use that are over it stay, until
  // the next call or insert that finds them free.
  void set_bytes_max(uint64_t bytes_max, std::vector<Evicted>& evicted) {
    limit(bytes_max);
    make_room(0, 0, evicted);
    trim_ghosts();
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
  // What probation may hold once the cache is full.
  uint64_t probation_bytes_max() const { return share(bytes_max_, probation_ratio_); }
  uint64_t ghost_bytes() const { return queue(Place::kGhost).bytes; }
  uint64_t bytes_max() const { return bytes_max_; }

  // Calls visit(id, value, size, on_probation) for each entry; `value` may be changed.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (const Place place : {Place::kProbation, Place::kSmall, Place::kMain}) {
      for (Node* node = queue(place).oldest; node != nullptr; node = node->second.newer) {
        visit(node->first, node->second.value, node->second.size, place == Place::kProbation);
      }
    }
  }

 private:
  // Ghosts: ids of what left the small queue, and of what left probation unused.
  enum class Place : uint8_t { kProbation, kSmall, kMain, kGhost, kUnusedGhost };
  static constexpr uint8_t kUsesMax = 3;     // the paper's two bits
  static constexpr uint8_t kRoundsMax = 60;  // beyond, nothing is left to halve
  static constexpr uint32_t kCandidatesMax = 16;

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
    uint8_t rounds = 0;  // times it was passed over for its worth, since its last use
    Place place = Place::kGhost;
    bool remembered = false;  // was in the ghost queue when it came
  };
  struct Queue {
    Node* newest = nullptr;
    Node* oldest = nullptr;
    uint64_t bytes = 0;
    uint64_t entries = 0;
  };

  static uint64_t share(uint64_t bytes, double ratio) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * std::clamp(ratio, 0.0, 1.0));
  }
  static bool is_ghost(Place place) {
    return place == Place::kGhost || place == Place::kUnusedGhost;
  }
  void limit(uint64_t bytes_max) {
    bytes_max_ = bytes_max;
    small_max_ = share(bytes_max, options_.small_ratio);
    ghost_max_ = bytes_max - small_max_;
  }
  Queue& queue(Place place) { return queues_[static_cast<size_t>(place)]; }
  const Queue& queue(Place place) const { return queues_[static_cast<size_t>(place)]; }

  Node* find(const Id& id) {
    const auto found = index_.find(id);
    if (found == index_.end() || is_ghost(found->second.place)) return nullptr;
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
    ++to.entries;
  }
  void unlink(Node& node) {
    Entry& entry = node.second;
    Queue& from = queue(entry.place);
    (entry.newer == nullptr ? from.newest : entry.newer->second.older) = entry.older;
    (entry.older == nullptr ? from.oldest : entry.older->second.newer) = entry.newer;
    from.bytes -= entry.size;
    --from.entries;
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
  void forget(const Id& id) {
    const auto found = index_.find(id);
    if (found == index_.end()) return;
    unlink(*found);
    index_.erase(found);
  }
  // Forgets a ghost that comes back, and learns from it. Returns whether it was used once.
  bool recall(const Id& id, bool prefetched, uint64_t size) {
    const auto found = index_.find(id);
    if (found == index_.end()) return false;
    const bool remembered = found->second.place == Place::kGhost;
    forget(Id{id});
    if (prefetched) return remembered;
    const double step = static_cast<double>(size) / static_cast<double>(bytes_max_);
    if (!remembered) {
      probation_ratio_ = std::min(probation_ratio_ + step, options_.probation_ratio_max);
    } else if (probation_bytes() > probation_bytes_max() / 2) {
      probation_ratio_ = std::max(probation_ratio_ - step, options_.probation_ratio_min);
    }
    return remembered;
  }
  void trim_ghosts() {
    for (const auto [place, bytes] : {std::pair{Place::kGhost, ghost_max_},
                                      std::pair{Place::kUnusedGhost, probation_bytes_max()}}) {
      while (queue(place).bytes > bytes) forget(Id{queue(place).oldest->first});
    }
  }
  // The entry leaves; `ghost`: its id stays.
  void drop(Node& node, std::optional<Place> ghost, std::vector<Evicted>& evicted) {
    const bool unused = node.second.place == Place::kProbation;
    evicted.push_back({node.first, std::exchange(node.second.value, Value{}), unused});
    --entries_;
    if (!ghost) return forget(Id{node.first});
    move(node, *ghost);
    trim_ghosts();
  }

  Standing judge(const Node& node) const {
    const Entry& entry = node.second;
    return judge_(node.first, entry.value, entry.size, entry.uses);
  }
  // Returns whether eviction may take the entry as it stands.
  bool may_leave(const Entry& entry) const {
    if (entry.place == Place::kMain) return entry.uses == 0;
    return entry.place == Place::kProbation || entry.uses < options_.promote_uses;
  }

  // Returns the entry of least worth among the oldest of a queue that may leave, or null if none
  // may. Older ones of more than twice its worth go round.
  Node* choose(Place place) {
    std::array<std::pair<Node*, double>, kCandidatesMax> candidates;
    uint32_t count = 0;
    uint32_t looked = 0;
    size_t victim = 0;
    for (Node* node = queue(place).oldest; node != nullptr; node = node->second.newer) {
      if (count == options_.candidates_max || (count > 0 && ++looked > 4 * kCandidatesMax)) break;
      if (!may_leave(node->second)) continue;
      const Standing standing = judge(*node);
      if (standing.in_use) continue;
      candidates[count] = {node, std::ldexp(standing.worth, -node->second.rounds)};
      if (candidates[count].second < candidates[victim].second) victim = count;
      ++count;
    }
    if (count == 0) return nullptr;
    for (size_t i = 0; i < victim && place != Place::kProbation; ++i) {
      const auto [node, worth] = candidates[i];
      node->second.rounds = std::min<uint8_t>(node->second.rounds + 1, kRoundsMax);
      if (worth > 2 * candidates[victim].second) move(*node, place);
    }
    return candidates[victim].first;
  }

  // Returns whether `size` bytes fit now. `prefetched`: as many of them will be on probation.
  bool make_room(uint64_t size, uint64_t prefetched, std::vector<Evicted>& evicted) {
    while (bytes() + size > bytes_max_) {
      if (!evict_one(prefetched, evicted)) return false;
    }
    return true;
  }

  // Returns false if all is in use.
  bool evict_one(uint64_t prefetched, std::vector<Evicted>& evicted) {
    const uint64_t probation_max = probation_bytes_max();
    const bool is_over = probation_bytes() + prefetched > probation_max;
    if (Node* const node = choose(Place::kProbation); node != nullptr) {
      if (is_over || demanded_bytes_ - node->second.admitted_at > probation_max) {
        drop(*node, Place::kUnusedGhost, evicted);
        return true;
      }
    }
    if (evict_used(evicted)) return true;
    Node* const node = choose(Place::kProbation);
    if (node == nullptr) return false;
    drop(*node, Place::kUnusedGhost, evicted);
    return true;
  }

  // Ends: each turn moves an entry to the main queue, takes one of at most kUsesMax uses of a main
  // entry, counts one in use, or evicts.
  bool evict_used(std::vector<Evicted>& evicted) {
    const Queue& small = queue(Place::kSmall);
    const Queue& main = queue(Place::kMain);
    uint64_t small_in_use = 0, main_in_use = 0;  // seen in a row
    for (;;) {
      const bool small_may = small_in_use < small.entries;
      const bool main_may = main_in_use < main.entries;
      if (!small_may && !main_may) return false;
      const bool is_small = small_may && (small.bytes >= small_max_ || !main_may);
      const Place place = is_small ? Place::kSmall : Place::kMain;
      Node& node = *queue(place).oldest;
      if (!may_leave(node.second)) {
        if (!is_small) --node.second.uses;
        if (is_small) node.second.uses = 0;
        node.second.rounds = 0;
        move(node, Place::kMain);
        main_in_use = 0;
      } else if (judge(node).in_use) {
        ++(is_small ? small_in_use : main_in_use);
        move(node, place);
      } else {
        drop(*choose(place), is_small ? std::optional(Place::kGhost) : std::nullopt, evicted);
        return true;
      }
    }
  }

  S3FifoOptions options_;
  Judge judge_;
  uint64_t bytes_max_ = 0, small_max_ = 0, ghost_max_ = 0;
  double probation_ratio_;
  std::unordered_map<Id, Entry> index_;  // nodes do not move, so the queues link them
  std::array<Queue, 5> queues_{};
  uint64_t entries_ = 0;         // those in the ghost queue do not count
  uint64_t demanded_bytes_ = 0;  // admitted by demand since the start
  uint64_t accesses_ = 0;        // uses and inserts since the start
};

}  // namespace forerun::tier
