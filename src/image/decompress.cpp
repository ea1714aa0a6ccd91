#include "image/decompress.h"

#include <fmt/format.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace forerun::image {
namespace {

constexpr size_t kInputSize = 64 * kKiB;
constexpr size_t kMagicSize = 6;
constexpr int kWindowLogMax = 27;  // of zstd: 128 MiB
constexpr uint64_t kXzMemoryMax = 128 * kMiB;

// One format. Unpacks from `in` to `out`, both of which it shortens by what it used.
class Decoder {
 public:
  virtual ~Decoder() = default;
  enum class State { kMore, kBetween, kBroken };  // between: a stream ended, another may follow
  virtual State step(ByteView& in, MutableByteView& out, bool is_last) = 0;
};

class GzipDecoder final : public Decoder {
 public:
  GzipDecoder() { FR_ASSERT(inflateInit2(&stream_, 15 + 16) == Z_OK); }  // 16: gzip's wrapping
  ~GzipDecoder() override { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  State step(ByteView& in, MutableByteView& out, bool /*is_last*/) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int code = inflate(&stream_, Z_NO_FLUSH);
    in = in.last(stream_.avail_in);
    out = out.last(stream_.avail_out);
    if (code == Z_STREAM_END)
      return inflateReset(&stream_) == Z_OK ? State::kBetween : State::kBroken;
    return code == Z_OK || code == Z_BUF_ERROR ? State::kMore : State::kBroken;
  }

 private:
  z_stream stream_{};
};

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, kWindowLogMax);
  }

  State step(ByteView& in, MutableByteView& out, bool /*is_last*/) override {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const size_t code = ZSTD_decompressStream(stream_.get(), &to, &from);
    in = in.subspan(from.pos);
    out = out.subspan(to.pos);
    if (ZSTD_isError(code)) return State::kBroken;
    return code == 0 ? State::kBetween : State::kMore;
  }

 private:
  std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream_;
};

class XzDecoder final : public Decoder {
 public:
  XzDecoder() { FR_ASSERT(lzma_stream_decoder(&stream_, kXzMemoryMax, 0) == LZMA_OK); }
  ~XzDecoder() override { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

  State step(ByteView& in, MutableByteView& out, bool is_last) override {
    stream_.next_in = reinterpret_cast<const uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret code = lzma_code(&stream_, is_last ? LZMA_FINISH : LZMA_RUN);
    in = in.last(stream_.avail_in);
    out = out.last(stream_.avail_out);
    if (code == LZMA_STREAM_END) {
      return lzma_stream_decoder(&stream_, kXzMemoryMax, 0) == LZMA_OK ? State::kBetween
                                                                       : State::kBroken;
    }
    return code == LZMA_OK || code == LZMA_BUF_ERROR ? State::kMore : State::kBroken;
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

std::unique_ptr<Decoder> decoder_of(Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return std::make_unique<GzipDecoder>();
    case Packing::kZstd:
      return std::make_unique<ZstdDecoder>();
    case Packing::kXz:
      return std::make_unique<XzDecoder>();
    case Packing::kPlain:
      return nullptr;
  }
  return nullptr;
}

class Unpacker {
 public:
  Unpacker(ByteStream stream, std::unique_ptr<Decoder> decoder, Buffer begun, UnpackLimits limits)
      : stream_(std::move(stream)),
        decoder_(std::move(decoder)),
        limits_(limits),
        input_(std::move(begun)),
        in_(input_),
        taken_(in_.size()) {}

  Result<size_t> read(MutableByteView out) {
    const size_t wanted = out.size();
    while (out.size() == wanted) {
      if (in_.empty() && !is_last_) FR_CHECK(refill());
      if (in_.empty() && is_last_ && is_between_) return 0;
      const size_t before = in_.size();
      const Decoder::State state = decoder_->step(in_, out, is_last_);
      if (state == Decoder::State::kBroken)
        return fail(ErrorCode::kCorrupt, "the packed data is broken");
      is_between_ = state == Decoder::State::kBetween;
      if (is_last_ && !is_between_ && in_.size() == before && out.size() == wanted)
        return fail(ErrorCode::kCorrupt, "the packed data is cut off");
    }
    given_ += wanted - out.size();
    if (given_ > limits_.bytes_free && (given_ - limits_.bytes_free) / limits_.ratio_max > taken_) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("{} packed bytes unpack to {} and more: this is a bomb, or needs "
                              "another limit",
                              taken_, given_));
    }
    return wanted - out.size();
  }

 private:
  Status refill() {
    input_.resize(kInputSize);
    FR_TRY(const size_t count, stream_(input_));
    is_last_ = count == 0;
    in_ = ByteView(input_).first(count);
    taken_ += count;
    return {};
  }

  const ByteStream stream_;
  const std::unique_ptr<Decoder> decoder_;
  const UnpackLimits limits_;
  Buffer input_;
  ByteView in_;  // of input_, not yet unpacked
  bool is_last_ = false;
  bool is_between_ = false;
  uint64_t taken_ = 0;
  uint64_t given_ = 0;
};

}  // namespace

Packing packing_of(ByteView begun) {
  const std::string_view text = as_text(begun);
  if (text.starts_with("\x1f\x8b")) return Packing::kGzip;
  if (text.starts_with("\x28\xb5\x2f\xfd")) return Packing::kZstd;
  if (text.starts_with(std::string_view("\xfd"
                                        "7zXZ\0",
                                        6)))
    return Packing::kXz;
  return Packing::kPlain;
}

namespace {

// `begun`: what of the stream was read already.
ByteStream unpacked_from(ByteStream stream, Buffer begun, Packing packing, UnpackLimits limits) {
  if (auto decoder = decoder_of(packing)) {
    auto unpacker =
        std::make_shared<Unpacker>(std::move(stream), std::move(decoder), std::move(begun), limits);
    return [unpacker](MutableByteView out) { return unpacker->read(out); };
  }
  return [begun = std::move(begun), given = size_t{0},
          stream = std::move(stream)](MutableByteView out) mutable -> Result<size_t> {
    if (given == begun.size()) return stream(out);
    const size_t part = std::min(out.size(), begun.size() - given);
    std::copy_n(begun.begin() + static_cast<ptrdiff_t>(given), part, out.begin());
    given += part;
    return part;
  };
}

}  // namespace

Result<ByteStream> unpacked(ByteStream stream, UnpackLimits limits) {
  Buffer begun(kMagicSize);
  FR_TRY(const size_t count, read_full(stream, begun));
  begun.resize(count);
  const Packing packing = packing_of(begun);
  return unpacked_from(std::move(stream), std::move(begun), packing, limits);
}

Result<ByteStream> unpacked_as(Packing packing, ByteStream stream, UnpackLimits limits) {
  Buffer begun(kMagicSize);
  FR_TRY(const size_t count, read_full(stream, begun));
  begun.resize(count);
  if (packing_of(begun) != packing)
    return fail(ErrorCode::kCorrupt, "the data is not packed as its name says");
  return unpacked_from(std::move(stream), std::move(begun), packing, limits);
}

}  // namespace forerun::image
