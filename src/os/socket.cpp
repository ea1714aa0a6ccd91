#include "os/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

namespace forerun::os {
namespace {

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::kInvalid,
                fmt::format("socket path has {} bytes, at most {} are possible: {}", path.size(),
                            sizeof address.sun_path - 1, path));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

int type_of(UnixKind kind) { return kind == UnixKind::kPackets ? SOCK_SEQPACKET : SOCK_STREAM; }

int poll_timeout_ms(Nanos timeout) {
  if (timeout < Nanos::zero()) return -1;
  return static_cast<int>(
      std::min<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(timeout).count(), 1 << 30));
}

void set_no_delay(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // fails harmlessly on unix sockets
}

Status finish_connect(int fd, Nanos timeout, const std::string& what) {
  pollfd wait{fd, POLLOUT, 0};
  const int ready = ::poll(&wait, 1, poll_timeout_ms(timeout));
  if (ready == 0)
    return fail(ErrorCode::kTimedOut, fmt::format("cannot connect to {}: timed out", what));
  int error = 0;
  socklen_t size = sizeof error;
  if (ready < 0) return fail_errno(fmt::format("connect to {}", what), errno);
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail_errno(fmt::format("connect to {}", what), error);
  return {};
}

}  // namespace

Result<Fd> listen_unix(const std::string& path, unsigned mode, int backlog, UnixKind kind) {
  FR_TRY(const sockaddr_un address, unix_address(path));
  if (path_exists(path)) {
    if (connect_unix(path, kind))
      return fail(ErrorCode::kExists, fmt::format("{} is in use by another process", path));
    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode))
      return fail(ErrorCode::kExists, fmt::format("{} exists and is no socket", path));
    ::unlink(path.c_str());
  }
  Fd fd(::socket(AF_UNIX, type_of(kind) | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return fail_errno("create a unix socket", errno);
  // Nobody can connect before listen(), so the mode is in force in time; bind() alone would obey
  // the umask.
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(fmt::format("bind {}", path), errno);
  if (::chmod(path.c_str(), static_cast<mode_t>(mode)) != 0)
    return fail_errno(fmt::format("set the mode of {}", path), errno);
  if (::listen(fd.get(), backlog) != 0) return fail_errno(fmt::format("listen on {}", path), errno);
  return fd;
}

Result<Fd> listen_tcp(const std::string& address, uint16_t port, int backlog) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 ||
      found == nullptr)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no numeric IP address", address));
  Fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  int failed = fd.is_open() ? 0 : errno;
  if (failed == 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
        ::listen(fd.get(), backlog) != 0)
      failed = errno;
  }
  ::freeaddrinfo(found);
  if (failed != 0) return fail_errno(fmt::format("listen on {}:{}", address, port), failed);
  return fd;
}

Result<uint16_t> local_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return fail_errno("read a socket's address", errno);
  if (address.ss_family == AF_INET)
    return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return fail(ErrorCode::kInvalid, "not a TCP socket");
}

