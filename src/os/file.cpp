#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace forerun::os {
namespace {

Status flush_folder(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return fail_errno(fmt::format("open folder {}", path), errno);
  if (::fsync(folder.get()) != 0) return fail_errno(fmt::format("flush folder {}", path), errno);
  return {};
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return fail_errno(fmt::format("rename {} to {}", from, to), errno);
  return flush_folder(parent_of(to));
}

Status write_whole(const std::string& path, ByteView data) {
  FR_TRY(auto file, PosixFile::open(path, PosixFile::Mode::kCreate));
  FR_CHECK(file->resize(0));
  FR_CHECK(file->write(0, data));
  return file->flush();
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<std::unique_ptr<PosixFile>> PosixFile::open(const std::string& path, Mode mode) {
  int flags = O_CLOEXEC;
  if (mode == Mode::kReadOnly) flags |= O_RDONLY;
  if (mode == Mode::kReadWrite) flags |= O_RDWR;
  if (mode == Mode::kCreate) flags |= O_RDWR | O_CREAT;
  Fd fd(::open(path.c_str(), flags, 0600));
  if (!fd.is_open()) return fail_errno(fmt::format("open {}", path), errno);
  return std::unique_ptr<PosixFile>(new PosixFile(std::move(fd), path));
}

Status PosixFile::read(uint64_t offset, MutableByteView out) {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail_errno(fmt::format("read {} at {}", path_, offset), errno);
    }
    if (got == 0) {
      std::fill(out.begin(), out.end(), std::byte{0});
      return {};
    }
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

Status PosixFile::write(uint64_t offset, ByteView data) {
  while (!data.empty()) {
    const ssize_t put = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return fail_errno(fmt::format("write {} at {}", path_, offset), errno);
    }
    data = data.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return {};
}

Status PosixFile::flush() {
  if (::fdatasync(fd_.get()) != 0) return fail_errno(fmt::format("flush {}", path_), errno);
  return {};
}

Status PosixFile::punch(ByteRange range) {
  if (range.empty()) return {};
  if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(range.offset), static_cast<off_t>(range.length)) == 0)
    return {};
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    return fail_errno(fmt::format("punch {}", path_), errno);
  const Buffer zeroes(std::min<uint64_t>(range.length, kMiB));
  for (uint64_t done = 0; done < range.length; done += zeroes.size()) {
    const size_t part = std::min<uint64_t>(zeroes.size(), range.length - done);
    FR_CHECK(write(range.offset + done, ByteView(zeroes).first(part)));
  }
  return {};
}

Status PosixFile::resize(uint64_t size) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
    return fail_errno(fmt::format("resize {} to {}", path_, size), errno);
  return {};
}

Result<uint64_t> PosixFile::size() {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) return fail_errno(fmt::format("stat {}", path_), errno);
  return static_cast<uint64_t>(status.st_size);
}

Result<std::unique_ptr<PosixFolder>> PosixFolder::open(const std::string& path) {
  FR_CHECK(make_folders(path));
  return std::unique_ptr<PosixFolder>(new PosixFolder(path));
}

Result<std::unique_ptr<StorageFile>> PosixFolder::open(const std::string& name, bool create) {
  const std::string path = path_ + "/" + name;
  const bool is_new = create && !path_exists(path);
  FR_TRY(std::unique_ptr<StorageFile> file,
         PosixFile::open(path, create ? PosixFile::Mode::kCreate : PosixFile::Mode::kReadWrite));
  if (is_new) FR_CHECK(flush_folder(path_));
  return file;
}

bool PosixFolder::exists(const std::string& name) { return path_exists(path_ + "/" + name); }

Status PosixFolder::replace(const std::string& from, const std::string& to) {
  return rename_durably(path_ + "/" + from, path_ + "/" + to);
}

Status PosixFolder::remove(const std::string& name) {
  const std::string path = path_ + "/" + name;
  if (::unlink(path.c_str()) != 0) return fail_errno(fmt::format("remove {}", path), errno);
  return flush_folder(path_);
}

Result<Buffer> read_file(const std::string& path, size_t size_max) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return fail_errno(fmt::format("open {}", path), errno);
  Buffer content;
  // Read to the end rather than trust st_size: files in /proc report 0.
  for (;;) {
    const size_t filled = content.size();
    content.resize(filled + 64 * kKiB);
    const ssize_t got = ::read(fd.get(), content.data() + filled, 64 * kKiB);
    if (got < 0 && errno == EINTR) {
      content.resize(filled);
      continue;
    }
    if (got < 0) return fail_errno(fmt::format("read {}", path), errno);
    content.resize(filled + static_cast<size_t>(got));
    if (content.size() > size_max)
      return fail(ErrorCode::kTooLarge, fmt::format("{} has more than {} bytes", path, size_max));
    if (got == 0) return content;
  }
}

Status write_file_atomic(const std::string& path, ByteView data) {
  // One name a call: threads may write the same file at once.
  static std::atomic<uint64_t> calls{0};
  const std::string temporary = fmt::format("{}.tmp{}.{}", path, ::getpid(), calls++);
  Status status = write_whole(temporary, data);
  if (status) status = rename_durably(temporary, path);
  if (!status) ::unlink(temporary.c_str());
  return status;
}

Status make_folders(const std::string& path, unsigned mode) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), static_cast<mode_t>(mode)) != 0 && errno != EEXIST)
      return fail_errno(fmt::format("create folder {}", part), errno);
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    return fail_errno(fmt::format("create folder {}", path), ENOTDIR);
  return {};
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return fail_errno(fmt::format("list folder {}", path), errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_folder(const std::string& path) {
  if (::rmdir(path.c_str()) != 0) return fail_errno(fmt::format("remove folder {}", path), errno);
  return {};
}

bool path_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<Fd> lock_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.is_open()) return fail_errno(fmt::format("open {}", path), errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return fail(ErrorCode::kExists, fmt::format("{} is locked by another process", path));
    return fail_errno(fmt::format("lock {}", path), errno);
  }
  return fd;
}

Result<uint64_t> free_bytes(const std::string& path) {
  struct statvfs status{};
  if (::statvfs(path.c_str(), &status) != 0)
    return fail_errno(fmt::format("stat file system of {}", path), errno);
  return static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
}

}  // namespace forerun::os
