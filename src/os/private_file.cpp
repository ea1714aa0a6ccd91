#include "os/private_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "os/file.h"

namespace forerun::os {

Status write_new_private_file(const std::string& path, ByteView data) {
  const std::string attempted = fmt::format("make the file {}", path);
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.is_open()) return fail_errno(attempted, errno);
  while (!data.empty()) {
    const ssize_t written = ::write(file.get(), data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(attempted, errno);
    data = data.subspan(static_cast<size_t>(written));
  }
  if (::fsync(file.get()) != 0) return fail_errno(attempted, errno);
  return {};
}

}  // namespace forerun::os
