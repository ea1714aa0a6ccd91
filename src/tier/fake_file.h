// For tests: a StorageFile in memory that can be looked into, damaged and made to fail.
// Thread-safe.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "core/storage_file.h"

namespace forerun::tier {

// What a fake file holds; outlives it, as a disk outlives a process.
struct FakeDisk {
  std::mutex mutex;
  Buffer bytes;
  uint64_t size_limit = UINT64_MAX;  // writes past it fail with kNoSpace
  std::optional<ErrorCode> fail_reads;
  uint64_t flushes = 0;
  // Called without the mutex, before anything is read or written.
  std::function<void()> on_read;
  std::function<void()> on_write;

  void flip(uint64_t offset) { bytes.at(offset) ^= std::byte{0x10}; }
};

class FakeFile final : public StorageFile {
 public:
  explicit FakeFile(std::shared_ptr<FakeDisk> disk) : disk_(std::move(disk)) {}

  Status read(uint64_t offset, MutableByteView out) override {
    if (const auto hook = disk_->on_read) hook();
    const std::scoped_lock lock(disk_->mutex);
    if (disk_->fail_reads) return fail(*disk_->fail_reads, "cannot read: injected");
    const Buffer& bytes = disk_->bytes;
    const uint64_t begin = std::min<uint64_t>(offset, bytes.size());
    const uint64_t here = std::min<uint64_t>(bytes.size() - begin, out.size());
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(begin), here, out.begin());
    std::fill(out.begin() + static_cast<ptrdiff_t>(here), out.end(), std::byte{0});
    return {};
  }
  Status write(uint64_t offset, ByteView data) override {
    if (const auto hook = disk_->on_write) hook();
    const std::scoped_lock lock(disk_->mutex);
    if (offset + data.size() > disk_->size_limit) {
      return fail(ErrorCode::kNoSpace, "cannot write: injected");
    }
    disk_->bytes.resize(std::max<uint64_t>(disk_->bytes.size(), offset + data.size()));
    std::copy(data.begin(), data.end(), disk_->bytes.begin() + static_cast<ptrdiff_t>(offset));
    return {};
  }
  Status flush() override {
    const std::scoped_lock lock(disk_->mutex);
    ++disk_->flushes;
    return {};
  }
  Status punch(ByteRange range) override {
    const std::scoped_lock lock(disk_->mutex);
    const ByteRange here = intersect(range, {0, disk_->bytes.size()});
    std::fill_n(disk_->bytes.begin() + static_cast<ptrdiff_t>(here.offset), here.length,
                std::byte{0});
    return {};
  }
  Status resize(uint64_t size) override {
    const std::scoped_lock lock(disk_->mutex);
    disk_->bytes.resize(size);
    return {};
  }
  Result<uint64_t> size() override {
    const std::scoped_lock lock(disk_->mutex);
    return disk_->bytes.size();
  }

 private:
  const std::shared_ptr<FakeDisk> disk_;
};

}  // namespace forerun::tier
