#include "repository/chunk.h"

#include <fmt/format.h>

#include <cstring>

#include "repository/zstd_frame.h"

namespace forerun::repository {
namespace {

constexpr std::byte kCodecPlain{0};
constexpr std::byte kCodecZstd{1};
constexpr std::byte kCodecDelta{2};  // delta.h

// Every byte equals its left neighbour and the first is zero; memcmp runs at memory speed.
bool is_zeroes(ByteView content) {
  return content[0] == std::byte{0} &&
         std::memcmp(content.data(), content.data() + 1, content.size() - 1) == 0;
}

std::unexpected<Error> corrupt(const ChunkRef& ref, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("chunk {} {}", ref.id.hex(), what));
}

}  // namespace

std::optional<ChunkId> name_chunk(ByteView content) {
  FR_ASSERT(!content.empty());
  if (is_zeroes(content)) return std::nullopt;
  return sha256(content);
}

EncodedChunk pack_chunk(const ChunkId& id, ByteView content, int zstd_level) {
  FR_ASSERT(!content.empty() && content.size() <= kChunkSize);
  EncodedChunk encoded{{id, static_cast<uint32_t>(content.size()), 0}, {}};
  Buffer& stored = encoded.stored;
  const Buffer frame = pack_frame(content, zstd_level);
  const bool is_shorter = frame.size() < content.size();
  const ByteView payload = is_shorter ? ByteView(frame) : content;
  stored.reserve(kStoredHeaderSize + payload.size());
  stored.push_back(is_shorter ? kCodecZstd : kCodecPlain);
  stored.insert(stored.end(), payload.begin(), payload.end());
  encoded.ref.stored_size = static_cast<uint32_t>(stored.size());
  return encoded;
}

EncodedChunk encode_chunk(ByteView content, int zstd_level) {
  if (const auto id = name_chunk(content)) return pack_chunk(*id, content, zstd_level);
  return {{{}, static_cast<uint32_t>(content.size()), 0}, {}};
}

Result<ChunkPtr> decode_chunk(const ChunkRef& ref, ByteView stored) {
  if (ref.is_zero()) return corrupt(ref, "is zeroes, which are not stored");
  if (ref.size == 0 || ref.size > kChunkSize) {
    return corrupt(ref, fmt::format("is said to hold {} bytes", ref.size));
  }
  if (stored.size() <= kStoredHeaderSize) return corrupt(ref, "is empty");
  if (stored.size() > kStoredSizeMax) return corrupt(ref, "is too long");

  const ByteView payload = stored.subspan(kStoredHeaderSize);
  auto chunk = std::make_shared<Chunk>();
  chunk->id = ref.id;
  if (stored[0] == kCodecPlain) {
    if (payload.size() != ref.size) {
      return corrupt(ref, fmt::format("has {} bytes, not {}", payload.size(), ref.size));
    }
    chunk->content.assign(payload.begin(), payload.end());
  } else if (stored[0] == kCodecZstd) {
    chunk->content.resize(ref.size);
    if (const Status unpacked = unpack_frame(payload, chunk->content); !unpacked)
      return corrupt(ref, unpacked.error().message);
  } else if (stored[0] == kCodecDelta) {
    return corrupt(ref, "is a delta where a whole chunk is due");
  } else {
    return corrupt(ref, fmt::format("has the unknown codec {}", std::to_integer<int>(stored[0])));
  }
  if (!verify_content(ref.id, chunk->content)) return corrupt(ref, "is not what its name says");
  return chunk;
}

bool verify_content(const ChunkId& id, ByteView content) { return sha256(content) == id; }

}  // namespace forerun::repository
