#include "image/decompress.h"

#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "image/component_fixture.h"

namespace forerun::image {
namespace {

Buffer bytes_of(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

Buffer gzip(ByteView content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Buffer out(deflateBound(&stream, content.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Buffer zstd(ByteView content) {
  Buffer out(ZSTD_compressBound(content.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 3));
  return out;
}

Buffer xz(ByteView content) {
  Buffer out(lzma_stream_buffer_bound(content.size()));
  size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(
                0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const uint8_t*>(content.data()),
                content.size(), reinterpret_cast<uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

// Gives a few bytes at a time.
ByteStream drip(ByteView bytes, size_t step) {
  return [stream = stream_of(bytes), step](MutableByteView out) {
    return stream(out.first(std::min(step, out.size())));
  };
}

Result<Buffer> unpack(ByteView packed, size_t step = 1000, UnpackLimits limits = {}) {
  FR_TRY(const ByteStream stream, unpacked(drip(packed, step), limits));
  Buffer out;
  for (;;) {
    Buffer part(777);
    FR_TRY(const size_t count, stream(part));
    if (count == 0) return out;
    out.insert(out.end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(count));
  }
}

constexpr Buffer (*kPackers[])(ByteView) = {gzip, zstd, xz};

TEST(Decompress, GivesTheContentBack) {
  const Buffer content = bytes_of(random_text(50'000, 1));
  for (const auto pack : kPackers) {
    const Buffer packed = pack(content);
    EXPECT_LT(packed.size(), content.size());
    for (const size_t step : {1, 7, 1000, 1'000'000}) {
      const auto out = unpack(packed, step);
      ASSERT_TRUE(out) << out.error().message;
      EXPECT_EQ(*out, content);
    }
    EXPECT_EQ(*unpack(pack({})), Buffer());
  }
}

TEST(Decompress, PassesOnWhatIsNotPacked) {
  for (const std::string_view text : {"", "abc", "abcdef", "abcdefghijk", "\x1f",
                                      "\xfd"
                                      "7zX"})
    EXPECT_EQ(*unpack(as_bytes(text), 4), bytes_of(text));
}

TEST(Decompress, ReadsStreamsThatFollowOneAnother) {
  const Buffer content = bytes_of(random_text(3000, 1));
  for (const auto pack : kPackers) {
    Buffer packed = pack(content);
    const Buffer once = packed;
    packed.insert(packed.end(), once.begin(), once.end());
    const auto out = unpack(packed);
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_EQ(out->size(), 2 * content.size());
  }
}

TEST(Decompress, RefusesWhatIsCutOffSpoiltOrFollowedByOtherThings) {
  const Buffer content = bytes_of(random_text(20'000, 1));
  for (const auto pack : kPackers) {
    const Buffer packed = pack(content);
    for (const size_t left : {size_t{6}, size_t{20}, packed.size() / 2, packed.size() - 1}) {
      const auto out = unpack(ByteView(packed).first(left));
      ASSERT_FALSE(out) << left;
      EXPECT_EQ(out.error().code, ErrorCode::kCorrupt);
    }
    Buffer longer = packed;
    longer.insert(longer.end(), 40, std::byte{'x'});
    EXPECT_FALSE(unpack(longer));
    // zstd's frames carry no checksum unless asked to: its structure is spoilt instead.
    Buffer spoilt = packed;
    const size_t at = pack == zstd ? 4 : packed.size() / 2;
    spoilt[at] ^= std::byte{0xff};
    EXPECT_FALSE(unpack(spoilt));
  }
}

TEST(Decompress, StopsBombs) {
  const Buffer zeroes(2 * kMiB);
  for (const auto pack : kPackers) {
    const Buffer packed = pack(zeroes);
    EXPECT_TRUE(unpack(packed));
    const auto out = unpack(packed, 1000, {.bytes_free = kMiB / 2, .ratio_max = 10});
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().code, ErrorCode::kTooLarge);
  }
}

TEST(Decompress, PassesErrorsOn) {
  const ByteStream broken = [](MutableByteView) -> Result<size_t> {
    return fail(ErrorCode::kIo, "the disk is gone");
  };
  EXPECT_EQ(unpacked(broken).error().code, ErrorCode::kIo);
  const Buffer packed = gzip(bytes_of(random_text(20'000, 1)));
  const auto half = [stream = stream_of(ByteView(packed).first(100)),
                     broken](MutableByteView out) mutable -> Result<size_t> {
    FR_TRY(const size_t count, stream(out));
    return count > 0 ? count : broken(out);
  };
  const auto stream = unpacked(half);
  ASSERT_TRUE(stream);
  Buffer out(50'000);
  const auto read = read_full(*stream, out);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace forerun::image
