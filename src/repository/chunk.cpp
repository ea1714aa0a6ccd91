#include "repository/chunk.h"

#include <fmt/format.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <cstring>

namespace forerun::repository {
namespace {

constexpr std::byte kCodecPlain{0};
constexpr std::byte kCodecZstd{1};

// Contexts hold a few hundred KiB that cost more to set up than a chunk costs to pack, so each
// thread keeps its own.
ZSTD_CCtx* compressor() {
  static thread_local const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(
      ZSTD_createCCtx(), &ZSTD_freeCCtx);
  return context.get();
}

ZSTD_DCtx* decompressor() {
  static thread_local const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(
      ZSTD_createDCtx(), &ZSTD_freeDCtx);
  return context.get();
}

// Every byte equals its left neighbour and the first is zero; memcmp runs at memory speed.
bool is_zeroes(ByteView content) {
  return content[0] == std::byte{0} &&
         std::memcmp(content.data(), content.data() + 1, content.size() - 1) == 0;
}

std::unexpected<Error> corrupt(const ChunkRef& ref, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("chunk {} {}", ref.id.hex(), what));
}

// Unpacks one zstd frame into exactly `out`. What the frame claims is compared before a byte is
// unpacked, and the output is bounded by `out` whatever it claims.
Status unpack_zstd(const ChunkRef& ref, ByteView frame, MutableByteView out) {
  const unsigned long long claimed = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) return corrupt(ref, "holds no zstd frame");
  if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed != out.size()) {
    return corrupt(ref, fmt::format("unpacks to {} bytes, not {}", claimed, out.size()));
  }
  const size_t frame_size = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(frame_size)) return corrupt(ref, "holds a broken zstd frame");
  if (frame_size != frame.size()) return corrupt(ref, "has bytes after its zstd frame");
  const size_t size =
      ZSTD_decompressDCtx(decompressor(), out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(size)) {
    return corrupt(ref, fmt::format("does not unpack: {}", ZSTD_getErrorName(size)));
  }
  if (size != out.size()) {
    return corrupt(ref, fmt::format("unpacks to {} bytes, not {}", size, out.size()));
  }
  return {};
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
  stored.resize(kStoredHeaderSize + ZSTD_compressBound(content.size()));
  const size_t packed = ZSTD_compressCCtx(compressor(), stored.data() + kStoredHeaderSize,
                                          stored.size() - kStoredHeaderSize, content.data(),
                                          content.size(), zstd_level);
  if (!ZSTD_isError(packed) && packed < content.size()) {
    stored[0] = kCodecZstd;
    stored.resize(kStoredHeaderSize + packed);
  } else {
    stored[0] = kCodecPlain;
    stored.resize(kStoredHeaderSize + content.size());
    std::memcpy(stored.data() + kStoredHeaderSize, content.data(), content.size());
  }
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
    FR_CHECK(unpack_zstd(ref, payload, chunk->content));
  } else {
    return corrupt(ref, fmt::format("has the unknown codec {}", std::to_integer<int>(stored[0])));
  }
  if (!verify_content(ref.id, chunk->content)) return corrupt(ref, "is not what its name says");
  return chunk;
}

bool verify_content(const ChunkId& id, ByteView content) { return sha256(content) == id; }

}  // namespace forerun::repository
