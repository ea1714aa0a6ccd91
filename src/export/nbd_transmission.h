// The transmission phase of one connection: requests in, replies out, over any ByteStream.
//
// The thread that calls run() receives, executes what needs no waiting, and collects the replies;
// they go out with one system call when no more requests are at hand. A read that has to wait for
// data goes to the worker pool; what the pool has finished is sent by a thread of this connection,
// started at the first such read, so that a client that does not take its replies blocks nobody but
// itself.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/result.h"
#include "disk/block_device.h"
#include "export/nbd_handshake.h"
#include "export/nbd_request.h"
#include "export/reply_batch.h"
#include "export/worker_pool.h"
#include "os/socket.h"

namespace forerun::nbd {

struct TransmissionOptions {
  size_t receive_bytes = 256 * kKiB;
  // A longer write is executed in pieces of this, aligned to it on the disk, so that no buffer
  // grows with a request and a piece is still in the processor's cache. REQUIRES: a power of two,
  // at most receive_bytes.
  size_t write_piece_bytes = 128 * kKiB;
  // Requests that wait for data; beyond that nothing more is received.
  size_t waiting_requests_max = 128;
  uint64_t waiting_bytes_max = 64 * kMiB;
  // The payload of a refused write is received and dropped up to here; beyond, the connection is
  // closed.
  uint32_t refused_payload_bytes_max = 64u << 20;
};

class Transmission {
 public:
  // REQUIRES: `stream` and `pool` outlive this.
  Transmission(TransmissionOptions options, os::ByteStream& stream,
               std::shared_ptr<disk::BlockDevice> device, const Negotiated& negotiated,
               WorkerPool& pool);
  ~Transmission();

  // Serves until the client disconnects, the stream ends or the protocol is violated; `early` are
  // bytes that came with the end of the handshake. Returns after every request that went to the
  // pool has ended. Called once. ERRORS: kInvalid for a violation; the stream's errors.
  // stream.shut_down() from another thread ends it.
  Status run(ByteView early);

 private:
  struct WaitingRequest;
  enum class End : uint8_t { kNone, kDisconnect };

  Status serve(ByteView early);
  Result<End> serve_received();
  void gather_burst();
  Status receive();
  Status receive_more(size_t bytes_max);
  Status fill(size_t bytes, bool exactly);
  Status send_batch();

  Status execute(const Request& request);
  Status execute_write(const Request& request, NbdError refused);
  Status refuse_write(const Request& request, NbdError refused);
  Status execute_read(const Request& request);
  Status execute_flush(const Request& request);
  void execute_block_status(const Request& request);
  void reply_status(const Request& request, const Status& status);
  void reply_error(ReplyBatch& batch, const Request& request, NbdError error) const;

  Status start_sender();
  Status start_waiting(const Request& request);
  void run_waiting(WaitingRequest& waiting);
  void release(WaitingRequest& waiting);
  void send_finished();
  void end_waiting(bool drop);

  size_t received() const { return end_ - begin_; }

  const TransmissionOptions options_;
  os::ByteStream& stream_;
  const std::shared_ptr<disk::BlockDevice> device_;
  const RequestRules rules_;
  WorkerPool& pool_;

  // Of the thread in run().
  std::unique_ptr<std::byte[]> buffer_;  // received and not yet used: [begin_, end_)
  size_t begin_ = 0;
  size_t end_ = 0;
  ReplyBatch batch_;
  size_t round_requests_ = 0;  // since the last receive
  uint64_t round_bytes_ = 0;
  size_t burst_ = 0;
  std::vector<disk::StatusExtent> extents_;
  std::thread sender_;

  std::mutex send_mutex_;  // whole replies; held while sending, so no other lock is taken under it

  std::mutex mutex_;
  std::condition_variable finished_or_end_;               // for the sender
  std::condition_variable room_;                          // for the thread in run()
  std::vector<std::unique_ptr<WaitingRequest>> waiting_;  // all that were ever needed at once
  std::vector<WaitingRequest*> free_;
  std::vector<WaitingRequest*> finished_;
  size_t waiting_count_ = 0;
  uint64_t waiting_bytes_ = 0;
  bool sender_ends_ = false;
  std::atomic<bool> ending_ = false;
};

}  // namespace forerun::nbd
