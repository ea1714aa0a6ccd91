#include "repository/put_chunk.h"

#include <optional>

#include "repository/delta.h"
#include "repository/fetch.h"

namespace forerun::repository {
namespace {

// Returns whether `path` is stored and stays so.
Result<bool> is_kept(Store& store, const std::string& path) {
  if (!store.contains(path)) return false;
  const Status renewed = store.renew(path);
  if (renewed || renewed.error().code == ErrorCode::kUnsupported) return true;
  if (renewed.error().code == ErrorCode::kNotFound) return false;
  return std::unexpected(renewed.error());
}

// What of an answer is only that nothing fit is stored.
bool is_unfit(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kTooLarge ||
         error.code == ErrorCode::kCorrupt;
}

// Returns the size of the stored chunk at `path`, or 0 if it is not `ref`'s content or not fit for
// an index.
Result<uint32_t> verified_size(Store& store, const std::string& path, ChunkRef ref) {
  const auto stored = store.fetch(path, kStoredSizeMax);
  if (!stored) {
    if (is_unfit(stored.error())) return 0;
    return std::unexpected(stored.error());
  }
  ref.stored_size = static_cast<uint32_t>(stored->size());
  if (ref.stored_size > ref.size + kStoredHeaderSize) return 0;
  return decode_chunk(ref, *stored) ? ref.stored_size : 0;
}

// Returns the basis, which stays where it is, or null if it is not there or not sound.
Result<ChunkPtr> keep_basis(Store& store, const ChunkRef& basis) {
  FR_TRY(const bool exists, is_kept(store, chunk_path(basis.id)));
  if (!exists) return nullptr;
  ChunkRef whole = basis;
  whole.is_delta = false;
  auto chunk = fetch_chunk(store, whole);
  if (!chunk && is_unfit(chunk.error())) return nullptr;
  return chunk;
}

// Returns the delta of the chunk that is stored, if it is sound and stays.
Result<std::optional<PutChunk>> keep_delta(Store& store, const ChunkRef& ref) {
  FR_TRY(const bool exists, is_kept(store, delta_path(ref.id)));
  if (!exists) return std::nullopt;
  const auto stored = store.fetch(delta_path(ref.id), kStoredSizeMax);
  if (!stored && !is_unfit(stored.error())) return std::unexpected(stored.error());
  const auto bases = stored ? read_bases(ref, *stored)
                            : Result<std::vector<ChunkRef>>(std::unexpected(stored.error()));
  if (!bases || stored->size() > ref.size) return std::nullopt;
  std::vector<ChunkPtr> contents;
  for (const ChunkRef& basis : *bases) {
    FR_TRY(contents.emplace_back(), keep_basis(store, basis));
    if (!contents.back()) return std::nullopt;
  }
  if (!decode_delta(ref, *stored, contents)) return std::nullopt;
  PutChunk kept{.ref = ref, .bases = *bases};
  kept.ref.is_delta = true;
  kept.ref.stored_size = static_cast<uint32_t>(stored->size());
  return kept;
}

struct Delta {
  Buffer stored;
  std::vector<ChunkRef> bases;
};

// Returns the delta of `content` that is worth it beside a whole chunk of `whole_size` bytes. One
// basis more costs a reader one more fetch, so it must save a tenth.
Result<std::optional<Delta>> make_delta(Store& store, const ChunkId& id, ByteView content,
                                        size_t whole_size, const ProposeBases& propose) {
  constexpr size_t kIndexBytesPerBasis = 40;
  std::optional<Delta> best;
  std::vector<ChunkPtr> contents;
  Delta now;
  for (const ChunkRef& basis : propose(content)) {
    if (basis.id == id || contents.size() == kBasesMax) continue;
    FR_TRY(const ChunkPtr chunk, keep_basis(store, basis));
    if (!chunk) continue;
    contents.push_back(chunk);
    now.bases.push_back(basis);
    size_t stored_max = best ? best->stored.size() * 9 / 10 : whole_size * 3 / 4;
    stored_max -= std::min(stored_max, kIndexBytesPerBasis * contents.size());
    auto packed = pack_delta(content, contents, stored_max);
    if (packed) best = Delta{std::move(*packed), now.bases};
    if (!packed && best) break;
  }
  return best;
}

}  // namespace

Result<PutChunk> put_chunk(Store& store, const ChunkId& id, ByteView content, int zstd_level,
                           const ProposeBases& propose) {
  const std::string path = chunk_path(id);
  PutChunk done;
  done.ref = {id, static_cast<uint32_t>(content.size()), 0};
  FR_TRY(const bool exists, is_kept(store, path));
  if (exists) {
    FR_TRY(done.ref.stored_size, verified_size(store, path, done.ref));
    if (done.ref.stored_size > 0) return done;
  } else if (propose) {
    FR_TRY(auto kept, keep_delta(store, done.ref));
    if (kept) return std::move(*kept);
  }
  done.kind = exists ? PutKind::kRepaired : PutKind::kNew;
  const auto packed = pack_chunk(id, content, zstd_level);
  done.ref = packed.ref;
  if (propose && !exists) {
    FR_TRY(auto delta, make_delta(store, id, content, packed.stored.size(), propose));
    if (delta) {
      done.ref.is_delta = true;
      done.ref.stored_size = static_cast<uint32_t>(delta->stored.size());
      for (ChunkRef& basis : delta->bases) basis.is_delta = false;
      done.bases = std::move(delta->bases);
      FR_CHECK(store.put(delta_path(id), delta->stored));
      return done;
    }
  }
  FR_CHECK(store.put(path, packed.stored));
  return done;
}

}  // namespace forerun::repository
