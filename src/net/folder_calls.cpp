#include "net/folder_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace forerun::net {

// Links show up as ELOOP, or ENOTDIR where a folder was asked for.
std::unexpected<Error> fail_open(const std::string& attempted, int errno_value) {
  if (errno_value == ELOOP || errno_value == ENOTDIR) {
    return fail(
        ErrorCode::kDenied,
        fmt::format("cannot {}: a link, or not a folder, is in its way; links are not followed",
                    attempted));
  }
  return fail_errno(attempted, errno_value);
}

os::Fd open_folder_to_list(int parent, const char* leaf) {
  return os::Fd(openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

Result<std::vector<std::string>> names_in(os::Fd folder, const std::string& attempted) {
  DIR* stream = fdopendir(folder.get());
  if (stream == nullptr) return fail_errno(attempted, errno);
  folder.release();  // closedir closes it
  const std::unique_ptr<DIR, decltype(&closedir)> closer(stream, &closedir);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  if (errno != 0) return fail_errno(attempted, errno);
  std::sort(names.begin(), names.end());
  return names;
}

Status write_fully(int fd, ByteView data, const std::string& attempted) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(attempted, errno);
    data = data.subspan(static_cast<size_t>(written));
  }
  return {};
}

Status read_fully(int fd, MutableByteView out, const std::string& attempted) {
  while (!out.empty()) {
    const ssize_t got = ::read(fd, out.data(), out.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(attempted, errno);
    if (got == 0)
      return fail(ErrorCode::kUnavailable, fmt::format("cannot {}: it became shorter", attempted));
    out = out.subspan(static_cast<size_t>(got));
  }
  return {};
}

}  // namespace forerun::net
