#include "net/peer_connection.h"

#include "core/big_endian.h"

namespace forerun::net {

PeerConnection::PeerConnection(std::unique_ptr<os::ByteStream> plain,
                               std::unique_ptr<os::ByteStream> stream, Options options)
    : options_(options), plain_(std::move(plain)), stream_(std::move(stream)) {
  // What the kernel has taken can no longer be overtaken: it takes little.
  os::limit_unsent(stream_->fd(), 2 * kFramePayloadBytesMax);
  if (auto set = stream_->set_timeout(options_.silence_max); !set) failure_ = set.error();
  reader_ = std::jthread([this] { read_frames(); });
  writer_ = std::jthread([this] { write_frames(); });
}

PeerConnection::~PeerConnection() {
  cut({ErrorCode::kUnavailable, "this side ended the connection"});
  reader_.join();
  writer_.join();
}

void PeerConnection::fail_with(Error why) {
  if (failure_) return;
  // To those who wait for a message a time-out would mean "none yet".
  if (why.code == ErrorCode::kTimedOut) why.code = ErrorCode::kUnavailable;
  failure_ = std::move(why);
  stream_->shut_down();
  sendable_.notify_all();
  for (Waiters& each : waiters_) {
    each.readable.notify_all();
    each.writable.notify_all();
  }
}

void PeerConnection::cut(Error why) {
  const std::lock_guard lock(mutex_);
  fail_with(std::move(why));
}

std::optional<Error> PeerConnection::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

uint64_t PeerConnection::sent_bytes() const {
  const std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (size_t i = 0; i < kPeerChannels; ++i) bytes += mux_.sent_bytes(PeerChannel(i));
  return bytes;
}

Status PeerConnection::read_frame(Buffer& payload) {
  std::array<std::byte, kFrameHeaderBytes> head;
  FR_CHECK(stream_->read_exact(head));
  FR_TRY(const FrameHeader header, parse_frame_header(head));
  payload.resize(header.payload_bytes);
  FR_CHECK(stream_->read_exact(payload));
  const std::lock_guard lock(mutex_);
  FR_CHECK(mux_.receive(header, payload));
  if (header.type == FrameType::kData || header.type == FrameType::kEnd)
    waiters(header.channel).readable.notify_all();
  if (header.type == FrameType::kCredit) sendable_.notify_one();
  return {};
}

void PeerConnection::read_frames() {
  Buffer payload;
  for (;;) {
    if (Status read = read_frame(payload); !read) return cut(std::move(read.error()));
  }
}

void PeerConnection::write_frames() {
  Buffer frame;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      while (!failure_ && !mux_.next_frame(frame))
        if (sendable_.wait_for(lock, options_.ping_every) == std::cv_status::timeout) mux_.ping();
      if (failure_) return;
      for (size_t i = 0; i < kPeerChannels; ++i)
        if (mux_.room(PeerChannel(i)) > 0) waiters_[i].writable.notify_all();
    }
    if (Status written = stream_->write_bytes(frame); !written)
      return cut(std::move(written.error()));
  }
}

Status PeerConnection::write(PeerChannel channel, ByteView data) {
  std::unique_lock lock(mutex_);
  while (!data.empty()) {
    if (failure_) return failed();
    const size_t taken = std::min(data.size(), mux_.room(channel));
    if (taken == 0) {
      waiters(channel).writable.wait(lock);
      continue;
    }
    mux_.send(channel, data.first(taken));
    data = data.subspan(taken);
    sendable_.notify_one();
  }
  return failure_ ? Status(failed()) : Status();
}

Result<size_t> PeerConnection::read_some(PeerChannel channel, MutableByteView out) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (const size_t taken = mux_.take(channel, out); taken > 0) {
      sendable_.notify_one();  // the peer may have to be told that there is room again
      return taken;
    }
    if (mux_.is_at_end(channel)) return size_t{0};
    if (failure_) return failed();
    waiters(channel).readable.wait(lock);
  }
}

Status PeerConnection::read_exact(PeerChannel channel, MutableByteView out) {
  while (!out.empty()) {
    FR_TRY(const size_t got, read_some(channel, out));
    if (got == 0)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the peer ended channel {} too early", peer_channel_name(channel)));
    out = out.subspan(got);
  }
  return {};
}

void PeerConnection::limit(PeerChannel channel, uint32_t bytes) {
  const std::lock_guard lock(mutex_);
  mux_.limit(channel, bytes);
}

uint64_t PeerConnection::under_way_bytes(PeerChannel channel) const {
  const std::lock_guard lock(mutex_);
  return mux_.under_way_bytes(channel);
}

void PeerConnection::end(PeerChannel channel) {
  const std::lock_guard lock(mutex_);
  mux_.end(channel);
  sendable_.notify_one();
}

Status PeerConnection::send_message(std::string_view text) {
  FR_ASSERT(text.size() <= kMessageBytesMax);
  BigEndianWriter message;
  message.u32(static_cast<uint32_t>(text.size()));
  message.bytes(as_bytes(text));
  return write(PeerChannel::kControl, message.view());
}

Result<std::string> PeerConnection::receive_message(Nanos timeout) {
  std::unique_lock lock(mutex_);
  const auto wanted = [&] {
    size_t total = 4;
    if (partial_message_.size() >= 4) total += BigEndianReader(partial_message_).u32();
    return total;
  };
  // A deadline of the condition variable's own clock: waiting is all that it is for.
  bool is_late = false;
  for (;;) {
    if (wanted() > 4 + kMessageBytesMax)
      return fail(ErrorCode::kCorrupt, "the peer sent a message that is too long");
    const size_t had = partial_message_.size();
    if (had >= 4 && had == wanted()) break;
    partial_message_.resize(wanted());
    const size_t taken =
        mux_.take(PeerChannel::kControl, MutableByteView(partial_message_).subspan(had));
    partial_message_.resize(had + taken);
    if (taken > 0) {
      sendable_.notify_one();
      continue;
    }
    if (mux_.is_at_end(PeerChannel::kControl))
      return fail(ErrorCode::kUnavailable, "the peer has no more to say");
    if (failure_) return failed();
    if (is_late) return fail(ErrorCode::kTimedOut, "the peer sent no message in time");
    is_late =
        waiters(PeerChannel::kControl).readable.wait_for(lock, timeout) == std::cv_status::timeout;
  }
  std::string text(as_text(ByteView(partial_message_).subspan(4)));
  partial_message_.clear();
  return text;
}

}  // namespace forerun::net
