#include "migrate/batch_codec.h"

#include <zstd.h>

#include <algorithm>

namespace forerun::migrate {
namespace {

constexpr std::array<int, kBatchCodecs> kLevels{0, -5, 1, 3};
// A costlier codec must bring so much more.
constexpr double kGainMin = 1.03;
constexpr double kForget = 0.15;

}  // namespace

std::string_view batch_codec_name(BatchCodec codec) {
  constexpr std::array<std::string_view, kBatchCodecs> kNames{"none", "zstd-fast", "zstd-1",
                                                              "zstd-3"};
  return kNames[static_cast<size_t>(codec)];
}

// Packing and sending overlap: the slower of both counts.
double CodecChooser::pages_rate(size_t codec, double link_bytes_per_s) const {
  const CodecFigures& seen = figures_[codec];
  const double over_link = link_bytes_per_s / std::max(seen.ratio, 1e-3);
  return codec == 0 ? link_bytes_per_s : std::min(seen.bytes_per_s, over_link);
}

BatchCodec CodecChooser::choose(double link_bytes_per_s) {
  ++chosen_;
  for (size_t codec = 1; codec < kBatchCodecs; ++codec) {
    if (figures_[codec].batches == 0) return static_cast<BatchCodec>(codec);
  }
  if (chosen_ % kTryEvery == 0)
    return static_cast<BatchCodec>(1 + chosen_ / kTryEvery % (kBatchCodecs - 1));
  size_t best = 0;
  for (size_t codec = 1; codec < kBatchCodecs; ++codec) {
    if (pages_rate(codec, link_bytes_per_s) > kGainMin * pages_rate(best, link_bytes_per_s))
      best = codec;
  }
  return static_cast<BatchCodec>(best);
}

void CodecChooser::learn(BatchCodec codec, size_t plain_bytes, size_t packed_bytes, Nanos took) {
  if (codec == BatchCodec::kNone || plain_bytes == 0) return;
  CodecFigures& seen = figures_[static_cast<size_t>(codec)];
  const auto plain = static_cast<double>(plain_bytes);
  const double rate = plain / std::max(to_seconds(took), 1e-9);
  const double ratio = static_cast<double>(packed_bytes) / plain;
  const double weight = seen.batches == 0 ? 1 : kForget;
  seen.bytes_per_s += weight * (rate - seen.bytes_per_s);
  seen.ratio += weight * (ratio - seen.ratio);
  ++seen.batches;
}

struct BatchPacker::Impl {
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context{ZSTD_createCCtx(), ZSTD_freeCCtx};
};

BatchPacker::BatchPacker() : impl_(std::make_unique<Impl>()) {}
BatchPacker::~BatchPacker() = default;

BatchCodec BatchPacker::pack(ByteView plain, BatchCodec codec, Buffer& out) {
  const size_t begin = out.size();
  if (codec != BatchCodec::kNone && impl_->context) {
    out.resize(begin + ZSTD_compressBound(plain.size()));
    const size_t packed =
        ZSTD_compressCCtx(impl_->context.get(), out.data() + begin, out.size() - begin,
                          plain.data(), plain.size(), kLevels[static_cast<size_t>(codec)]);
    if (ZSTD_isError(packed) == 0 && packed < plain.size()) {
      out.resize(begin + packed);
      return codec;
    }
    out.resize(begin);
  }
  out.insert(out.end(), plain.begin(), plain.end());
  return BatchCodec::kNone;
}

struct BatchUnpacker::Impl {
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context{ZSTD_createDCtx(), ZSTD_freeDCtx};
  Buffer plain;
};

BatchUnpacker::BatchUnpacker() : impl_(std::make_unique<Impl>()) {}
BatchUnpacker::~BatchUnpacker() = default;

Result<ByteView> BatchUnpacker::unpack(ByteView packed, uint8_t codec, size_t plain_bytes) {
  if (codec >= kBatchCodecs)
    return fail(ErrorCode::kUnsupported, fmt::format("a batch of pages has codec {}", codec));
  if (static_cast<BatchCodec>(codec) == BatchCodec::kNone) {
    if (packed.size() != plain_bytes)
      return fail(ErrorCode::kCorrupt, "a batch of pages is not as long as it says");
    return packed;
  }
  if (!impl_->context) return fail(ErrorCode::kInternal, "cannot make a decompressor");
  impl_->plain.resize(plain_bytes);
  const size_t unpacked = ZSTD_decompressDCtx(impl_->context.get(), impl_->plain.data(),
                                              impl_->plain.size(), packed.data(), packed.size());
  if (ZSTD_isError(unpacked) != 0 || unpacked != plain_bytes)
    return fail(ErrorCode::kCorrupt, "a batch of pages does not unpack to what it says");
  return ByteView(impl_->plain);
}

}  // namespace forerun::migrate
