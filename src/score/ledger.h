// The ledger of prefetches: what each model's ideas cost and what came of them, per VM. Totals for
// metrics and budgets, and the last outcomes one by one, so that a decision can be explained.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/time.h"

namespace forerun::score {

enum class Outcome : uint8_t {
  kHit,        // there when the guest asked
  kLate,       // asked for while on its way: the guest waited, but less
  kWasted,     // evicted or left over unused
  kCancelled,  // given up before it was fetched
};

struct Tally {
  uint64_t chunks = 0;
  uint64_t bytes = 0;
  bool operator==(const Tally&) const = default;
};

struct ModelTally {
  std::string model;
  Tally issued, hit, late, wasted, cancelled;
  Nanos waited{};  // by guests, for the late ones

  // Returns what was issued and has met no outcome yet.
  Tally undecided() const;
  // Returns (hit + late) / decided, in bytes, cancelled ones aside; 1 before anything is decided.
  double accuracy() const;
  bool operator==(const ModelTally&) const = default;
};

// One prefetch and its end.
struct Record {
  Time issued_at{};
  Time decided_at{};
  ComponentId component{};
  uint64_t block = 0;
  uint32_t bytes = 0;
  float probability = 0;
  uint8_t model = 0;
  Outcome outcome = Outcome::kHit;
  bool operator==(const Record&) const = default;
};

// One VM's. One thread. Bounded: models_max tallies and records_max records, the oldest of which
// are overwritten.
class Ledger {
 public:
  struct Options {
    size_t models_max = 32;
    size_t records_max = 1024;
  };
  // `models`: names by the index that proposals carry; those over models_max share the last tally.
  Ledger(Options options, std::vector<std::string> models);

  // Appends models. Returns the first one's index.
  uint8_t add_models(std::vector<std::string> models);

  void on_issued(uint8_t model, uint64_t bytes);
  // `record` carries model, bytes and outcome; `waited`: the guest's wait, for late ones.
  void on_outcome(const Record& record, Nanos waited = Nanos{0});

  std::span<const ModelTally> models() const { return models_; }  // empty before there are any
  // Returns the sum over all models, named "all".
  ModelTally total() const;
  // Returns the last outcomes, oldest first.
  std::vector<Record> recent() const;

 private:
  ModelTally& of(uint8_t model);

  Options options_;
  std::vector<ModelTally> models_;
  std::vector<Record> records_;  // a ring once full
  size_t next_ = 0;
};

}  // namespace forerun::score
