#include "os/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "os/file.h"

namespace forerun::os {
namespace {

constexpr size_t kAttributeBytesMax = 64 * kKiB;  // of a list and of a value: as Linux
constexpr size_t kTargetBytesMax = 4096;

// Returns the names in an open folder, sorted, without . and ..
Result<std::vector<std::string>> names_in(int folder, const std::string& path) {
  // A descriptor of its own, which closedir() closes; `folder` may be one that only names it.
  Fd own(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* stream = own.is_open() ? ::fdopendir(own.get()) : nullptr;
  if (stream == nullptr) return fail_errno(fmt::format("list folder {}", path), errno);
  own.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  const int error = errno;
  ::closedir(stream);
  if (error != 0) return fail_errno(fmt::format("list folder {}", path), error);
  std::sort(names.begin(), names.end());
  return names;
}

// `device`: the file system that is not left; what begins the tree says which.
Status remove_at(int folder, const std::string& name, const std::string& path, size_t depth,
                 std::optional<dev_t> device) {
  struct stat status{};
  if (::fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(fmt::format("stat {}", path), errno);
  }
  if (device && *device != status.st_dev)
    return fail(ErrorCode::kIo, fmt::format("cannot remove {}: something is mounted there", path));
  const bool is_folder = S_ISDIR(status.st_mode);
  if (is_folder) {
    if (depth >= kWalkDepthMax)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("{} is over {} folders deep", path, kWalkDepthMax));
    const Fd inner(::openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner.is_open()) return fail_errno(fmt::format("open folder {}", path), errno);
    FR_TRY(const auto names, names_in(inner.get(), path));
    for (const std::string& entry : names)
      FR_CHECK(remove_at(inner.get(), entry, path + "/" + entry, depth + 1, status.st_dev));
  }
  if (::unlinkat(folder, name.c_str(), is_folder ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT)
    return fail_errno(fmt::format("remove {}", path), errno);
  return {};
}

// The file behind a descriptor that only names it (O_PATH).
std::string link_of(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

Result<std::vector<WalkAttribute>> attributes_of(const Fd& fd, const std::string& path) {
  const std::string link = link_of(fd);
  std::vector<WalkAttribute> attributes;
  if (::listxattr(link.c_str(), nullptr, 0) == 0) return attributes;
  std::vector<char> list(kAttributeBytesMax);
  const ssize_t size = ::listxattr(link.c_str(), list.data(), list.size());
  if (size < 0 && (errno == ENOTSUP || errno == EPERM)) return attributes;
  if (size < 0) return fail_errno(fmt::format("list attributes of {}", path), errno);
  for (const char* name = list.data(); name < list.data() + size; name += std::strlen(name) + 1) {
    Buffer value(kAttributeBytesMax);
    const ssize_t length = ::getxattr(link.c_str(), name, value.data(), value.size());
    if (length < 0 && errno == ENODATA) continue;  // another namespace's, or gone
    if (length < 0) return fail_errno(fmt::format("read attribute {} of {}", name, path), errno);
    value.resize(static_cast<size_t>(length));
    attributes.push_back({name, std::move(value)});
  }
  return attributes;
}

class Walker {
 public:
  Walker(std::string root, const VisitEntry& visit) : root_(std::move(root)), visit_(visit) {}

  Status run() {
    Fd fd(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd.is_open()) return fail_errno(fmt::format("open folder {}", root_), errno);
    return visit_opened(fd, "", 0);
  }

 private:
  std::string shown(const std::string& path) const {
    return path.empty() ? root_ : root_ + "/" + path;
  }

  Status visit_opened(const Fd& fd, std::string path, size_t depth) {
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0)
      return fail_errno(fmt::format("stat {}", shown(path)), errno);
    if (depth == 0) file_system_ = status.st_dev;
    FR_TRY(const WalkEntry entry, describe(fd, status, path));
    if (S_ISREG(status.st_mode)) return visit_file(fd, entry);
    FR_TRY(const bool enter, visit_(entry, {}, {}));
    if (!S_ISDIR(status.st_mode) || !enter || status.st_dev != file_system_) return {};
    if (depth >= kWalkDepthMax)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("{} is over {} folders deep", shown(path), kWalkDepthMax));
    FR_TRY(const auto names, names_in(fd.get(), shown(path)));
    if (!path.empty()) path += '/';
    for (const std::string& name : names) {
      const Fd inner(::openat(fd.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!inner.is_open()) return fail_errno(fmt::format("open {}", shown(path + name)), errno);
      FR_CHECK(visit_opened(inner, path + name, depth + 1));
    }
    return {};
  }

  Status visit_file(const Fd& fd, const WalkEntry& entry) {
    const Fd file(::open(link_of(fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) return fail_errno(fmt::format("open {}", shown(entry.path)), errno);
    uint64_t at = 0;
    const ReadContent read = [&](MutableByteView out) -> Result<size_t> {
      for (;;) {
        const ssize_t got = ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(fmt::format("read {} at {}", shown(entry.path), at), errno);
        at += static_cast<uint64_t>(got);
        return static_cast<size_t>(got);
      }
    };
    FR_CHECK(visit_(entry, read, [&] { at = 0; }));
    return {};
  }

  Result<WalkEntry> describe(const Fd& fd, const struct stat& status, const std::string& path) {
    WalkEntry entry;
    entry.path = path;
    entry.mode = status.st_mode;
    entry.uid = status.st_uid;
    entry.gid = status.st_gid;
    entry.mtime_s = status.st_mtim.tv_sec;
    entry.mtime_ns = static_cast<uint32_t>(status.st_mtim.tv_nsec);
    entry.size = static_cast<uint64_t>(status.st_size);
    entry.device_major = major(status.st_rdev);
    entry.device_minor = minor(status.st_rdev);
    entry.file_system = status.st_dev;
    entry.inode = status.st_ino;
    entry.link_count = status.st_nlink;
    if (S_ISLNK(status.st_mode)) {
      entry.target.resize(kTargetBytesMax);
      const ssize_t size = ::readlinkat(fd.get(), "", entry.target.data(), entry.target.size());
      if (size < 0) return fail_errno(fmt::format("read link {}", shown(path)), errno);
      entry.target.resize(static_cast<size_t>(size));
    }
    FR_TRY(entry.attributes, attributes_of(fd, shown(path)));
    return entry;
  }

  const std::string root_;
  const VisitEntry& visit_;
  dev_t file_system_ = 0;
};

}  // namespace

Status walk_tree(const std::string& path, const VisitEntry& visit) {
  return Walker(path, visit).run();
}

Status remove_tree(const std::string& path) {
  return remove_at(AT_FDCWD, path, path, 0, std::nullopt);
}

}  // namespace forerun::os
