// Files: owned descriptors, StorageFile on the real file system, whole-file helpers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::os {

// Owns a file descriptor. Movable.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset();

 private:
  int fd_ = -1;
};

// Thread-safe: positional reads and writes.
class PosixFile final : public StorageFile {
 public:
  enum class Mode { kReadOnly, kReadWrite, kCreate };
  static Result<std::unique_ptr<PosixFile>> open(const std::string& path, Mode mode);

  Status read(uint64_t offset, MutableByteView out) override;
  Status write(uint64_t offset, ByteView data) override;
  Status flush() override;  // fdatasync
  Status punch(ByteRange range) override;
  Status resize(uint64_t size) override;
  Result<uint64_t> size() override;
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  PosixFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

class PosixFolder final : public StorageFolder {
 public:
  // Opens the folder `path`, creating it (mode 0700) and its parents if needed.
  static Result<std::unique_ptr<PosixFolder>> open(const std::string& path);

  Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) override;
  bool exists(const std::string& name) override;
  Status replace(const std::string& from, const std::string& to) override;
  Status remove(const std::string& name) override;
  const std::string& path() const { return path_; }

 private:
  explicit PosixFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Returns the whole file. ERRORS: kTooLarge over `size_max` bytes.
Result<Buffer> read_file(const std::string& path, size_t size_max);
// Writes a temporary file beside `path`, flushes it, renames it, flushes the folder. Thread-safe.
Status write_file_atomic(const std::string& path, ByteView data);
Status make_folders(const std::string& path, unsigned mode = 0700);
Result<std::vector<std::string>> list_folder(
    const std::string& path);  // names, sorted, without . and ..
// Removes an empty folder. ERRORS: kIo if it is not empty.
Status remove_folder(const std::string& path);
bool path_exists(const std::string& path);
// Takes an exclusive lock on `path` (created if needed), held while the Fd lives. ERRORS: kExists
// if another holds it.
Result<Fd> lock_file(const std::string& path);
Result<uint64_t> free_bytes(const std::string& path);

}  // namespace forerun::os
