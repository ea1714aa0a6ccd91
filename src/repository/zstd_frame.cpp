#include "repository/zstd_frame.h"

#include <fmt/format.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <memory>

namespace forerun::repository {
namespace {

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

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

}  // namespace

Buffer pack_frame(ByteView content, int level) {
  Buffer frame(ZSTD_compressBound(content.size()));
  const size_t size = ZSTD_compressCCtx(compressor(), frame.data(), frame.size(), content.data(),
                                        content.size(), level);
  FR_ASSERT(!ZSTD_isError(size), "the bound is enough for any content");
  frame.resize(size);
  return frame;
}

Result<uint64_t> frame_content_size(ByteView frame) {
  const unsigned long long claimed = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) return corrupt("holds no zstd frame");
  if (claimed == ZSTD_CONTENTSIZE_UNKNOWN) return corrupt("does not say what it unpacks to");
  return claimed;
}

Status unpack_frame(ByteView frame, MutableByteView out) {
  const unsigned long long claimed = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) return corrupt("holds no zstd frame");
  if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed != out.size())
    return corrupt(fmt::format("unpacks to {} bytes, not {}", claimed, out.size()));
  const size_t frame_size = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(frame_size)) return corrupt("holds a broken zstd frame");
  if (frame_size != frame.size()) return corrupt("has bytes after its zstd frame");
  const size_t size =
      ZSTD_decompressDCtx(decompressor(), out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(size))
    return corrupt(fmt::format("does not unpack: {}", ZSTD_getErrorName(size)));
  if (size != out.size())
    return corrupt(fmt::format("unpacks to {} bytes, not {}", size, out.size()));
  return {};
}

}  // namespace forerun::repository
