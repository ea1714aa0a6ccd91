#include "trace/text_lines.h"

#include <fmt/core.h>
#include <zstd.h>

#include <algorithm>
#include <utility>

namespace forerun::trace {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;
constexpr uint32_t kZstdMagic = 0xfd2fb528;
constexpr int kWindowLogMax = 27;  // 128 MiB: what zstd's own tools accept by default

}  // namespace

// The file in pieces, decompressed if it is compressed.
struct TextLines::Decoder {
  explicit Decoder(StorageFile& source) : file(source) {}
  ~Decoder() { ZSTD_freeDCtx(context); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  StorageFile& file;
  Buffer raw;
  size_t raw_taken = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  bool begun = false;
  bool compressed = false;
  bool within_frame = false;
  bool holds_more = false;  // decoded, but there was no room for it
  ZSTD_DCtx* context = nullptr;

  Status read_raw() {
    raw.resize(static_cast<size_t>(std::min<uint64_t>(kPieceBytes, size - offset)));
    raw_taken = 0;
    if (raw.empty()) return {};
    FR_CHECK(file.read(offset, raw));
    offset += raw.size();
    return {};
  }

  Status begin() {
    begun = true;
    FR_TRY(size, file.size());
    FR_CHECK(read_raw());
    uint32_t magic = 0;
    for (size_t i = 0; i < 4 && raw.size() >= 4; ++i)
      magic |= static_cast<uint32_t>(std::to_integer<uint8_t>(raw[i])) << (8 * i);
    compressed = magic == kZstdMagic;
    if (!compressed) return {};
    context = ZSTD_createDCtx();
    if (!context) return fail(ErrorCode::kInternal, "cannot make a decompressor");
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kWindowLogMax);
    return {};
  }

  // Appends some text. Returns false at the end.
  Result<bool> more(std::string& text) {
    if (!begun) FR_CHECK(begin());
    if (raw_taken == raw.size() && !holds_more) FR_CHECK(read_raw());
    if (raw.empty() && !holds_more) {
      if (within_frame) return fail(ErrorCode::kCorrupt, "the compressed data ends early");
      return false;
    }
    const size_t before = text.size();
    if (!compressed) {
      text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
      raw_taken = raw.size();
      return true;
    }
    text.resize(before + kPieceBytes);
    ZSTD_inBuffer in{raw.data(), raw.size(), raw_taken};
    ZSTD_outBuffer out{text.data() + before, kPieceBytes, 0};
    const size_t left = ZSTD_decompressStream(context, &out, &in);
    text.resize(before + out.pos);
    if (ZSTD_isError(left))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the compressed data is damaged: {}", ZSTD_getErrorName(left)));
    raw_taken = in.pos;
    within_frame = left != 0;
    holds_more = left != 0 && out.pos == out.size;
    return true;
  }
};

TextLines::TextLines(StorageFile& file, std::string label, std::string_view what, Limits limits)
    : label_(std::move(label)),
      what_(what),
      limits_(limits),
      decoder_(std::make_unique<Decoder>(file)) {}

TextLines::~TextLines() = default;

std::unexpected<Error> TextLines::wrong(std::string_view what, ErrorCode code) const {
  return fail(code,
              fmt::format("cannot read {} of {}, line {}: {}", what_, label_, line_number_, what));
}

// Drops what was given out and decodes some more.
Status TextLines::fill() {
  text_.erase(0, taken_);
  taken_ = 0;
  const size_t before = text_.size();
  auto more = decoder_->more(text_);
  is_broken_ = !more || decoded_ + text_.size() - before > limits_.text_bytes_max;
  if (!more)
    return std::unexpected(std::move(more.error())
                               .within(fmt::format("cannot read {} of {} after line {}", what_,
                                                   label_, line_number_)));
  ended_ = !*more;
  decoded_ += text_.size() - before;
  if (decoded_ > limits_.text_bytes_max)
    return wrong(fmt::format("more than {} bytes of text", limits_.text_bytes_max),
                 ErrorCode::kTooLarge);
  return {};
}

Result<bool> TextLines::next(std::string& out) {
  ++line_number_;
  size_t searched = 0;
  for (;;) {
    const size_t end = text_.find('\n', taken_ + searched);
    const size_t bytes = (end == std::string::npos ? text_.size() : end) - taken_;
    is_broken_ = bytes > limits_.line_bytes_max;
    if (is_broken_)
      return wrong(fmt::format("longer than {} bytes", limits_.line_bytes_max),
                   ErrorCode::kTooLarge);
    if (end != std::string::npos) {
      out.assign(text_, taken_, bytes);
      taken_ = end + 1;
      return true;
    }
    if (ended_) {
      out.assign(text_, taken_, bytes);
      taken_ = text_.size();
      return bytes > 0;
    }
    searched = bytes;
    FR_CHECK(fill());
  }
}

}  // namespace forerun::trace
