#include "os/fifo.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace forerun::os {

Status make_fifo(const std::string& path) {
  ::unlink(path.c_str());
  if (::mkfifo(path.c_str(), 0600) != 0) return fail_errno("make the FIFO " + path, errno);
  return {};
}

Result<std::unique_ptr<FifoStream>> FifoStream::open(const std::string& to,
                                                     const std::string& from) {
  Fd write_end(::open(to.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!write_end.is_open() && errno == ENXIO)
    return fail(ErrorCode::kUnavailable, fmt::format("nobody reads the FIFO {}", to));
  if (!write_end.is_open()) return fail_errno("open the FIFO " + to, errno);
  Fd read_end(::open(from.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!read_end.is_open()) return fail_errno("open the FIFO " + from, errno);
  struct stat status{};
  if (::fstat(read_end.get(), &status) != 0 || !S_ISFIFO(status.st_mode))
    return fail(ErrorCode::kInvalid, from + " is no FIFO");
  return std::unique_ptr<FifoStream>(new FifoStream(std::move(write_end), std::move(read_end)));
}

Status FifoStream::set_timeout(Nanos timeout) {
  timeout_ms_ = timeout == Nanos::zero()
                    ? -1
                    : static_cast<int>(std::min<int64_t>(
                          std::chrono::ceil<std::chrono::milliseconds>(timeout).count(), 1 << 30));
  return {};
}

Status FifoStream::wait(int fd, short events) const {
  pollfd entry{fd, events, 0};
  const int ready = ::poll(&entry, 1, timeout_ms_);
  if (ready < 0 && errno != EINTR) return fail_errno("wait for a FIFO", errno);
  if (ready == 0) return fail(ErrorCode::kTimedOut, "nothing came through the FIFO in time");
  return {};
}

Result<size_t> FifoStream::read_some(MutableByteView out) {
  for (;;) {
    const ssize_t got = ::read(from_.get(), out.data(), out.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR && errno != EAGAIN) return fail_errno("read a FIFO", errno);
    FR_CHECK(wait(from_.get(), POLLIN));
  }
}

Status FifoStream::write_all(std::span<const iovec> parts) {
  Buffer all;
  for (const iovec& part : parts) {
    const auto* bytes = static_cast<const std::byte*>(part.iov_base);
    all.insert(all.end(), bytes, bytes + part.iov_len);
  }
  if (all.size() > PIPE_BUF)
    return fail(ErrorCode::kTooLarge, fmt::format("a FIFO takes {} bytes at once", PIPE_BUF));
  for (;;) {
    if (::write(to_.get(), all.data(), all.size()) >= 0) return {};
    if (errno != EINTR && errno != EAGAIN) return fail_errno("write to a FIFO", errno);
    FR_CHECK(wait(to_.get(), POLLOUT));
  }
}

void FifoStream::drain() {
  std::array<std::byte, 4096> bytes;
  while (::read(from_.get(), bytes.data(), bytes.size()) > 0) {
  }
}

}  // namespace forerun::os
