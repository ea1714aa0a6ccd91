// Packs batches with the codec that brings the most pages a second over the link: of what a codec
// packs a second and how small, and of what the link carries. Measured as it goes, since both
// change: memory is unlike from region to region, and so are links.
#pragma once

#include <array>
#include <memory>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"

namespace forerun::migrate {

// Levels of zstd; its negative ones do what lz4 does, at its speed.
enum class BatchCodec : uint8_t { kNone = 0, kFast = 1, kZstd1 = 2, kZstd3 = 3 };
inline constexpr size_t kBatchCodecs = 4;
std::string_view batch_codec_name(BatchCodec codec);

// What was seen of a codec, old batches counting less.
struct CodecFigures {
  double bytes_per_s = 0;  // of what it packs
  double ratio = 1;        // packed over plain
  uint64_t batches = 0;
};

// Chooses. One thread.
class CodecChooser {
 public:
  // Returns the codec for the next batch at this rate of the link.
  BatchCodec choose(double link_bytes_per_s);
  void learn(BatchCodec codec, size_t plain_bytes, size_t packed_bytes, Nanos took);
  const CodecFigures& figures(BatchCodec codec) const {
    return figures_[static_cast<size_t>(codec)];
  }

 private:
  static constexpr uint64_t kTryEvery = 16;  // batches: so often another codec is looked at
  double pages_rate(size_t codec, double link_bytes_per_s) const;

  std::array<CodecFigures, kBatchCodecs> figures_{};
  uint64_t chosen_ = 0;
};

// One thread.
class BatchPacker {
 public:
  BatchPacker();
  ~BatchPacker();
  // Appends `plain` packed; where that is no smaller, as it is. Returns what it was packed with.
  BatchCodec pack(ByteView plain, BatchCodec codec, Buffer& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One thread.
class BatchUnpacker {
 public:
  BatchUnpacker();
  ~BatchUnpacker();
  // Returns the batch, valid until the next call. ERRORS: kCorrupt: not of `plain_bytes`;
  // kUnsupported: an unknown codec. REQUIRES: `plain_bytes` is bounded by the caller.
  Result<ByteView> unpack(ByteView packed, uint8_t codec, size_t plain_bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::migrate
