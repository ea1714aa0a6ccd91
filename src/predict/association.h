// Which requests come soon after which, whatever comes between: pairs of first touches within a
// window, mined as they happen.
//
// SOURCE: Yang et al., "MITHRIL: mining sporadic associations for cache prefetching", SoCC'17.
// Changed: pairs are counted at once instead of being mined in batches, and confidences are said.
#pragma once

#include <array>
#include <vector>

#include "predict/block_table.h"
#include "predict/model.h"

namespace forerun::predict {

// One thread.
class AssociationModel final : public Model {
 public:
  struct Options {
    uint32_t requests_max = 1 << 16;  // with partners; the one made longest ago leaves, unless it
                                      // came again since
    uint32_t window = 20;             // first touches that a pair may lie apart
    uint32_t recent_max = 1024;       // a request that begins where one of these did is no first
                                      // touch: a cache would have had it
    uint32_t said_max = 8;            // partners per request
  };
  AssociationModel() : AssociationModel(Options{}) {}
  explicit AssociationModel(Options options);

  std::string_view name() const override { return "association"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override;

  static constexpr uint16_t kContexts = 8 * 8;  // rank × times seen together

 private:
  struct Partner {
    uint64_t block = 0;
    uint32_t block_count = 0;
    uint16_t together = 0;  // 0: none
  };
  struct Request {
    std::array<Partner, 12> partners;
    uint32_t seen = 0;        // first touches
    bool came_again = false;  // since its place in the ring was looked at
  };
  bool is_first_touch(const BlockKey& key);
  void learn(const trace::Access& access);
  Request& request_of(const BlockKey& key);
  static void count(Request& request, const trace::Access& partner);
  void say(const Request& request, const trace::Access& access, std::vector<Candidate>& out) const;

  Options options_;
  BlockTable<Request> requests_;
  std::vector<BlockKey> made_;  // a ring of the keys of requests_
  size_t oldest_ = 0;
  std::vector<BlockKey> window_;  // a ring of the last first touches
  size_t window_next_ = 0;
  BlockTable<uint32_t> recent_;  // how often it stands in recent_ring_
  std::vector<BlockKey> recent_ring_;
  size_t recent_next_ = 0;
  Time last_at_{};
  float pace_s_ = 0;  // mean time between first touches
};

}  // namespace forerun::predict
