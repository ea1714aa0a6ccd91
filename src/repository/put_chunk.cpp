#include "repository/put_chunk.h"

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

// Returns the size of the stored chunk at `path`, or 0 if it is not `ref`'s content or not fit for
// an index.
Result<uint32_t> verified_size(Store& store, const std::string& path, ChunkRef ref) {
  const auto stored = store.fetch(path, kStoredSizeMax);
  if (!stored) {
    const ErrorCode code = stored.error().code;
    if (code == ErrorCode::kNotFound || code == ErrorCode::kTooLarge) return 0;
    return std::unexpected(stored.error());
  }
  ref.stored_size = static_cast<uint32_t>(stored->size());
  if (ref.stored_size > ref.size + kStoredHeaderSize) return 0;
  return decode_chunk(ref, *stored) ? ref.stored_size : 0;
}

}  // namespace

Result<PutChunk> put_chunk(Store& store, const ChunkId& id, ByteView content, int zstd_level) {
  const std::string path = chunk_path(id);
  PutChunk done;
  done.ref = {id, static_cast<uint32_t>(content.size()), 0};
  FR_TRY(const bool exists, is_kept(store, path));
  if (exists) {
    FR_TRY(done.ref.stored_size, verified_size(store, path, done.ref));
    if (done.ref.stored_size > 0) return done;
  }
  done.kind = exists ? PutKind::kRepaired : PutKind::kNew;
  const auto packed = pack_chunk(id, content, zstd_level);
  done.ref = packed.ref;
  FR_CHECK(store.put(path, packed.stored));
  return done;
}

}  // namespace forerun::repository
