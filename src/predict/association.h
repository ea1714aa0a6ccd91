// Which requests come soon after which, whatever comes between: pairs of first touches within a
// window, mined as they happen.
//
// SOURCE: Yang et al., "MITHRIL: mining sporadic associations for cache prefetching", SoCC'17.
// Changed: pairs are counted at once instead of being mined in batches, and confidences are said.
#pragma once

#include <array>
#include <vector>

#include "predict/component_numbers.h"
#include "predict/model.h"
#include "predict/set_table.h"

namespace forerun::predict {

// One thread.
class AssociationModel final : public Model {
 public:
  struct Options {
    uint32_t requests_max = 1 << 16;  // with partners, 128 bytes each
    uint32_t window = 12;             // first touches that a pair may lie apart
    uint32_t recent_max = 1024;       // a request that begins where one of the last so many did is
                                      // no first touch: a cache would have had it
    uint32_t said_max = 6;            // partners per request
  };
  AssociationModel() : AssociationModel(Options{}) {}
  explicit AssociationModel(Options options);

  std::string_view name() const override { return "association"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void prepare(const trace::Access& access) const override;
  void on_end(Time now) override;
  size_t state_bytes() const override;
  Buffer save(std::span<const ComponentId> components) const override;
  Status restore(ByteView saved, std::span<const ComponentId> components) override;

  static constexpr uint16_t kContexts = 8 * 8;  // rank × times seen together

 private:
  static constexpr size_t kPartners = 15;
  struct Request {
    uint32_t hash = 0;
    uint16_t used_at = 0;
    uint16_t seen = 0;  // first touches
    std::array<PackedRun, kPartners> partners;
    uint16_t worth() const { return seen > 1 ? 256 : 0; }
  };
  static_assert(sizeof(Request) == 128);
  struct Touch {
    uint32_t hash = 0;
    ComponentId component;
    uint64_t block = 0;
  };
  struct Recent {
    uint32_t hash = 0;
    uint32_t read = 0;  // count of reads
  };
  bool is_first_touch(uint32_t hash);
  void learn(const trace::Access& access, uint32_t hash);
  static void count(Request& request, const trace::Access& partner);
  void say(const Request& request, const trace::Access& access, std::vector<Candidate>& out) const;
  uint16_t clock() const { return static_cast<uint16_t>(reads_ >> 10); }

  Options options_;
  ComponentNumbers numbers_;
  SetTable<Request, 2> requests_;
  std::vector<Touch> window_;  // a ring of the last first touches
  size_t window_next_ = 0;
  std::vector<Recent> recent_;  // by hash; a later request takes the place of an earlier one
  uint32_t reads_ = 0;
  Time last_at_{};
  float pace_s_ = 0;  // mean time between first touches
};

}  // namespace forerun::predict
