#include "net/peer_mux.h"

#include "core/big_endian.h"

namespace forerun::net {
namespace {

constexpr std::array kAll{PeerChannel::kControl, PeerChannel::kForward, PeerChannel::kReturn,
                          PeerChannel::kPreempt, PeerChannel::kDisk,    PeerChannel::kDiskBulk};

void write_header(FrameType type, PeerChannel channel, size_t payload_bytes, Buffer& frame) {
  BigEndianWriter writer;
  writer.u8(static_cast<uint8_t>(type));
  writer.u8(static_cast<uint8_t>(channel));
  writer.u32(static_cast<uint32_t>(payload_bytes));
  frame.assign(writer.view().begin(), writer.view().end());
}

// Credit is given back in such pieces: at most half of what a peer may limit itself to.
constexpr uint32_t kCreditBytes = 32 * kKiB;

}  // namespace

std::string_view peer_channel_name(PeerChannel channel) {
  constexpr std::array<std::string_view, kPeerChannels> kNames{"control", "forward", "return",
                                                               "preempt", "disk",    "disk-bulk"};
  return kNames[static_cast<size_t>(channel)];
}

Result<FrameHeader> parse_frame_header(ByteView bytes) {
  BigEndianReader reader(bytes);
  const uint8_t type = reader.u8();
  const uint8_t channel = reader.u8();
  FrameHeader header{FrameType(type), PeerChannel(channel), reader.u32()};
  if (!reader.good()) return fail(ErrorCode::kCorrupt, "a peer's frame is cut off");
#ifdef FORERUN_PLANT_BUG_PEER  // set by fuzz/peer/prove.sh only
  const bool is_channel = true;
#else
  const bool is_channel = channel < kPeerChannels;
#endif
  if (type < 1 || type > 4 || !is_channel)
    return fail(ErrorCode::kCorrupt,
                fmt::format("a peer sent a frame of type {} for channel {}", type, channel));
  const bool fits = header.type == FrameType::kData     ? header.payload_bytes >= 1
                    : header.type == FrameType::kCredit ? header.payload_bytes == 4
                                                        : header.payload_bytes == 0;
  if (!fits || header.payload_bytes > kFramePayloadBytesMax)
    return fail(ErrorCode::kCorrupt, fmt::format("a peer sent a frame of type {} with {} bytes",
                                                 type, header.payload_bytes));
  return header;
}

void PeerMux::Queue::push(ByteView data) { bytes_.insert(bytes_.end(), data.begin(), data.end()); }

ByteView PeerMux::Queue::front(size_t bytes_max) const {
  return ByteView(bytes_).subspan(begin_, std::min(bytes_max, size()));
}

void PeerMux::Queue::pop(size_t bytes) {
  begin_ += bytes;
  if (begin_ == bytes_.size()) {
    bytes_.clear();
    begin_ = 0;
  } else if (begin_ >= 256 * kKiB) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(begin_));
    begin_ = 0;
  }
}

uint32_t PeerMux::window_bytes(PeerChannel channel) {
  switch (channel) {
    case PeerChannel::kForward:
    case PeerChannel::kDiskBulk:
      return 4 << 20;  // 10 Gbit/s times 3 ms
    case PeerChannel::kPreempt:
    case PeerChannel::kDisk:
      return 1 << 20;
    case PeerChannel::kControl:
    case PeerChannel::kReturn:
      break;
  }
  return 256 << 10;
}

size_t PeerMux::queue_bytes_max(PeerChannel channel) {
  // What waits here delays what QEMU sends after it, such as a page that the guest waits for.
  const bool is_bulk = channel == PeerChannel::kForward || channel == PeerChannel::kDiskBulk;
  return is_bulk ? 64 * kKiB : 256 * kKiB;
}

std::array<PeerMux::Out, kPeerChannels> PeerMux::first_credits() {
  std::array<Out, kPeerChannels> all;
  for (const PeerChannel channel : kAll)
    all[static_cast<size_t>(channel)].credit_bytes = window_bytes(channel);
  return all;
}

