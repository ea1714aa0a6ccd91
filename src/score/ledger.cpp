#include "score/ledger.h"

#include <algorithm>

#include "core/result.h"

namespace forerun::score {
namespace {

void add(Tally& tally, uint64_t bytes) {
  ++tally.chunks;
  tally.bytes += bytes;
}

void add(Tally& tally, const Tally& other) {
  tally.chunks += other.chunks;
  tally.bytes += other.bytes;
}

uint64_t minus(uint64_t from, uint64_t what) { return from > what ? from - what : 0; }

}  // namespace

Tally ModelTally::undecided() const {
  return {minus(issued.chunks, hit.chunks + late.chunks + wasted.chunks + cancelled.chunks),
          minus(issued.bytes, hit.bytes + late.bytes + wasted.bytes + cancelled.bytes)};
}

double ModelTally::accuracy() const {
  const uint64_t used = hit.bytes + late.bytes;
  const uint64_t decided = used + wasted.bytes;
  return decided == 0 ? 1.0 : static_cast<double>(used) / static_cast<double>(decided);
}

Ledger::Ledger(Options options, std::vector<std::string> models) : options_(options) {
  FR_ASSERT(options.models_max > 0 && options.records_max > 0);
  add_models(std::move(models));
}

uint8_t Ledger::add_models(std::vector<std::string> models) {
  const size_t first = std::min(models_.size(), options_.models_max - 1);
  for (auto& name : models) {
    if (models_.size() < options_.models_max)
      models_.push_back({.model = std::move(name)});
    else
      models_.back().model = "others";
  }
  return static_cast<uint8_t>(first);
}

ModelTally& Ledger::of(uint8_t model) {
  if (models_.empty()) models_.push_back({.model = "unknown"});
  return models_[std::min<size_t>(model, models_.size() - 1)];
}

void Ledger::on_issued(uint8_t model, uint64_t bytes) { add(of(model).issued, bytes); }

void Ledger::on_outcome(const Record& record, Nanos waited) {
  ModelTally& tally = of(record.model);
  switch (record.outcome) {
    case Outcome::kHit:
      add(tally.hit, record.bytes);
      break;
    case Outcome::kLate:
      add(tally.late, record.bytes);
      tally.waited += waited;
      break;
    case Outcome::kWasted:
      add(tally.wasted, record.bytes);
      break;
    case Outcome::kCancelled:
      add(tally.cancelled, record.bytes);
      break;
  }
  if (records_.size() < options_.records_max) {
    records_.push_back(record);
  } else {
    records_[next_] = record;
    next_ = (next_ + 1) % records_.size();
  }
}

ModelTally Ledger::total() const {
  ModelTally sum{.model = "all"};
  for (const auto& model : models_) {
    add(sum.issued, model.issued);
    add(sum.hit, model.hit);
    add(sum.late, model.late);
    add(sum.wasted, model.wasted);
    add(sum.cancelled, model.cancelled);
    sum.waited += model.waited;
  }
  return sum;
}

std::vector<Record> Ledger::recent() const {
  std::vector<Record> out(records_.begin() + static_cast<ptrdiff_t>(next_), records_.end());
  out.insert(out.end(), records_.begin(), records_.begin() + static_cast<ptrdiff_t>(next_));
  return out;
}

}  // namespace forerun::score
