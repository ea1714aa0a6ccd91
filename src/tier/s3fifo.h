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
// - Every reader that is told apart holds what it brought, in queues of its own: what one brings in
//   does not age what another holds. What a second one uses is common, and held by nobody, as is
//   what came for no reader. While there is room anybody fills it; from a full cache, who is most
//   over its share (tier/shares.h) gives way. Without readers all is common: the paper's cache.
//
// In one file, though over 500 lines: queues, holders and shares guard each other's sums.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <bitset>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/result.h"
#include "tier/admission.h"
#include "tier/earning.h"
#include "tier/reader.h"
#include "tier/shares.h"

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
  bool has_shares = true;        // false: readers are told apart, but share one set of queues
  ShareOptions shares;
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
      : options_(options), judge_(std::move(judge)) {
    options_.candidates_max = std::clamp<uint32_t>(options.candidates_max, 1, kCandidatesMax);
    options_.probation_ratio_min = std::min(options.probation_ratio_min, options.probation_ratio);
    options_.probation_ratio_max = std::max(options.probation_ratio_max, options.probation_ratio);
    add_holding(kCommon, 0);
    limit(options.bytes_max);
    index_.reserve(options.entries_expected);
  }
  S3Fifo(const S3Fifo&) = delete;
  S3Fifo& operator=(const S3Fifo&) = delete;

  // Returns the entry and counts a use of it.
  Use use(const Id& id, Reader by = kNoReader) {
    Node* const node = find(id);
    if (node == nullptr) return {};
    Entry& entry = node->second;
    note_user(*node, by);
    Holding& h = holding(entry);
    ++h.accesses;
    if (entry.place == Place::kProbation) {
      move(*node, entry.remembered ? Place::kMain : Place::kSmall);
      entry.counted_at = h.accesses;
      h.earning.on_reuse(entry.reused_in, entry.size);  // it was good to have it here
      return {&entry.value, true, true};
    }
    if (h.accesses - entry.counted_at <
        std::min<uint64_t>(options_.burst_accesses, h.entries / 2)) {
      return {&entry.value, false, false};
    }
    entry.counted_at = h.accesses;
    const bool counted = entry.uses < kUsesMax;
    if (counted) ++entry.uses;
    entry.rounds = 0;
    h.earning.on_reuse(entry.reused_in, entry.size);
    return {&entry.value, counted, false};
  }
  // Counts `by` among those that used the entry, if it is here, without counting a use.
  void note(const Id& id, Reader by) {
    if (Node* const node = find(id)) note_user(*node, by);
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

  // Puts a new entry in, for a reader that uses it now (a demand) or is expected to, and appends
  // what had to leave for it. Returns false, and the entry is not in, if it is here already, can
  // never fit, or all else is in use.
  bool insert(const Id& id, uint64_t size, Value value, Admission admission,
              std::vector<Evicted>& evicted, Reader by = kNoReader) {
    const bool prefetched = admission == Admission::kPrefetch;
    if (size > bytes_max_ || contains(id)) return false;
    if (prefetched && options_.probation_ratio <= 0) return false;
    const Readers user = prefetched ? 0 : known(by);
    const Recalled recalled = recall(id, prefetched, size);
    const Readers users = recalled.users | user;
    const uint8_t holder = std::popcount(users) > 1 ? kCommon : holder_of(by);
    if (!make_room(size, prefetched ? size : 0, holder, evicted)) return false;
    const bool remembered = recalled.is_remembered;
    Node& node = place_new(id, size, std::move(value), remembered, holder,
                           prefetched   ? Place::kProbation
                           : remembered ? Place::kMain
                                        : Place::kSmall);
    node.second.users = users;
    Holding& h = holding(node.second);
    if (!prefetched) h.demanded_bytes += size;
    const bool is_first_for_nobody =
        prefetched && holder == kCommon && h.queue(Place::kProbation).entries == 1;
    if (recalled.is_earned) h.earning.on_reuse(node.second.reused_in, size);
    if (h.earning.on_brought(size, h.part_bytes) || is_first_for_nobody) deal();
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
    if (!make_room(size, 0, kCommon, evicted)) return false;
    place_new(id, size, std::move(value), false, kCommon, Place::kMain);
    return true;
  }

  // Changes the limit and appends what had to leave. Entries in use that are over it stay, until
  // the next call or insert that finds them free.
  void set_bytes_max(uint64_t bytes_max, std::vector<Evicted>& evicted) {
    limit(bytes_max);
    make_room(0, 0, kCommon, evicted);
    for (const uint8_t holder : holders_) trim_ghosts(*holdings_[holder]);
  }

  // Tells a reader apart from now on; readers of one tenant have one tenant's part together.
  // REQUIRES: reader < kReadersMax; it is not told apart yet.
  void add_reader(Reader reader, uint32_t tenant) {
    readers_ |= reader_bit(reader);
    if (!options_.has_shares) return;
    add_holding(static_cast<uint8_t>(reader + 1), tenant);
    deal();
  }
  // Forgets what it used; what it alone held is nobody's.
  void remove_reader(Reader reader) {
    const Readers others = ~reader_bit(reader);
    for (auto& [id, entry] : index_) entry.users &= others;
    readers_ &= others;
    const auto holder = static_cast<uint8_t>(reader + 1);
    if (!options_.has_shares || holdings_[holder] == nullptr) return;
    for (const Place place : kPlaces) {
      while (Node* const node = holdings_[holder]->queue(place).oldest) hand_over(*node, kCommon);
    }
    std::erase(holders_, holder);
    holdings_[holder].reset();
    deal();
    trim_ghosts(*holdings_[kCommon]);
  }
  // What was not used again since the last time but one is no longer earned. For holders that stand
  // still; called at long intervals.
  void age_shares() {
    for (const uint8_t holder : holders_) holdings_[holder]->earning.age();
    deal();
  }
  // What a reader holds alone, and may hold before it gives way; what it has earned.
  struct Holds {
    uint64_t bytes = 0, share_bytes = 0, earned_bytes = 0;
  };
  Holds holds(Reader reader) const {
    const auto& h = holdings_[holder_of(reader)];
    return {h->bytes(), h->share_bytes, std::min(h->earning.bytes(), bytes_max_)};
  }

  // Takes an entry out; it is not remembered.
  std::optional<Evicted> erase(const Id& id) {
    Node* const node = find(id);
    if (node == nullptr) return std::nullopt;
    Entry& entry = node->second;
    Evicted out{id, std::move(entry.value), entry.place == Place::kProbation};
    unlink(*node);
    index_.erase(out.id);
    return out;
  }

  uint64_t bytes() const { return bytes_; }
  uint64_t probation_bytes() const { return sum(&Holding::probation_bytes); }
  // What probation may hold once the cache is full.
  uint64_t probation_bytes_max() const {
    uint64_t bytes = 0;
    for (const uint8_t holder : holders_) bytes += probation_max(*holdings_[holder]);
    return bytes;
  }
  uint64_t ghost_bytes() const { return sum(&Holding::ghost_bytes); }
  uint64_t bytes_max() const { return bytes_max_; }

  // Calls visit(id, value, size, on_probation, users) for each entry; `value` may be changed.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (const uint8_t holder : holders_) {
      for (const Place place : {Place::kProbation, Place::kSmall, Place::kMain}) {
        for (Node* node = holdings_[holder]->queue(place).oldest; node != nullptr;
             node = node->second.newer) {
          visit(node->first, node->second.value, node->second.size, place == Place::kProbation,
                node->second.users);
        }
      }
    }
  }

 private:
  // Ghosts: ids of what left the small queue, and of what left probation unused.
  enum class Place : uint8_t { kProbation, kSmall, kMain, kGhost, kUnusedGhost };
  static constexpr std::array kPlaces = {Place::kProbation, Place::kSmall, Place::kMain,
                                         Place::kGhost, Place::kUnusedGhost};
  static constexpr uint32_t kHostTenant = std::numeric_limits<uint32_t>::max();
  static constexpr uint8_t kCommon = 0;  // holder of what is no single reader's; of one: itself + 1
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
    uint64_t admitted_at = 0;  // its holder's demanded_bytes then
    uint64_t counted_at = 0;   // its holder's accesses then: of the last use that counted
    Readers users = 0;
    uint32_t reused_in = 0;  // epoch of its holder
    uint8_t holder = kCommon;
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
  // A reader, or what is common.
  struct Holding {
    // What every use asks for, side by side.
    uint64_t accesses = 0;  // uses and inserts since the start
    uint64_t entries = 0;   // ghosts do not count
    Earning earning;
    uint64_t share_bytes = 0;  // of a full cache; over it, it gives way
    uint64_t part_bytes = 0;   // an equal part of the cache
    std::array<Queue, 5> queues{};
    uint64_t demanded_bytes = 0;  // admitted by demand since the start
    double probation_ratio = 0;
    uint32_t tenant = 0;

    Queue& queue(Place place) { return queues[static_cast<size_t>(place)]; }
    const Queue& queue(Place place) const { return queues[static_cast<size_t>(place)]; }
    uint64_t probation_bytes() const { return queue(Place::kProbation).bytes; }
    uint64_t ghost_bytes() const { return queue(Place::kGhost).bytes; }
    uint64_t bytes() const {
      return probation_bytes() + queue(Place::kSmall).bytes + queue(Place::kMain).bytes;
    }
  };
  struct Recalled {
    bool is_remembered = false;  // was used once
    bool is_earned = false;      // it was brought before: with more room it would be here
    Readers users = 0;
  };

  static uint64_t share(uint64_t bytes, double ratio) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * std::clamp(ratio, 0.0, 1.0));
  }
  static bool is_ghost(Place place) {
    return place == Place::kGhost || place == Place::kUnusedGhost;
  }
  void limit(uint64_t bytes_max) {
    bytes_max_ = bytes_max;
    deal();
  }
  uint64_t sum(uint64_t (Holding::*bytes)() const) const {
    uint64_t total = 0;
    for (const uint8_t holder : holders_) total += (*holdings_[holder].*bytes)();
    return total;
  }

  // ---- holders

  Holding& holding(const Entry& entry) { return *holdings_[entry.holder]; }
  Readers known(Reader reader) const { return reader_bit(reader) & readers_; }
  uint8_t holder_of(Reader reader) const {
    return options_.has_shares && known(reader) != 0 ? static_cast<uint8_t>(reader + 1) : kCommon;
  }
  void add_holding(uint8_t holder, uint32_t tenant) {
    holdings_[holder] = std::make_unique<Holding>();
    holdings_[holder]->tenant = tenant;
    holdings_[holder]->probation_ratio = options_.probation_ratio;
    holders_.push_back(holder);
  }
  // What the holder's queues are measured by: its share, or what it holds beyond it meanwhile.
  uint64_t room(const Holding& h) const {
    return std::min(std::max(h.share_bytes, h.bytes()), bytes_max_);
  }
  uint64_t small_max(const Holding& h) const { return share(room(h), options_.small_ratio); }
  uint64_t probation_max(const Holding& h) const { return share(room(h), h.probation_ratio); }

  void note_user(Node& node, Reader by) {
    Entry& entry = node.second;
    const Readers users = entry.users | known(by);
    if (users == entry.users) return;
    entry.users = users;
    if (!options_.has_shares) return;
    const bool is_common = std::popcount(users) > 1;
    const uint8_t holder = is_common ? kCommon : holder_of(by);
    if (entry.holder == holder) return;
    hand_over(node, holder);
    Holding& h = holding(entry);
    if (h.earning.on_brought(entry.size, h.part_bytes)) deal();
  }
  void hand_over(Node& node, uint8_t holder) {
    unlink(node);
    Entry& entry = node.second;
    entry.holder = holder;
    entry.admitted_at = holding(entry).demanded_bytes;
    entry.counted_at = holding(entry).accesses;
    entry.reused_in = 0;
    link(node, entry.place);
  }

  // Deals the cache out anew: by what each has earned. What is common is claimed by those who used
  // it, in equal parts, as far as it was used again.
  void deal() {
    const double with_small = 1 / std::max(1 - options_.small_ratio, 0.1);
    std::array<double, kReadersMax> common{};
    const Holding& shared = *holdings_[kCommon];
    for (const Place place : {Place::kSmall, Place::kMain}) {
      for (const Node* node = holders_.size() > 1 ? shared.queue(place).oldest : nullptr;
           node != nullptr; node = node->second.newer) {
        const Entry& entry = node->second;
        if (!shared.earning.is_recent(entry.reused_in)) continue;
        const double part = static_cast<double>(entry.size) / std::popcount(entry.users);
        for (Readers users = entry.users; users != 0; users &= users - 1)
          common[static_cast<size_t>(std::countr_zero(users))] += part;
      }
    }
    std::vector<ShareClaim> claims;
    for (const uint8_t holder : holders_) {
      if (holder == kCommon) continue;
      const Holding& h = *holdings_[holder];
      const uint64_t own = std::min(h.earning.bytes(), bytes_max_);
      claims.push_back({h.tenant, share_up(own, with_small),
                        static_cast<uint64_t>(common[holder - 1] * with_small)});
    }
    // What is fetched ahead for no VM that runs has a tenant's part while there is some.
    const bool has_host = claims.size() > 0 && shared.queue(Place::kProbation).entries > 0;
    if (has_host) claims.push_back({kHostTenant, bytes_max_ / holders_.size(), 0});
    const Shares dealt = deal_shares(bytes_max_, claims, options_.shares);
    size_t claim = 0;
    for (const uint8_t holder : holders_) {
      Holding& h = *holdings_[holder];
      h.share_bytes =
          holder == kCommon ? dealt.common + (has_host ? dealt.own.back() : 0) : dealt.own[claim];
      h.part_bytes = holder == kCommon ? bytes_max_ / holders_.size() : dealt.part[claim++];
    }
  }
  static uint64_t share_up(uint64_t bytes, double ratio) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * ratio);
  }

  // ---- entries

  Node* find(const Id& id) {
    const auto found = index_.find(id);
    if (found == index_.end() || is_ghost(found->second.place)) return nullptr;
    return &*found;
  }

  void link(Node& node, Place place) {
    Entry& entry = node.second;
    Holding& h = holding(entry);
    Queue& to = h.queue(place);
    entry.place = place;
    entry.newer = nullptr;
    entry.older = to.newest;
    if (to.newest != nullptr) to.newest->second.newer = &node;
    to.newest = &node;
    if (to.oldest == nullptr) to.oldest = &node;
    to.bytes += entry.size;
    ++to.entries;
    if (is_ghost(place)) return;
    bytes_ += entry.size;
    ++h.entries;
  }
  void unlink(Node& node) {
    Entry& entry = node.second;
    Holding& h = holding(entry);
    Queue& from = h.queue(entry.place);
    (entry.newer == nullptr ? from.newest : entry.newer->second.older) = entry.older;
    (entry.older == nullptr ? from.oldest : entry.older->second.newer) = entry.newer;
    from.bytes -= entry.size;
    --from.entries;
    if (is_ghost(entry.place)) return;
    bytes_ -= entry.size;
    --h.entries;
  }
  void move(Node& node, Place place) {
    unlink(node);
    link(node, place);
  }

  Node& place_new(const Id& id, uint64_t size, Value value, bool remembered, uint8_t holder,
                  Place place) {
    Node& node = *index_.try_emplace(id).first;
    Entry& entry = node.second;
    entry.value = std::move(value);
    entry.size = size;
    entry.holder = holder;
    entry.admitted_at = holding(entry).demanded_bytes;
    entry.counted_at = ++holding(entry).accesses;
    entry.remembered = remembered;
    link(node, place);
    return node;
  }
  void forget(const Id& id) {
    const auto found = index_.find(id);
    if (found == index_.end()) return;
    unlink(*found);
    index_.erase(found);
  }
  // Forgets a ghost that comes back, and learns from it.
  Recalled recall(const Id& id, bool prefetched, uint64_t size) {
    const auto found = index_.find(id);
    if (found == index_.end()) return {};
    const Entry& ghost = found->second;
    Recalled recalled{.is_remembered = ghost.place == Place::kGhost, .users = ghost.users};
    recalled.is_earned = !prefetched && (!recalled.is_remembered || ghost.users != 0);
    Holding& h = holding(ghost);
    forget(Id{id});
    if (prefetched) return recalled;
    const double step = static_cast<double>(size) / static_cast<double>(std::max(room(h), size));
    if (!recalled.is_remembered) {
      h.probation_ratio = std::min(h.probation_ratio + step, options_.probation_ratio_max);
    } else if (h.probation_bytes() > probation_max(h) / 2) {
      h.probation_ratio = std::max(h.probation_ratio - step, options_.probation_ratio_min);
    }
    return recalled;
  }
  void trim_ghosts(Holding& h) {
    // As many as a holder's part would hold, so that one that lost it can show what it wants.
    const uint64_t whole = std::max(room(h), h.part_bytes);
    const uint64_t ghost_max = whole - share(whole, options_.small_ratio);
    for (const auto [place, bytes] :
         {std::pair{Place::kGhost, ghost_max}, std::pair{Place::kUnusedGhost, probation_max(h)}}) {
      while (h.queue(place).bytes > bytes) forget(Id{h.queue(place).oldest->first});
    }
  }
  // The entry leaves; `ghost`: its id stays.
  void drop(Node& node, std::optional<Place> ghost, std::vector<Evicted>& evicted) {
    const bool unused = node.second.place == Place::kProbation;
    evicted.push_back({node.first, std::exchange(node.second.value, Value{}), unused});
    if (!ghost) return forget(Id{node.first});
    move(node, *ghost);
    trim_ghosts(holding(node.second));
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
  Node* choose(Holding& h, Place place) {
    std::array<std::pair<Node*, double>, kCandidatesMax> candidates;
    uint32_t count = 0;
    uint32_t looked = 0;
    size_t victim = 0;
    for (Node* node = h.queue(place).oldest; node != nullptr; node = node->second.newer) {
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

  // Returns whether `size` bytes for a holder fit now. `prefetched`: as many of them will be on
  // probation.
  bool make_room(uint64_t size, uint64_t prefetched, uint8_t holder,
                 std::vector<Evicted>& evicted) {
    while (bytes_ + size > bytes_max_) {
      if (!evict_from_most_over(size, prefetched, holder, evicted)) return false;
    }
    return true;
  }

  // Who is most over its share gives way, or who comes next if all of that is in use. Returns
  // false if all of everybody's is.
  bool evict_from_most_over(uint64_t size, uint64_t prefetched, uint8_t holder,
                            std::vector<Evicted>& evicted) {
    std::bitset<kReadersMax + 1> tried;
    for (size_t i = 0; i < holders_.size(); ++i) {
      Holding* most = nullptr;
      uint8_t number = kCommon;
      int64_t most_over = 0;
      for (const uint8_t each : holders_) {
        Holding& h = *holdings_[each];
        if (tried[each]) continue;
        const auto over = static_cast<int64_t>(h.bytes() + (each == holder ? size : 0)) -
                          static_cast<int64_t>(h.share_bytes);
        if (most != nullptr && over <= most_over) continue;
        most = &h;
        number = each;
        most_over = over;
      }
      if (evict_one(*most, number == holder ? prefetched : 0, evicted)) return true;
      tried.set(number);
    }
    return false;
  }

  // Returns false if all of the holder's is in use.
  bool evict_one(Holding& h, uint64_t prefetched, std::vector<Evicted>& evicted) {
    const uint64_t most = probation_max(h);
    const bool is_over = h.probation_bytes() + prefetched > most;
    if (Node* const node = choose(h, Place::kProbation); node != nullptr) {
      if (is_over || h.demanded_bytes - node->second.admitted_at > most) {
        drop(*node, Place::kUnusedGhost, evicted);
        return true;
      }
    }
    if (evict_used(h, evicted)) return true;
    Node* const node = choose(h, Place::kProbation);
    if (node == nullptr) return false;
    drop(*node, Place::kUnusedGhost, evicted);
    return true;
  }

  // Ends: each turn moves an entry to the main queue, takes one of at most kUsesMax uses of a main
  // entry, counts one in use, or evicts.
  bool evict_used(Holding& h, std::vector<Evicted>& evicted) {
    const Queue& small = h.queue(Place::kSmall);
    const Queue& main = h.queue(Place::kMain);
    const uint64_t small_bytes = small_max(h);
    uint64_t small_in_use = 0, main_in_use = 0;  // seen in a row
    for (;;) {
      const bool small_may = small_in_use < small.entries;
      const bool main_may = main_in_use < main.entries;
      if (!small_may && !main_may) return false;
      const bool is_small = small_may && (small.bytes >= small_bytes || !main_may);
      const Place place = is_small ? Place::kSmall : Place::kMain;
      Node& node = *h.queue(place).oldest;
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
        drop(*choose(h, place), is_small ? std::optional(Place::kGhost) : std::nullopt, evicted);
        return true;
      }
    }
  }

  S3FifoOptions options_;
  Judge judge_;
  uint64_t bytes_max_ = 0;
  uint64_t bytes_ = 0;                   // of entries that are here
  std::unordered_map<Id, Entry> index_;  // nodes do not move, so the queues link them
  std::array<std::unique_ptr<Holding>, kReadersMax + 1> holdings_;
  std::vector<uint8_t> holders_;  // that there are
  Readers readers_ = 0;           // told apart
};

}  // namespace forerun::tier
