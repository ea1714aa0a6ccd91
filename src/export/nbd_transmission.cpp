#include "export/nbd_transmission.h"

#include <system_error>

#include "core/log.h"
#include "core/metrics.h"

namespace forerun::nbd {
namespace {

constexpr size_t kStatusExtentsMax = 1024;
constexpr uint64_t kCachePieceBytes = 1 * kMiB;

RequestRules rules_of(const disk::BlockDevice& device, const Negotiated& negotiated) {
  return {.size_bytes = device.size_bytes(),
          .read_only = device.is_read_only(),
          .structured_replies = negotiated.structured_replies,
          .base_allocation = negotiated.base_allocation};
}

uint64_t total_bytes(std::span<const ByteView> slices) {
  uint64_t total = 0;
  for (const ByteView& slice : slices) total += slice.size();
  return total;
}

metrics::Counter& replies_total() {
  static metrics::Counter& counter =
      metrics::counter("forerun_nbd_replies_total", "Replies sent to NBD clients.");
  return counter;
}

metrics::Counter& waited_total() {
  static metrics::Counter& counter = metrics::counter(
      "forerun_nbd_waited_total", "NBD requests that had to wait for data and went to the pool.");
  return counter;
}

}  // namespace

// A request that the pool executes. Reused, so that its vectors keep their capacity.
struct Transmission::WaitingRequest final : WorkerPool::Job {
  explicit WaitingRequest(Transmission& of) : transmission(of) { owner = &of; }
  void run() override { transmission.run_waiting(*this); }

  Transmission& transmission;
  Request request;
  disk::ReadSlices data;
  NbdError error = kOk;
};

Transmission::Transmission(TransmissionOptions options, os::ByteStream& stream,
                           std::shared_ptr<disk::BlockDevice> device, const Negotiated& negotiated,
                           WorkerPool& pool)
    : options_(options),
      stream_(stream),
      device_(std::move(device)),
      rules_(rules_of(*device_, negotiated)),
      pool_(pool),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(options.receive_bytes)) {
  FR_ASSERT(std::has_single_bit(options_.write_piece_bytes) &&
            options_.write_piece_bytes <= options_.receive_bytes);
}

Transmission::~Transmission() { FR_ASSERT(!sender_.joinable(), "a transmission ends in run()"); }

Status Transmission::run(ByteView early) {
  Status served = serve(early);
  // After an orderly disconnect the requests before it are still answered; else nobody listens any
  // more.
  if (!served) stream_.shut_down();
  end_waiting(!served);
  return served;
}

Status Transmission::serve(ByteView early) {
  if (early.size() > options_.receive_bytes)
    return fail(ErrorCode::kTooLarge, "too many bytes came with the handshake");
  std::ranges::copy(early, buffer_.get());
  end_ = early.size();
  for (;;) {
    FR_TRY(const End end, serve_received());
    FR_CHECK(send_batch());
    if (end == End::kDisconnect) return {};
    gather_burst();
    FR_CHECK(receive());
  }
}

// A client that keeps several requests in flight sends them one by one; woken at the first, this
// thread would answer one at a time. Yielding once lets it send the others: with 16 random reads of
// 4 KiB in flight on busy processors this takes 2.5 instead of 6.5 µs of CPU for each, and the
// client gets twice as many done. With one request in flight, or large ones, it would only put this
// thread behind others, so both are left alone. (bench/nbd measures it.)
void Transmission::gather_burst() {
  constexpr size_t kBurstMin = 3;
  constexpr uint64_t kBytesMax = 128 * kKiB;
  // The largest burst of late, in sixteenths: it shrinks by an eighth a round.
  burst_ = std::max(round_requests_ * 16, burst_ - burst_ / 8);
  if (burst_ >= kBurstMin * 16 && round_bytes_ <= kBytesMax) std::this_thread::yield();
  round_requests_ = 0;
  round_bytes_ = 0;
}

// Executes every request that has arrived whole.
Result<Transmission::End> Transmission::serve_received() {
  while (received() >= kRequestBytes) {
    const std::optional<Request> request = parse_request({buffer_.get() + begin_, kRequestBytes});
    if (!request) return fail(ErrorCode::kInvalid, "a request with a wrong magic number");
    begin_ += kRequestBytes;
    if (request->command == kCmdDisconnect) return End::kDisconnect;
    ++round_requests_;
    round_bytes_ += request->length;
    FR_CHECK(execute(*request));
    if (batch_.is_full()) FR_CHECK(send_batch());
  }
  return End::kNone;
}

Status Transmission::receive() {
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, received());
    end_ = received();
    begin_ = 0;
  }
  return receive_more(options_.receive_bytes - end_);
}

Status Transmission::receive_more(size_t bytes_max) {
  FR_TRY(const size_t got, stream_.read_some({buffer_.get() + end_, bytes_max}));
  if (got == 0) return fail(ErrorCode::kUnavailable, "the client went away");
  end_ += got;
  return {};
}

