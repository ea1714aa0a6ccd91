#include "image/chunk_sink.h"

#include "repository/put_chunk.h"

namespace forerun::image {

using repository::ChunkRef;
using repository::PutKind;

struct ChunkSink::Outcome {
  PutKind kind = PutKind::kReused;
  ChunkRef ref;
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
    outcome.ref.stored_size = known->second;
    return outcome;
  }
  const auto done = repository::put_chunk(store_, *id, content, options_.zstd_level);
  if (!done) {
    outcome.status = std::unexpected(done.error());
    return outcome;
  }
  outcome.ref = done->ref;
  outcome.kind = done->kind;
  return outcome;
}

Status ChunkSink::account(const Outcome& outcome) {
  FR_CHECK(outcome.status);
  refs_.push_back(outcome.ref);
  // Two equal chunks in one batch both count themselves new; the second is not.
  const bool is_first = known_.emplace(outcome.ref.id, outcome.ref.stored_size).second;
  if (outcome.kind == PutKind::kReused || !is_first) {
    ++totals_.reused_chunks;
    return {};
  }
  ++(outcome.kind == PutKind::kNew ? totals_.new_chunks : totals_.repaired_chunks);
  totals_.stored_bytes += outcome.ref.stored_size;
  return {};
}

}  // namespace forerun::image
