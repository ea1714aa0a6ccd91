#include "os/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "os/file.h"

namespace forerun::os {
namespace {

constexpr size_t kDepthMax = 600;  // a descriptor each

// Returns the names in an open folder, sorted, without . and ..
Result<std::vector<std::string>> names_in(int folder, const std::string& path) {
  // A descriptor of its own: closedir() closes it.
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
    if (depth >= kDepthMax)
      return fail(ErrorCode::kTooLarge, fmt::format("{} is over {} folders deep", path, kDepthMax));
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

}  // namespace

Status remove_tree(const std::string& path) {
  return remove_at(AT_FDCWD, path, path, 0, std::nullopt);
}

}  // namespace forerun::os
