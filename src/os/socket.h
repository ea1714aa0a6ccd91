// Stream sockets: unix and TCP, listening and connecting, and the ByteStream that TLS can stand in
// for.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>
#include <string>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"
#include "os/file.h"

namespace forerun::os {

enum class UnixKind : uint8_t {
  kStream,
  kPackets,  // SOCK_SEQPACKET: a message each way at a time, whole or not at all
};

// Creates a listening unix socket at `path` with `mode` bits; a stale socket file is replaced, a
// live one is kExists.
Result<Fd> listen_unix(const std::string& path, unsigned mode = 0600, int backlog = 1024,
                       UnixKind kind = UnixKind::kStream);
// `address` is a numeric IPv4 or IPv6 address; port 0 picks a free one (see local_port).
Result<Fd> listen_tcp(const std::string& address, uint16_t port, int backlog = 1024);
Result<uint16_t> local_port(int fd);
Result<Fd> connect_unix(const std::string& path, UnixKind kind = UnixKind::kStream);
Result<Fd> connect_tcp(const std::string& host, uint16_t port, Nanos timeout);
// Returns the next connection (close-on-exec). ERRORS: kTimedOut after `timeout`; kUnavailable once
// shut down.
Result<Fd> accept_connection(int listener, Nanos timeout);
// Lets the kernel take at most so many bytes of a TCP connection that it cannot send yet: what is
// written later waits behind them. Without effect on other sockets.
void limit_unsent(int fd, size_t bytes);
// Returns the uid of the process at the other end of a unix socket.
Result<unsigned> peer_uid(int fd);

// A blocking, reliable byte stream: a socket, or TLS over one. One reader thread and one writer
// thread at a time.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Returns how many bytes were read: at least 1, or 0 at the orderly end. ERRORS: kTimedOut,
  // kUnavailable.
  virtual Result<size_t> read_some(MutableByteView out) = 0;
  // Writes all of it.
  virtual Status write_all(std::span<const iovec> parts) = 0;
  // Read and write give up after `timeout` without progress; zero: never.
  virtual Status set_timeout(Nanos timeout) = 0;
  // Unblocks both directions from another thread; further calls fail.
  virtual void shut_down() = 0;
  virtual int fd() const = 0;

  Status read_exact(MutableByteView out);  // ERRORS: kUnavailable if the stream ends first
  Status write_bytes(ByteView data);
};

class SocketStream final : public ByteStream {
 public:
  explicit SocketStream(Fd fd) : fd_(std::move(fd)) {}
  Result<size_t> read_some(MutableByteView out) override;
  Status write_all(std::span<const iovec> parts) override;
  Status set_timeout(Nanos timeout) override;
  void shut_down() override;
  int fd() const override { return fd_.get(); }

 private:
  Fd fd_;
};

}  // namespace forerun::os
