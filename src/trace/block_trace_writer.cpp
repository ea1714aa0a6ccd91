#include "trace/block_trace_writer.h"

#include <fmt/core.h>
#include <zstd.h>

#include <algorithm>

namespace forerun::trace {
namespace {

constexpr int kLevel = 3;
constexpr uint32_t kSectorsMax = BlockTraceReader::Limits{}.sectors_max;

}  // namespace

Status BlockTraceWriter::add(const BlockRequest& request) {
  for (uint32_t told = 0; told < request.sectors;) {
    const uint32_t part = std::min(request.sectors - told, kSectorsMax);
    const size_t before = text_.size();
    fmt::format_to(std::back_inserter(text_), "{},{},{},{}\n", request.at_us,
                   request.op == Op::kRead ? 'R' : 'W', request.first_sector + told, part);
    text_bytes_ += text_.size() - before;
    told += part;
    if (text_.size() >= kPieceBytes) FR_CHECK(hand_over());
  }
  return {};
}

Status BlockTraceWriter::flush() { return form_ == Form::kPlain ? hand_over() : Status(); }

Status BlockTraceWriter::end() {
  // Of nothing at all, a compressed file is an empty frame.
  if (form_ == Form::kZstd && text_.empty() && text_bytes_ > 0) return {};
  return hand_over();
}

Status BlockTraceWriter::hand_over() {
  if (form_ == Form::kPlain) {
    if (!text_.empty()) FR_CHECK(sink_(as_bytes(text_)));
  } else {
    Buffer frame(ZSTD_compressBound(text_.size()));
    const size_t bytes =
        ZSTD_compress(frame.data(), frame.size(), text_.data(), text_.size(), kLevel);
    if (ZSTD_isError(bytes))
      return fail(ErrorCode::kInternal,
                  fmt::format("cannot compress a trace: {}", ZSTD_getErrorName(bytes)));
    FR_CHECK(sink_(ByteView(frame).first(bytes)));
  }
  text_.clear();
  return {};
}

}  // namespace forerun::trace
