#include "image/chunk_sink.h"

#include <map>

#include "repository/put_chunk.h"

namespace forerun::image {

using repository::ChunkRef;
using repository::PutKind;

struct ChunkSink::Outcome {
  PutKind kind = PutKind::kReused;
  ChunkRef ref;
  std::vector<ChunkRef> bases;
  Status status;
};

Result<size_t> ChunkSink::add(Buffer content) {
  waiting_.push_back(std::move(content));
  const size_t number = refs_.size() + waiting_.size() - 1;
  if (waiting_.size() >= options_.batch_chunks) FR_CHECK(finish());
  return number;
}

Status ChunkSink::finish() {
  std::vector<Outcome> outcomes(waiting_.size());
  const std::function<void(size_t)> body = [&](size_t i) { outcomes[i] = put(waiting_[i]); };
  if (options_.parallel_for) {
    options_.parallel_for(outcomes.size(), body);
  } else {
    for (size_t i = 0; i < outcomes.size(); ++i) body(i);
  }
  waiting_.clear();
  for (const Outcome& outcome : outcomes) FR_CHECK(account(outcome));
  return {};
}

// Runs on the caller's threads, many at once: changes nothing of the sink.
ChunkSink::Outcome ChunkSink::put(ByteView content) const {
  Outcome outcome;
  const auto id = repository::name_chunk(content);
  FR_ASSERT(id.has_value(), "a chunk of zeroes is a hole");
  outcome.ref = {*id, static_cast<uint32_t>(content.size()), 0};
  if (const auto known = known_.find(*id); known != known_.end()) {
    outcome.ref = known->second;
    return outcome;
  }
  repository::ProposeBases propose;
  if (options_.delta_from)
    propose = [&](ByteView wanted) { return options_.delta_from->find(wanted); };
  auto done = repository::put_chunk(store_, *id, content, options_.zstd_level, propose);
  if (!done) {
    outcome.status = std::unexpected(done.error());
    return outcome;
  }
  outcome.ref = done->ref;
  outcome.kind = done->kind;
  outcome.bases = std::move(done->bases);
  return outcome;
}

Status ChunkSink::account(const Outcome& outcome) {
  FR_CHECK(outcome.status);
  // Two equal chunks in one batch both count themselves new; the second is not, and the index says
  // one thing of both.
  const auto [known, is_first] = known_.emplace(outcome.ref.id, outcome.ref);
  refs_.push_back(known->second);
  if (is_first && outcome.ref.is_delta) bases_.emplace(outcome.ref.id, outcome.bases);
  if (outcome.kind == PutKind::kReused || !is_first) {
    ++totals_.reused_chunks;
    return {};
  }
  ++(outcome.kind == PutKind::kNew ? totals_.new_chunks : totals_.repaired_chunks);
  totals_.delta_chunks += outcome.ref.is_delta;
  totals_.stored_bytes += outcome.ref.stored_size;
  return {};
}

std::vector<ChunkRef> ChunkSink::bases_of(std::span<const ChunkRef> chunks) const {
  std::map<ChunkId, ChunkRef> distinct;
  for (const ChunkRef& chunk : chunks) {
    if (!chunk.is_delta) continue;
    for (const ChunkRef& basis : bases_.at(chunk.id)) distinct.emplace(basis.id, basis);
  }
  std::vector<ChunkRef> bases;
  for (const auto& [id, basis] : distinct) bases.push_back(basis);
  return bases;
}

}  // namespace forerun::image