// Receives until `bytes` bytes are there; with `exactly`, no more, so that the next piece begins an
// empty buffer.
Status Transmission::fill(size_t bytes, bool exactly) {
  if (received() >= bytes) return {};
  FR_CHECK(send_batch());
  if (begin_ + bytes > options_.receive_bytes || begin_ == end_) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, received());
    end_ = received();
    begin_ = 0;
  }
  while (received() < bytes)
    FR_CHECK(receive_more(exactly ? bytes - received() : options_.receive_bytes - end_));
  return {};
}

Status Transmission::send_batch() {
  if (batch_.empty()) return {};
  replies_total().add(batch_.reply_count());
  const std::lock_guard lock(send_mutex_);
  return batch_.send(stream_);
}

Status Transmission::execute(const Request& request) {
  const NbdError refused = check_request(request, rules_);
  const bool writes = request.command == kCmdWrite || request.command == kCmdWriteZeroes;
  if (refused == kOk && (writes || request.command == kCmdRead))
    device_->on_request(writes, request.range());
  if (request.command == kCmdWrite) return execute_write(request, refused);
  if (refused != kOk) {
    reply_error(batch_, request, refused);
    return {};
  }
  switch (request.command) {
    case kCmdRead:
      return execute_read(request);
    case kCmdFlush:
      return execute_flush(request);
    case kCmdCache:
      return start_waiting(request);
    case kCmdTrim:
      reply_status(request, device_->trim(request.range(), request.has(kCmdFua)));
      return {};
    case kCmdWriteZeroes:
      reply_status(request, device_->write_zeroes(request.range(), !request.has(kCmdNoHole),
                                                  request.has(kCmdFua)));
      return {};
    default:
      execute_block_status(request);
      return {};
  }
}

Status Transmission::execute_write(const Request& request, NbdError refused) {
  if (refused != kOk) return refuse_write(request, refused);
  const uint64_t piece_max = options_.write_piece_bytes;
  uint64_t offset = request.offset;
  uint64_t left = request.length;
  const bool whole = left <= piece_max - offset % piece_max;
  Status written;
  while (left > 0) {
    const uint64_t piece = std::min(left, piece_max - offset % piece_max);
    FR_CHECK(fill(piece, left > piece));
    if (written)
      written =
          device_->write(offset, {buffer_.get() + begin_, piece}, whole && request.has(kCmdFua));
    begin_ += piece;
    offset += piece;
    left -= piece;
  }
  // One flush for all pieces is what their FUA asks for.
  if (written && !whole && request.has(kCmdFua)) written = device_->flush();
  reply_status(request, written);
  return {};
}

// The answer follows the payload: libnbd takes an earlier one for an answer to nothing.
Status Transmission::refuse_write(const Request& request, NbdError refused) {
  if (request.length > options_.refused_payload_bytes_max) {
    reply_error(batch_, request, refused);
    FR_CHECK(send_batch());
    return fail(ErrorCode::kTooLarge, fmt::format("a write of {} bytes", request.length));
  }
  for (uint64_t left = request.length;;) {
    const uint64_t dropped = std::min<uint64_t>(left, received());
    begin_ += dropped;
    left -= dropped;
    if (left == 0) break;
    FR_CHECK(send_batch());
    FR_CHECK(receive());
  }
  reply_error(batch_, request, refused);
  return {};
}

Status Transmission::execute_read(const Request& request) {
  disk::ReadSlices& data = batch_.data();
  const size_t first = data.slices.size();
  if (request.length > 0) {
    const Result<bool> at_hand = device_->try_read(request.range(), data);
    if (at_hand && !*at_hand) return start_waiting(request);
    if (!at_hand) {
      reply_error(batch_, request, error_to_client(at_hand.error()));
      return {};
    }
  }
  const std::span<const ByteView> slices = std::span(data.slices).subspan(first);
  if (total_bytes(slices) != request.length) {
    log::error("a device answered a read of {} bytes at {} with {} bytes", request.length,
               request.offset, total_bytes(slices));
    reply_error(batch_, request, kEio);
    return {};
  }
  batch_.add_read(request.cookie, request.offset, request.length, slices,
                  rules_.structured_replies);
  return {};
}

// A flush takes as long as a disk does: it is executed here only if nothing would wait behind it.
Status Transmission::execute_flush(const Request& request) {
  bool alone = received() == 0;
  if (alone) {
    const std::lock_guard lock(mutex_);
    alone = waiting_count_ == 0;
  }
  if (!alone) return start_waiting(request);
  FR_CHECK(send_batch());
  reply_status(request, device_->flush());
  return {};
}

void Transmission::execute_block_status(const Request& request) {
  extents_.clear();
  const size_t extents_max = request.has(kCmdReqOne) ? 1 : kStatusExtentsMax;
  if (const Status asked = device_->block_status(request.range(), extents_max, extents_); !asked)
    return reply_error(batch_, request, error_to_client(asked.error()));
  // Neither more extents nor more bytes than asked for, and no empty extent, whatever the device
  // said.
  uint64_t left = request.length;
  size_t count = 0;
  for (disk::StatusExtent extent : extents_) {
    extent.length = std::min(extent.length, left);
    if (extent.length == 0 || count == extents_max) continue;
    left -= extent.length;
    extents_[count++] = extent;
  }
  if (count == 0) return reply_error(batch_, request, kEio);
  batch_.add_status(request.cookie, std::span(extents_).first(count));
}

