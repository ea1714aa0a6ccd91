// The Model interface: what may be read next, and how sure the model is. A new model is one file
// and one line in registry.cpp. Pure: no os, no clock, no threads; called from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "core/time.h"
#include "trace/access.h"

namespace forerun::predict {

// "These blocks will be read by `due`." Blocks as in trace::Access.
struct Candidate {
  ComponentId component;
  uint64_t first_block = 0;
  uint32_t block_count = 0;
  float confidence = 0;  // the model's own, in (0, 1); the arbiter calibrates it
  uint16_t context =
      0;  // which of the model's situations it was said in; confidences are calibrated per context
  Time due{};  // when the guest is expected to want it
  bool operator==(const Candidate&) const = default;
};

// One model instance serves one VM session; what outlives sessions (a replay history) is shared by
// instances through the object that makes them.
class Model {
 public:
  virtual ~Model() = default;

  virtual std::string_view name() const = 0;
  // The VM is about to start: appends what it will want from the beginning.
  virtual void on_start(Time now, std::vector<Candidate>& out) = 0;
  // Appends what this access makes likely. Writes are observed too. At most a bounded number of
  // candidates a call.
  virtual void on_access(const trace::Access& access, std::vector<Candidate>& out) = 0;
  // on_access() comes with this at once: has what it will look at brought to the processor.
  virtual void prepare(const trace::Access&) const {}
  // The VM's guest behaves so, by what its agent says (telemetry/behaviour.h: model_inputs, each in
  // −1 … 1, and category_of): a hint, of which most models make nothing. Only ever of this
  // session's VM. A category that is not below kCategoryCount is none.
  virtual void on_behaviour(std::span<const float> /*inputs*/, size_t /*category*/) {}
  // The session ended or its learning window closed: learn from it as a whole.
  virtual void on_end(Time now) = 0;
  // Returns the share of what the guest reads of this component that the model claims to know
  // beforehand, in [0, 1). What it does not say is then unlikely, whoever else says it: with a
  // history, neighbours that no boot ever read are not worth a fetch.
  virtual float coverage(ComponentId) const { return 0; }
  // Returns whether what it says of this component was seen in boots. Then it is no less likely
  // because a model that covers more, but only guesses, leaves it out.
  virtual bool has_seen(ComponentId) const { return false; }
  // Returns the bytes of state held now; bounded by the model's Options.
  virtual size_t state_bytes() const = 0;

  // Returns what this session learned and a later one of the same disk may begin with, sealed and
  // bounded; nothing if there is nothing worth keeping. `components`: those of the disk; the saved
  // form names a component by its place among them, and leaves out what is of no other.
  virtual Buffer save(std::span<const ComponentId> /*components*/) const { return {}; }
  // Begins with what was saved. A place of kNoComponent is one that the disk no longer has: what
  // was learned of it is dropped. REQUIRES: nothing was learned yet. ERRORS: kCorrupt, kTooLarge,
  // kUnsupported (another version, or a model that keeps nothing): the model is then as before.
  virtual Status restore(ByteView saved, std::span<const ComponentId> components);
};

inline constexpr ComponentId kNoComponent{UINT32_MAX};

}  // namespace forerun::predict
