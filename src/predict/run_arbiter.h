// The arbiter of a disk at work (Arbiter::Unit::kRuns): what a model says of a run of blocks is
// weighed, scored and proposed as one, since a request comes as one, and because there are ten
// times as many requests as in a boot and a microsecond for each. The surest word counts.
//
// One of a run's blocks stands for it: drawn anew each time, so that what is learned is the share
// of blocks that come true. What is too unlikely to be proposed is scored all the same. A word
// waits for its outcome as in arbiter.cpp: doubted after 96 reads, forgotten after horizon_reads.
#pragma once

#include <vector>

#include "predict/arbiter.h"
#include "predict/block_table.h"
#include "predict/judge.h"
#include "predict/word_odds.h"

namespace forerun::predict {

// One VM session. One thread.
class RunArbiter {
 public:
  // REQUIRES: at most 32 models.
  RunArbiter(Arbiter::Options options, std::vector<std::unique_ptr<Model>> models);

  void on_start(Time now, std::vector<Proposal>& out);
  void on_access(const trace::Access& access, std::vector<Proposal>& out);
  void on_behaviour(std::span<const float> inputs, size_t category);
  void on_end(Time now);
  std::vector<ModelReport> report() const;
  std::span<const std::unique_ptr<Model>> models() const { return models_; }

 private:
  struct Saying {
    BlockKey key;          // the block that stands for the run
    uint32_t next = 0;     // of its group; 0: none, otherwise its place + 1
    uint32_t said_at = 0;  // count of reads
    float said = 0, probability = 0;
    WordOdds::Traits traits;
    uint16_t context = 0;
    uint8_t model = 0;
    uint8_t blocks = 0;  // that were proposed with it; 0: it was not
    enum class State : uint8_t { kFresh, kDoubted, kSettled } state = State::kFresh;
  };
  // When a block was last read, by hash; where nobody says what is here.
  struct Recent {
    uint32_t hash = 0;
    Time at{};
  };

  void hear(uint8_t model, const Candidate& candidate, const trace::Access& access);
  float worth_from(const Candidate& candidate) const;
  // Moves the least probability by what was fetched in vain lately.
  void adapt();
  uint64_t missing(const Candidate& candidate) const;
  void propose(const Candidate& candidate, uint64_t missing, float probability, uint8_t model);
  bool is_recent(const BlockKey& key) const;
  void remember(const trace::Access& access);
  bool file(const Saying& saying);
  // Returns a bit for each model that had said one of the blocks.
  uint32_t settle(const trace::Access& access);
  void judge_some();
  void learn(const Saying& saying, bool happened);
  void drop_oldest();
  void unlink(uint32_t place);
  static BlockKey group_of(const BlockKey& key) { return {key.component, key.block / kGroup}; }
  uint32_t place_of(uint64_t number) const {
    return static_cast<uint32_t>(number) & (kPending - 1);
  }
  void ask(const trace::Access& access, auto&& question, size_t proposals_max,
           std::vector<Proposal>& out);

  static constexpr uint64_t kGroup = 16;         // blocks that share a list of sayings
  static constexpr uint32_t kPending = 1 << 14;  // sayings, a ring

  const Arbiter::Options options_;
  std::vector<std::unique_ptr<Model>> models_;
  std::vector<Judge> judges_;  // by model
  WordOdds odds_;
  score::Reliability merged_;  // of what was proposed
  std::vector<Saying> sayings_;
  uint64_t said_ = 0, doubted_ = 0, dropped_ = 0;  // so many were, oldest first
  BlockTable<uint32_t> groups_;                    // first of a list, its place + 1
  uint64_t reads_ = 0;
  float least_ = 0;                    // the probability from which on a block is proposed
  float wanted_ = 0, in_vain_ = 0;     // blocks of the slow tier, of late
  Time now_{};                         // of the access that is looked at
  std::vector<Recent> recent_;         // empty: not needed
  std::vector<Candidate> candidates_;  // scratch, as the next
  std::vector<Proposal> proposals_;
};

}  // namespace forerun::predict
