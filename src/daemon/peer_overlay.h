// The overlay of a VM that moved, read over the connection between the two hosts: its blocks go in
// the channel "disk" if the guest waits for them, in "disk-bulk" otherwise. docs/format_peer.md.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "daemon/known_overlay.h"
#include "disk/overlay_source.h"
#include "net/peer_connection.h"

namespace forerun::daemon {

// The side that asks. Thread-safe.
class PeerOverlay final : public DigestSource {
 public:
  explicit PeerOverlay(std::shared_ptr<net::PeerConnection> connection);
  // REQUIRES: the connection is cut, or may be.
  ~PeerOverlay() override;

  Result<disk::OverlayContents> contents() override;
  Result<uint64_t> read(ByteRange range, MutableByteView out, iosched::IoClass io_class) override;
  Result<std::vector<Digest>> digests(ByteRange range) override;
  void stop() override { end_all({ErrorCode::kUnavailable, "the pull was stopped"}); }

 private:
  struct Waiting {
    MutableByteView out;      // of a read
    Buffer* whole = nullptr;  // of the contents
    uint64_t checksum = 0;
    std::optional<Status> end;
  };
  Status ask(uint8_t kind, ByteRange range, iosched::IoClass io_class, Waiting& waiting);
  void receive(net::PeerChannel channel);
  Status receive_one(net::PeerChannel channel);
  void end_all(const Error& why);

  const std::shared_ptr<net::PeerConnection> connection_;
  std::mutex write_mutex_;  // of requests
  std::mutex mutex_;        // guards all below
  std::condition_variable answered_;
  std::map<uint64_t, Waiting*> waiting_;
  uint64_t next_id_ = 1;
  std::optional<Error> failure_;
  std::jthread urgent_reader_, bulk_reader_;
};

// The side that has the blocks: answers until the connection ends. Thread-safe.
class PeerOverlayServer {
 public:
  PeerOverlayServer(net::PeerConnection& connection, std::shared_ptr<disk::OverlaySource> source);
  ~PeerOverlayServer();

  uint64_t sent_bytes() const { return sent_bytes_.load(); }

 private:
  struct Request {
    uint64_t id = 0;
    uint8_t kind = 0;
    ByteRange range;
  };
  void receive();
  void answer(net::PeerChannel channel);
  Status answer_one(net::PeerChannel channel, const Request& request);

  net::PeerConnection& connection_;
  const std::shared_ptr<disk::OverlaySource> source_;
  std::optional<disk::OverlayContents> contents_;  // of the bulk worker, once digests were asked
  std::atomic<uint64_t> sent_bytes_{0};
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<Request> urgent_, bulk_;  // each at most kRequestsMax
  bool is_over_ = false;
  std::jthread receiver_, urgent_worker_, bulk_worker_;
};

}  // namespace forerun::daemon
