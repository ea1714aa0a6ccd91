#include "image/chunk_sink.h"

namespace forerun::image {

using repository::ChunkRef;

struct ChunkSink::Outcome {
  enum class Kind { kReused, kNew, kRepaired } kind = Kind::kReused;
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
  const std::string path = repository::chunk_path(*id);
  // What is relied upon is renewed first, so that no garbage collection takes it meanwhile.
  bool exists = store_.contains(path);
  if (exists) {
    if (const Status renewed = store_.renew(path); !renewed) {
      exists = renewed.error().code != ErrorCode::kNotFound;
      if (exists && renewed.error().code != ErrorCode::kUnsupported) {
        outcome.status = renewed;
        return outcome;
      }
    }
  }
  if (exists) {
    const auto size = verified_size(path, outcome.ref);
    if (!size) {
      outcome.status = std::unexpected(size.error());
      return outcome;
    }
    outcome.ref.stored_size = *size;
    if (*size > 0) return outcome;
  }
  outcome.kind = exists ? Outcome::Kind::kRepaired : Outcome::Kind::kNew;
  const auto packed = repository::pack_chunk(*id, content, options_.zstd_level);
  outcome.ref = packed.ref;
  outcome.status = store_.put(path, packed.stored);
  return outcome;
}

// Returns the size of the stored chunk at `path`, or 0 if it is not `ref`'s content or not fit for
// an index.
Result<uint32_t> ChunkSink::verified_size(const std::string& path, ChunkRef ref) const {
  const auto stored = store_.fetch(path, repository::kStoredSizeMax);
  if (!stored) {
    const ErrorCode code = stored.error().code;
    if (code == ErrorCode::kNotFound || code == ErrorCode::kTooLarge) return 0;
    return std::unexpected(stored.error());
  }
  ref.stored_size = static_cast<uint32_t>(stored->size());
  if (ref.stored_size > ref.size + repository::kStoredHeaderSize) return 0;
  return repository::decode_chunk(ref, *stored) ? ref.stored_size : 0;
}

Status ChunkSink::account(const Outcome& outcome) {
  FR_CHECK(outcome.status);
  refs_.push_back(outcome.ref);
  // Two equal chunks in one batch both count themselves new; the second is not.
  const bool is_first = known_.emplace(outcome.ref.id, outcome.ref.stored_size).second;
  if (outcome.kind == Outcome::Kind::kReused || !is_first) {
    ++totals_.reused_chunks;
    return {};
  }
  ++(outcome.kind == Outcome::Kind::kNew ? totals_.new_chunks : totals_.repaired_chunks);
  totals_.stored_bytes += outcome.ref.stored_size;
  return {};
}

}  // namespace forerun::image