void Transmission::reply_status(const Request& request, const Status& status) {
  if (status)
    batch_.add_simple(request.cookie, kOk);
  else
    reply_error(batch_, request, error_to_client(status.error()));
}

void Transmission::reply_error(ReplyBatch& batch, const Request& request, NbdError error) const {
  const bool has_payload = request.command == kCmdRead || request.command == kCmdBlockStatus;
  if (rules_.structured_replies && has_payload)
    batch.add_error_chunk(request.cookie, error);
  else
    batch.add_simple(request.cookie, error);
}

Status Transmission::start_sender() {
  if (sender_.joinable()) return {};
  try {
    sender_ = std::thread([this] { send_finished(); });
  } catch (const std::system_error& error) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot start a thread: {}", error.what()));
  }
  return {};
}

// Hands a request to the pool, after waiting for room among those that wait.
Status Transmission::start_waiting(const Request& request) {
  FR_CHECK(send_batch());
  FR_CHECK(start_sender());
  waited_total().add();
  const uint64_t bytes = request.command == kCmdRead ? request.length : 0;
  WaitingRequest* waiting = nullptr;
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] {
      return waiting_count_ == 0 || (waiting_count_ < options_.waiting_requests_max &&
                                     waiting_bytes_ + bytes <= options_.waiting_bytes_max);
    });
    if (free_.empty()) {
      waiting_.push_back(std::make_unique<WaitingRequest>(*this));
      free_.push_back(waiting_.back().get());
    }
    waiting = free_.back();
    free_.pop_back();
    ++waiting_count_;
    waiting_bytes_ += bytes;
  }
  waiting->request = request;
  waiting->error = kOk;
  pool_.submit(device_.get(), waiting);
  return {};
}

// On a thread of the pool.
void Transmission::run_waiting(WaitingRequest& waiting) {
  const Request& request = waiting.request;
  Status done;
  if (request.command == kCmdRead) {
    done = device_->read(request.range(), waiting.data);
    if (done && total_bytes(waiting.data.slices) != request.length)
      done = fail(ErrorCode::kIo, "a device answered a read with another length");
  } else if (request.command == kCmdFlush) {
    done = device_->flush();
  } else {  // kCmdCache
    for (uint64_t at = 0; at < request.length && done && !ending_; at += kCachePieceBytes) {
      const uint64_t piece = std::min(kCachePieceBytes, request.length - at);
      done = device_->read({request.offset + at, piece}, waiting.data);
      waiting.data.clear();
    }
  }
  if (!done) waiting.error = error_to_client(done.error());
  {
    const std::lock_guard lock(mutex_);
    finished_.push_back(&waiting);
    // Under the lock: as soon as it is released, the connection may end.
    finished_or_end_.notify_one();
  }
}

// REQUIRES: mutex_ is held.
void Transmission::release(WaitingRequest& waiting) {
  waiting.data.clear();
  --waiting_count_;
  if (waiting.request.command == kCmdRead) waiting_bytes_ -= waiting.request.length;
  free_.push_back(&waiting);
  room_.notify_one();
}

// The sender's thread. After a failed send it goes on releasing: the thread in run() sees the
// stream's end by itself.
void Transmission::send_finished() {
  ReplyBatch batch;
  std::vector<WaitingRequest*> taken;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      for (WaitingRequest* waiting : taken) release(*waiting);
      taken.clear();
      finished_or_end_.wait(lock, [this] { return !finished_.empty() || sender_ends_; });
      if (finished_.empty()) return;
      taken.swap(finished_);
    }
    const std::lock_guard lock(send_mutex_);
    replies_total().add(taken.size());
    Status sent;
    for (const WaitingRequest* waiting : taken) {
      const Request& request = waiting->request;
      if (waiting->error != kOk)
        reply_error(batch, request, waiting->error);
      else if (request.command == kCmdRead)
        batch.add_read(request.cookie, request.offset, request.length, waiting->data.slices,
                       rules_.structured_replies);
      else
        batch.add_simple(request.cookie, kOk);
      if (batch.is_full() && sent) sent = batch.send(stream_);
      if (!sent) batch.clear();
    }
    if (sent && !batch.empty()) sent = batch.send(stream_);
    if (!sent) stream_.shut_down();
  }
}

// Waits for all that wait, or first takes back what has not begun, and ends the sender.
void Transmission::end_waiting(bool drop) {
  ending_ = drop;
  if (!sender_.joinable()) return;
  if (drop) {
    const std::vector<WorkerPool::Job*> taken = pool_.withdraw(device_.get(), this);
    const std::lock_guard lock(mutex_);
    for (WorkerPool::Job* job : taken) release(*static_cast<WaitingRequest*>(job));
  }
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return waiting_count_ == 0; });
    sender_ends_ = true;
  }
  finished_or_end_.notify_one();
  sender_.join();
}

}  // namespace forerun::nbd
