// A connection between two hosts with its two threads: byte streams in channels, and messages in
// the control channel. See peer_mux.h for what goes first.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/time.h"
#include "net/peer_mux.h"
#include "os/socket.h"

namespace forerun::net {

// Thread-safe; of each channel one reads and one writes at a time.
class PeerConnection {
 public:
  struct Options {
    Nanos ping_every = std::chrono::seconds(1);
    Nanos silence_max = std::chrono::seconds(6);  // then the connection counts as cut
  };
  static constexpr size_t kMessageBytesMax = 2 << 20;

  // `plain` is below `stream`, if they are two.
  PeerConnection(std::unique_ptr<os::ByteStream> plain, std::unique_ptr<os::ByteStream> stream,
                 Options options);
  PeerConnection(std::unique_ptr<os::ByteStream> plain, std::unique_ptr<os::ByteStream> stream)
      : PeerConnection(std::move(plain), std::move(stream), Options()) {}
  ~PeerConnection();

  // Returns once all of it is on its way out; waits while the channel is full. ERRORS: what the
  // connection ended by.
  Status write(PeerChannel channel, ByteView data);
  // Returns at least 1 byte, or 0 at the channel's end. ERRORS: what the connection ended by, once
  // what came before it was read.
  Result<size_t> read_some(PeerChannel channel, MutableByteView out);
  Status read_exact(PeerChannel channel, MutableByteView out);
  void end(PeerChannel channel);
  // See PeerMux.
  void limit(PeerChannel channel, uint32_t bytes);
  uint64_t under_way_bytes(PeerChannel channel) const;

  // Messages are texts of at most kMessageBytesMax bytes. ERRORS: also kTimedOut: none came, try
  // again; kCorrupt.
  Status send_message(std::string_view text);
  Result<std::string> receive_message(Nanos timeout);

  // Ends it; everyone who waits is woken. `why` is what later calls fail with.
  void cut(Error why);
  std::optional<Error> failure() const;
  uint64_t sent_bytes() const;

 private:
  void read_frames();
  void write_frames();
  Status read_frame(Buffer& payload);
  // REQUIRES: mutex_ is held.
  void fail_with(Error why);
  std::unexpected<Error> failed() const { return std::unexpected(*failure_); }
  struct Waiters {
    std::condition_variable readable, writable;
  };
  Waiters& waiters(PeerChannel channel) { return waiters_[static_cast<size_t>(channel)]; }

  const Options options_;
  const std::unique_ptr<os::ByteStream> plain_, stream_;
  mutable std::mutex mutex_;  // guards all below; never held while the stream is used
  PeerMux mux_;
  std::array<Waiters, kPeerChannels> waiters_;
  std::condition_variable sendable_;
  std::optional<Error> failure_;
  Buffer partial_message_;  // of the reader of the control channel
  std::jthread reader_, writer_;
};

}  // namespace forerun::net
