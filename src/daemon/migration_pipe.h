// One side's way between QEMU's migration socket and the connection to the other host: two threads
// that pass on what comes, through a filter, and a third one for a filter that acts by itself.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/bytes.h"
#include "core/result.h"
#include "migrate/memory_sender.h"
#include "migrate/stand_in_target.h"
#include "net/peer_connection.h"
#include "os/socket.h"

namespace forerun::daemon {

// What the two directions do with the bytes. Calls come from several threads, one at a time.
class MigrationFilter {
 public:
  using Output = migrate::SenderOutput;  // in order: to_peer, to_qemu
  virtual ~MigrationFilter() = default;
  // What is said before anything came.
  virtual Status begin(Output&) { return {}; }
  virtual Status from_qemu(ByteView bytes, Output& out) = 0;
  virtual Status from_peer(ByteView bytes, Output& out) = 0;
  // With ticks, tick() is called every few milliseconds, too.
  virtual bool has_ticks() const { return false; }
  virtual Status tick(Output&) { return {}; }
};

// Passes everything on as it is.
class PlainFilter final : public MigrationFilter {
 public:
  Status from_qemu(ByteView bytes, Output& out) override {
    out.to_peer.insert(out.to_peer.end(), bytes.begin(), bytes.end());
    return {};
  }
  Status from_peer(ByteView bytes, Output& out) override {
    out.to_qemu.insert(out.to_qemu.end(), bytes.begin(), bytes.end());
    return {};
  }
};

// Thread-safe. QEMU's socket stays open until close(), even if the other host is gone: a QEMU whose
// socket ends pauses a post-copy for good, while one that is cancelled before goes on.
class MigrationPipe {
 public:
  enum class Side : uint8_t { kSource, kTarget };
  // `connection` and `filter` outlive this object.
  MigrationPipe(Side side, net::PeerConnection& connection, MigrationFilter& filter);
  ~MigrationPipe() { close(); }

  // Source: QEMU connects to `socket_path`, which exists when this returns. Target: connects to
  // the one of QEMU.
  Status open(const std::string& socket_path);
  // Ends both ways and QEMU's socket.
  void close();
  // Source: ends the way to the other host; what QEMU still sends is thrown away.
  void throw_away();
  // After it: tells QEMU that all arrived, if it has sent all and waits for that. To be called
  // again and again until QEMU says that it is over.
  void say_if_all_arrived();

  uint64_t qemu_bytes() const { return qemu_bytes_.load(); }  // of the forward stream
  // Returns why it does not go on, if it does not. The end of QEMU's stream is no failure.
  std::optional<Error> failure() const;
  // Returns the bytes that went to the other host.
  uint64_t peer_bytes() const { return peer_bytes_.load(); }
  // Target: returns whether the whole stream was handed to QEMU.
  bool is_at_end() const { return is_at_end_.load(); }

 private:
  void from_qemu();
  void from_peer();
  void tick();
  Status pass_from_qemu();
  Status pass_from_peer();
  void note_read(ByteView bytes);
  // Has the filter do a step, and sends what it gave.
  Status filtered(const std::function<Status(MigrationFilter::Output&)>& step);
  void fail_with(Error why);
  net::PeerChannel outgoing() const;
  net::PeerChannel incoming() const;

  const Side side_;
  net::PeerConnection& connection_;
  MigrationFilter& filter_;
  std::string path_;
  os::Fd listener_;  // source, until QEMU has connected
  std::unique_ptr<os::SocketStream> qemu_;
  std::atomic<uint64_t> qemu_bytes_{0}, peer_bytes_{0};
  std::atomic<bool> is_at_end_{false}, is_closing_{false};
  std::mutex filter_mutex_;  // guards pending_ and calls of filter_
  MigrationFilter::Output pending_;
  std::mutex peer_write_mutex_, qemu_write_mutex_;
  mutable std::mutex mutex_;  // guards what follows, and qemu_ until it is set
  std::optional<Error> failure_;
  migrate::StreamTail tail_;  // of what QEMU sent
  uint64_t tail_seen_ = 0;    // its bytes when it was last looked at
  bool is_all_said_ = false;
  std::condition_variable closing_;  // is_closing_ changed
  std::jthread qemu_reader_, peer_reader_, ticker_;
};

}  // namespace forerun::daemon
