// A StorageFile in memory: for tests and fuzzers of readers.
#pragma once

#include <algorithm>

#include "core/storage_file.h"

namespace forerun::image {

// Thread-safe for reads.
class MemoryFile final : public StorageFile {
 public:
  MemoryFile() = default;
  explicit MemoryFile(Buffer bytes) : bytes(std::move(bytes)) {}

  Status read(uint64_t offset, MutableByteView out) override {
    const size_t begin = std::min<uint64_t>(offset, bytes.size());
    const size_t count = std::min(out.size(), bytes.size() - begin);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(begin), count, out.begin());
    std::fill(out.begin() + static_cast<ptrdiff_t>(count), out.end(), std::byte{0});
    return {};
  }
  Status write(uint64_t offset, ByteView data) override {
    bytes.resize(std::max<size_t>(bytes.size(), offset + data.size()));
    std::copy(data.begin(), data.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
    return {};
  }
  Status flush() override { return {}; }
  Status punch(ByteRange range) override { return write(range.offset, Buffer(range.length)); }
  Status resize(uint64_t size) override {
    bytes.resize(size);
    return {};
  }
  Result<uint64_t> size() override { return bytes.size(); }

  Buffer bytes;
};

}  // namespace forerun::image
