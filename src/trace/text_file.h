// For tests: a text as a file, plain or compressed.
#pragma once

#include <zstd.h>

#include <cstring>
#include <string>

#include "core/storage_file.h"

namespace forerun::trace {

// A file that can only be read.
class TextFile final : public StorageFile {
 public:
  explicit TextFile(std::string text) : text_(std::move(text)) {}
  Status read(uint64_t offset, MutableByteView out) override {
    std::memset(out.data(), 0, out.size());
    if (offset < text_.size())
      std::memcpy(out.data(), text_.data() + offset,
                  std::min<size_t>(out.size(), text_.size() - offset));
    return {};
  }
  Status write(uint64_t /*offset*/, ByteView /*data*/) override { return refuse(); }
  Status flush() override { return refuse(); }
  Status punch(ByteRange /*range*/) override { return refuse(); }
  Status resize(uint64_t /*size*/) override { return refuse(); }
  Result<uint64_t> size() override { return text_.size(); }

 private:
  static Status refuse() { return fail(ErrorCode::kUnsupported, "read only"); }
  std::string text_;
};

// Returns the text as a zstd frame.
inline std::string compressed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

}  // namespace forerun::trace
