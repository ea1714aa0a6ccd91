// What a recurrent network makes of the order of requests: gap after gap, with the size of
// requests, writes between them, and how the guest behaves.
//
// A model asks; a trainer, shared by a host's models, learns from what they saw and gives out newer
// numbers from time to time. Inference is on the path of predictions, training never.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "core/bytes.h"
#include "predict/gap_tokens.h"
#include "predict/gru.h"
#include "predict/model.h"

namespace forerun::predict {

static_assert(GapTokens::kTokens == kGruTokens);

using RnnNet = GruNet<float>;
using RnnNetPtr = std::shared_ptr<const RnnNet>;
using RnnInput = GruInput<float>;

// Steps of one VM in their order, with the token that followed each.
struct RnnWindow {
  std::vector<RnnInput> inputs;
  std::vector<uint32_t> targets;
  RnnNet::State state{};  // before the first
};

// The saved form of a network: docs/format_history.md.
Buffer serialize(const RnnNet& net);
// ERRORS: kCorrupt, naming what is wrong; kUnsupported for another version or shape.
Result<std::shared_ptr<RnnNet>> parse_rnn(ByteView saved);
// Has what an agent says change nothing until it is learned: in pretraining no agent says anything,
// so what the network makes of it would be chance.
void forget_behaviour(RnnNet& net);

// Learns from windows. Thread-safe: any thread offers, one trains.
class RnnTrainer {
 public:
  struct Options {
    size_t windows_max = 256;       // waiting; the oldest is dropped
    uint32_t windows_per_step = 4;  // whose gradients are added up
    uint32_t publish_every = 8;     // steps
    GruTrainer::Options descent;
  };
  // `net`: where to begin; null: from small random numbers.
  RnnTrainer(Options options, RnnNetPtr net);

  void offer(RnnWindow window);
  // Learns from up to `steps` × windows_per_step waiting windows. Returns how many steps it made:
  // less if there is nothing left to learn from. Call it from one thread.
  size_t train(size_t steps);
  // Returns the numbers as last given out.
  RnnNetPtr net() const;
  // Goes on from these numbers, given out at once, from the next step on; steps made before and
  // windows that wait are forgotten. Any thread. `net` is not null.
  void resume(RnnNetPtr net);
  // Returns the mean of what recent windows cost, in nats per request.
  double loss() const;
  // Returns what the last step's windows cost, likewise.
  double step_loss() const;
  size_t state_bytes() const;

 private:
  Options options_;
  RnnNet training_;  // the training thread's, as the next two
  GruTrainer trainer_;
  std::vector<float> gradient_;
  uint32_t steps_ = 0;
  mutable std::mutex mutex_;  // guards the rest
  std::deque<RnnWindow> windows_;
  RnnNetPtr published_;
  RnnNetPtr resumed_;  // null: the training thread has taken it up
  double loss_ = 0, step_loss_ = 0;
};

// One VM session. One thread.
class RnnModel final : public Model {
 public:
  struct Options {
    uint32_t window = 16;    // requests that a gradient goes back over
    uint32_t steps_max = 3;  // requests foreseen one after the other
    float said_min = 0.15f;
    float step_min = 0.3f;    // a request less likely than this is not gone on from
    uint32_t ask_every = 64;  // requests: whether there are newer numbers
  };
  static constexpr size_t kBehaviour = 8, kCategories = 4;
  RnnModel(Options options, std::shared_ptr<RnnTrainer> trainer);

  std::string_view name() const override { return "rnn"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override;
  // The trainer's numbers as last given out, and which gap has which token.
  Buffer save(std::span<const ComponentId> components) const override;
  Status restore(ByteView saved, std::span<const ComponentId> components) override;
  // Takes the first kBehaviour numbers; all inputs are 0 until something is known.
  void on_behaviour(std::span<const float> inputs, size_t category) override;

 private:
  struct Last {
    ComponentId component;
    uint64_t end = 0;
    Time at{};
  };
  RnnInput input_of(uint32_t token, const trace::Access& access, float wait_s) const;
  void learn(const RnnInput& input, uint32_t token);
  void say(const trace::Access& access, const RnnInput& input, std::vector<Candidate>& out) const;

  Options options_;
  std::shared_ptr<RnnTrainer> trainer_;
  RnnNetPtr net_;
  GapTokens tokens_;
  RnnNet::State state_{};
  RnnWindow window_;
  Last last_;
  bool has_last_ = false;
  uint32_t writes_ = 0;  // since the last read
  uint64_t reads_ = 0;
  bool has_past_ = false;  // restored
  float pace_s_ = 0;
  std::array<float, kBehaviour> behaviour_{};
  size_t category_ = kCategories;  // none
};

}  // namespace forerun::predict