Result<Fd> connect_unix(const std::string& path, UnixKind kind) {
  FR_TRY(const sockaddr_un address, unix_address(path));
  Fd fd(::socket(AF_UNIX, type_of(kind) | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return fail_errno("create a unix socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(fmt::format("connect to {}", path), errno);
  return fd;
}

Result<Fd> connect_tcp(const std::string& host, uint16_t port, Nanos timeout) {
  const std::string what = fmt::format("{}:{}", host, port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
      code != 0)
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot resolve {}: {}", host, ::gai_strerror(code)));
  Status last = fail(ErrorCode::kUnavailable, fmt::format("{} has no address", host));
  Fd connected;
  for (const addrinfo* entry = found; entry != nullptr && !connected.is_open();
       entry = entry->ai_next) {
    Fd fd(::socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.is_open()) continue;
    if (::connect(fd.get(), entry->ai_addr, entry->ai_addrlen) != 0 && errno != EINPROGRESS) {
      last = fail_errno(fmt::format("connect to {}", what), errno);
      continue;
    }
    last = finish_connect(fd.get(), timeout, what);
    if (last) connected = std::move(fd);
  }
  ::freeaddrinfo(found);
  if (!connected.is_open()) return std::unexpected(last.error());
  ::fcntl(connected.get(), F_SETFL, 0);
  set_no_delay(connected.get());
  return connected;
}

Result<Fd> accept_connection(int listener, Nanos timeout) {
  pollfd wait{listener, POLLIN, 0};
  const int ready = ::poll(&wait, 1, poll_timeout_ms(timeout));
  if (ready == 0 || (ready < 0 && errno == EINTR))
    return fail(ErrorCode::kTimedOut, "no connection came");
  if (ready < 0) return fail_errno("wait for a connection", errno);
  Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (fd.is_open()) {
    set_no_delay(fd.get());
    return fd;
  }
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
    return fail(ErrorCode::kTimedOut, "the connection went away");
  if (errno == EINVAL || errno == EBADF)
    return fail(ErrorCode::kUnavailable, "the listener was shut down");
  return fail_errno("accept a connection", errno);
}

void limit_unsent(int fd, size_t bytes) {
  const auto value = static_cast<int>(bytes);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value);
}

Result<unsigned> peer_uid(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail_errno("read a peer's credentials", errno);
  return credentials.uid;
}

Status ByteStream::read_exact(MutableByteView out) {
  while (!out.empty()) {
    FR_TRY(const size_t got, read_some(out));
    if (got == 0) return fail(ErrorCode::kUnavailable, "the peer closed the connection");
    out = out.subspan(got);
  }
  return {};
}

Status ByteStream::write_bytes(ByteView data) {
  const iovec part{const_cast<std::byte*>(data.data()), data.size()};
  return write_all({&part, 1});
}

Result<size_t> SocketStream::read_some(MutableByteView out) {
  for (;;) {
    const ssize_t got = ::recv(fd_.get(), out.data(), out.size(), 0);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return fail(ErrorCode::kTimedOut, "the peer sent nothing in time");
    return fail_errno("receive", errno);
  }
}

Status SocketStream::write_all(std::span<const iovec> parts) {
  constexpr size_t kPartsMax = 256;  // well under IOV_MAX
  std::array<iovec, kPartsMax> window;
  size_t next = 0;
  size_t begin = 0;
  size_t end = 0;
  while (begin < end || next < parts.size()) {
    if (begin == end) {
      begin = 0;
      end = std::min(kPartsMax, parts.size() - next);
      std::copy_n(parts.begin() + static_cast<ptrdiff_t>(next), end, window.begin());
      next += end;
    }
    msghdr message{};
    message.msg_iov = window.data() + begin;
    message.msg_iovlen = end - begin;
    const int flags = MSG_NOSIGNAL | (next < parts.size() ? MSG_MORE : 0);
    ssize_t put = ::sendmsg(fd_.get(), &message, flags);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return fail(ErrorCode::kTimedOut, "the peer did not take data in time");
      return fail_errno("send", errno);
    }
    while (begin < end && static_cast<size_t>(put) >= window[begin].iov_len) {
      put -= static_cast<ssize_t>(window[begin].iov_len);
      ++begin;
    }
    if (begin < end) {
      window[begin].iov_base = static_cast<char*>(window[begin].iov_base) + put;
      window[begin].iov_len -= static_cast<size_t>(put);
    }
  }
  return {};
}

Status SocketStream::set_timeout(Nanos timeout) {
  timeval value{};
  value.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(timeout).count();
  value.tv_usec =
      std::chrono::duration_cast<std::chrono::microseconds>(timeout % std::chrono::seconds(1))
          .count();
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value) != 0 ||
      ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value) != 0)
    return fail_errno("set a socket's time-out", errno);
  return {};
}

void SocketStream::shut_down() { ::shutdown(fd_.get(), SHUT_RDWR); }

}  // namespace forerun::os
