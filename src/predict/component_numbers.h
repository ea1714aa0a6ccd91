// Small numbers for the components that a model meets, in the order in which it met them. Tables
// that are keyed by a hash hash these, and not the numbers of a process: so that a saved table
// means the same in another process and on another host.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <vector>

#include "core/codec.h"
#include "core/id.h"
#include "core/result.h"
#include "predict/model.h"

namespace forerun::predict {

// One thread.
class ComponentNumbers {
 public:
  static constexpr uint32_t kMax = 512;  // a disk has at most 257; more share the last number

  uint32_t of(ComponentId component) {
    if (last_ < known_.size() && known_[last_] == component) return last_;
    const auto found = std::find(known_.begin(), known_.end(), component);
    if (found == known_.end() && known_.size() < kMax) {
      known_.push_back(component);
      last_ = static_cast<uint32_t>(known_.size() - 1);
    } else {
      last_ = static_cast<uint32_t>(std::min<ptrdiff_t>(found - known_.begin(), kMax - 1));
    }
    return last_;
  }
  bool empty() const { return known_.empty(); }
  size_t state_bytes() const { return known_.capacity() * sizeof(ComponentId); }

  // The saved form: how many, then of each its place among the disk's components; kNoPlace: it is
  // not among them.
  static constexpr uint32_t kNoPlace = UINT32_MAX;
  void save(ByteWriter& out, std::span<const ComponentId> components) const {
    out.u32(static_cast<uint32_t>(known_.size()));
    for (const ComponentId component : known_) {
      const auto place = std::find(components.begin(), components.end(), component);
      out.u32(place == components.end() ? kNoPlace
                                        : static_cast<uint32_t>(place - components.begin()));
    }
  }
  // ERRORS: kCorrupt.
  static Result<ComponentNumbers> restore(ByteReader& in, std::span<const ComponentId> components) {
    ComponentNumbers numbers;
    const uint32_t count = in.u32();
    if (count > kMax)
      return fail(ErrorCode::kCorrupt, fmt::format("a saved table of {} components", count));
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t place = in.u32();
      if (place != kNoPlace && place >= components.size())
        return fail(ErrorCode::kCorrupt,
                    fmt::format("a saved table of a component {} of {}", place, components.size()));
      const ComponentId component = place == kNoPlace ? kNoComponent : components[place];
      if (component != kNoComponent && std::find(numbers.known_.begin(), numbers.known_.end(),
                                                 component) != numbers.known_.end())
        return fail(ErrorCode::kCorrupt, "a saved table has two numbers for one component");
      numbers.known_.push_back(component);
    }
    if (!in.good()) return fail(ErrorCode::kCorrupt, "a saved table ends within its components");
    return numbers;
  }

 private:
  std::vector<ComponentId> known_;
  uint32_t last_ = 0;
};

}  // namespace forerun::predict