void PeerMux::limit(PeerChannel channel, uint32_t bytes) {
  const uint32_t window = window_bytes(channel);
  out(channel).unused_bytes = window - std::min(window, std::max(bytes, kLimitMin));
}

size_t PeerMux::room(PeerChannel channel) const {
  const size_t queued = out(channel).queue.size();
  const size_t limit = queue_bytes_max(channel);
  return queued < limit ? limit - queued : 0;
}

void PeerMux::send(PeerChannel channel, ByteView data) {
  FR_ASSERT(!out(channel).is_ended && data.size() <= room(channel));
  out(channel).queue.push(data);
}

void PeerMux::end(PeerChannel channel) { out(channel).is_ended = true; }

bool PeerMux::credit_frame(Buffer& frame) {
  for (const PeerChannel channel : kAll) {
    if (in(channel).taken_bytes < kCreditBytes) continue;
    write_header(FrameType::kCredit, channel, 4, frame);
    BigEndianWriter bytes;
    bytes.u32(std::exchange(in(channel).taken_bytes, 0));
    frame.insert(frame.end(), bytes.view().begin(), bytes.view().end());
    return true;
  }
  return false;
}

bool PeerMux::data_frame(PeerChannel channel, Buffer& frame) {
  Out& from = out(channel);
  if (from.queue.size() == 0) {
    if (!from.is_ended || from.is_end_told) return false;
    from.is_end_told = true;
    write_header(FrameType::kEnd, channel, 0, frame);
    return true;
  }
  const uint64_t credit =
      from.credit_bytes - std::min<uint64_t>(from.credit_bytes, from.unused_bytes);
  const ByteView data = from.queue.front(std::min<uint64_t>(kFramePayloadBytesMax, credit));
  if (data.empty()) return false;
  write_header(FrameType::kData, channel, data.size(), frame);
  frame.insert(frame.end(), data.begin(), data.end());
  from.credit_bytes -= data.size();
  from.sent_bytes += data.size();
  from.queue.pop(data.size());
  return true;
}

bool PeerMux::next_frame(Buffer& frame) {
  if (ping_due_) {
    ping_due_ = false;
    write_header(FrameType::kPing, PeerChannel::kControl, 0, frame);
    return true;
  }
  if (credit_frame(frame)) return true;
  for (const PeerChannel channel :
       {PeerChannel::kControl, PeerChannel::kReturn, PeerChannel::kPreempt, PeerChannel::kDisk})
    if (data_frame(channel, frame)) return true;
  bulk_turn_ = !bulk_turn_;
  const auto first = bulk_turn_ ? PeerChannel::kForward : PeerChannel::kDiskBulk;
  const auto second = bulk_turn_ ? PeerChannel::kDiskBulk : PeerChannel::kForward;
  return data_frame(first, frame) || data_frame(second, frame);
}

Status PeerMux::receive(const FrameHeader& header, ByteView payload) {
  In& to = in(header.channel);
  switch (header.type) {
    case FrameType::kPing:
      return {};
    case FrameType::kEnd:
      to.is_ended = true;
      return {};
    case FrameType::kCredit: {
      Out& from = out(header.channel);
      from.credit_bytes += BigEndianReader(payload).u32();
      if (from.credit_bytes > window_bytes(header.channel))
        return fail(ErrorCode::kCorrupt, fmt::format("the peer takes more of channel {} than it "
                                                     "was sent",
                                                     peer_channel_name(header.channel)));
      return {};
    }
    case FrameType::kData:
      break;
  }
  if (to.is_ended ||
      to.queue.size() + to.taken_bytes + payload.size() > window_bytes(header.channel))
    return fail(ErrorCode::kCorrupt, fmt::format("the peer sends more in channel {} than it may",
                                                 peer_channel_name(header.channel)));
  to.queue.push(payload);
  return {};
}

size_t PeerMux::take(PeerChannel channel, MutableByteView to) {
  In& from = in(channel);
  const ByteView data = from.queue.front(to.size());
  std::copy(data.begin(), data.end(), to.begin());
  const size_t taken = data.size();
  from.queue.pop(taken);
  from.taken_bytes += static_cast<uint32_t>(taken);
  return taken;
}

}  // namespace forerun::net
