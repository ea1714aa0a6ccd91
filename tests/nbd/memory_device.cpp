#include "memory_device.h"

namespace forerun::nbd_test {
namespace {

const Buffer& zero_chunk() {
  static const Buffer zeroes(64 * kKiB);
  return zeroes;
}

}  // namespace

MemoryDevice::ChunkPtr MemoryDevice::find(uint64_t index) {
  Shard& shard = shard_of(index);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.chunks.find(index);
  return found == shard.chunks.end() ? nullptr : found->second;
}

Status MemoryDevice::check(ByteRange range) const {
  if (range.end() <= options_.failing_from) return {};
  return fail(ErrorCode::kIo, "a planted failure");
}

void MemoryDevice::append(ByteRange range, disk::ReadSlices& out) {
  for (uint64_t at = range.offset; at < range.end();) {
    const uint64_t begin = at % kChunk;
    const uint64_t length = std::min(kChunk - begin, range.end() - at);
    if (ChunkPtr chunk = find(at / kChunk)) {
      out.slices.push_back(ByteView(*chunk).subspan(begin, length));
      out.owners.push_back(std::move(chunk));
    } else {
      out.slices.push_back(ByteView(zero_chunk()).first(length));
    }
    at += length;
  }
}

Result<bool> MemoryDevice::try_read(ByteRange range, disk::ReadSlices& out) {
  FR_CHECK(check(range));
  if (options_.slow_every != 0 && reads_++ % options_.slow_every == 0) return false;
  append(range, out);
  return true;
}

Status MemoryDevice::read(ByteRange range, disk::ReadSlices& out) {
  FR_CHECK(check(range));
  std::this_thread::sleep_for(options_.slow_time);
  append(range, out);
  return {};
}

Status MemoryDevice::write(uint64_t offset, ByteView data, bool) {
  FR_CHECK(check({offset, data.size()}));
  while (!data.empty()) {
    const uint64_t begin = offset % kChunk;
    const uint64_t length = std::min<uint64_t>(kChunk - begin, data.size());
    Shard& shard = shard_of(offset / kChunk);
    {
      const std::lock_guard lock(shard.mutex);
      ChunkPtr& chunk = shard.chunks[offset / kChunk];
      if (chunk == nullptr)
        chunk = std::make_shared<Buffer>(kChunk);
      else if (chunk.use_count() > 1)  // a reply in flight points at it
        chunk = std::make_shared<Buffer>(*chunk);
      else  // use_count() orders nothing; this does: the last reply's reads come before the write
        ChunkPtr(chunk).reset();
      std::memcpy(chunk->data() + begin, data.data(), length);
    }
    offset += length;
    data = data.subspan(length);
  }
  return {};
}

Status MemoryDevice::write_zeroes(ByteRange range, bool may_punch, bool fua) {
  FR_CHECK(check(range));
  for (uint64_t at = range.offset; at < range.end();) {
    const uint64_t length = std::min(kChunk - at % kChunk, range.end() - at);
    Shard& shard = shard_of(at / kChunk);
    bool absent = false;
    {
      const std::lock_guard lock(shard.mutex);
      if (length == kChunk && may_punch) shard.chunks.erase(at / kChunk);
      absent = may_punch && !shard.chunks.contains(at / kChunk);
    }
    if (!absent) FR_CHECK(write(at, ByteView(zero_chunk()).first(length), fua));
    at += length;
  }
  return {};
}

Status MemoryDevice::trim(ByteRange range, bool fua) { return write_zeroes(range, true, fua); }

Status MemoryDevice::block_status(ByteRange range, size_t extents_max,
                                  std::vector<disk::StatusExtent>& out) {
  const size_t first = out.size();
  for (uint64_t at = range.offset; at < range.end();) {
    const uint64_t length = std::min(kChunk - at % kChunk, range.end() - at);
    const bool absent = find(at / kChunk) == nullptr;
    if (out.size() > first && out.back().is_hole == absent) {
      out.back().length += length;
    } else if (out.size() - first == extents_max) {
      break;
    } else {
      out.push_back({.length = length, .is_hole = absent, .is_zero = absent});
    }
    at += length;
  }
  return {};
}

}  // namespace forerun::nbd_test
