// Several byte streams over the one connection between two hosts, without threads and without I/O:
// what is to be sent next, and what of what was received is for whom. What is urgent overtakes what
// is not, and a channel whose reader is slow holds back that channel alone. Format:
// docs/format_peer.md.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::net {

// In the order of their numbers on the wire.
enum class PeerChannel : uint8_t {
  kControl,   // messages of the two daemons
  kForward,   // QEMU's stream of the guest's memory
  kReturn,    // what the target's QEMU says back
  kPreempt,   // pages that the guest waits for
  kDisk,      // disk blocks that the guest waits for, and requests of blocks
  kDiskBulk,  // the others
};
inline constexpr size_t kPeerChannels = 6;
std::string_view peer_channel_name(PeerChannel channel);

enum class FrameType : uint8_t { kData = 1, kCredit = 2, kEnd = 3, kPing = 4 };

inline constexpr size_t kFrameHeaderBytes = 6;
inline constexpr size_t kFramePayloadBytesMax = 8 * 1024;

struct FrameHeader {
  FrameType type = FrameType::kData;
  PeerChannel channel = PeerChannel::kControl;
  uint32_t payload_bytes = 0;
  bool operator==(const FrameHeader&) const = default;
};
// ERRORS: kCorrupt: no frame of ours.
Result<FrameHeader> parse_frame_header(ByteView bytes);

// One thread, or under the lock of its owner.
class PeerMux {
 public:
  // Of each direction of a channel.
  static uint32_t window_bytes(PeerChannel channel);  // sent and not yet taken, at most
  static size_t queue_bytes_max(PeerChannel channel);

  // From now on no more than so many bytes of this channel are under way, at least kLimitMin: what
  // is, is ahead of all that is sent later.
  void limit(PeerChannel channel, uint32_t bytes);
  static constexpr uint32_t kLimitMin = 64 * 1024;

  // Returns how many bytes send() takes of this channel now.
  size_t room(PeerChannel channel) const;
  // REQUIRES: data.size() <= room(channel), and the channel was not ended.
  void send(PeerChannel channel, ByteView data);
  // Nothing more will be sent in this channel.
  void end(PeerChannel channel);
  void ping() { ping_due_ = true; }
  // Replaces `frame` by the next to be sent. Returns false if there is none now.
  bool next_frame(Buffer& frame);
  // Returns whether all that was sent has become frames.
  bool is_drained(PeerChannel channel) const { return out(channel).queue.size() == 0; }

  // Takes in a frame. ERRORS: kCorrupt: more than the window, or after the end.
  Status receive(const FrameHeader& header, ByteView payload);
  // Moves received bytes to `to`, as many as there are and fit; makes room for the peer to go on.
  size_t take(PeerChannel channel, MutableByteView to);
  size_t received_bytes(PeerChannel channel) const { return in(channel).queue.size(); }
  // Returns whether all was taken and no more will come.
  bool is_at_end(PeerChannel channel) const {
    return in(channel).is_ended && in(channel).queue.size() == 0;
  }
  uint64_t sent_bytes(PeerChannel channel) const { return out(channel).sent_bytes; }
  // Returns how much of what was sent the peer has not told that it took; it tells what it takes in
  // pieces, so of a channel that it has read whole up to kToldLate bytes may be left.
  uint64_t under_way_bytes(PeerChannel channel) const {
    return out(channel).queue.size() + window_bytes(channel) - out(channel).credit_bytes;
  }
  static constexpr uint32_t kToldLate = 32 * 1024;

 private:
  // Bytes in order; what was taken is dropped in large pieces.
  class Queue {
   public:
    void push(ByteView data);
    ByteView front(size_t bytes_max) const;
    void pop(size_t bytes);
    size_t size() const { return bytes_.size() - begin_; }

   private:
    Buffer bytes_;
    size_t begin_ = 0;
  };
  struct Out {
    Queue queue;
    uint64_t credit_bytes = 0;
    uint64_t unused_bytes = 0;  // of the credit, that limit() leaves
    uint64_t sent_bytes = 0;
    bool is_ended = false, is_end_told = false;
  };
  struct In {
    Queue queue;
    uint32_t taken_bytes = 0;  // and not yet told
    bool is_ended = false;
  };
  Out& out(PeerChannel channel) { return out_[static_cast<size_t>(channel)]; }
  const Out& out(PeerChannel channel) const { return out_[static_cast<size_t>(channel)]; }
  In& in(PeerChannel channel) { return in_[static_cast<size_t>(channel)]; }
  const In& in(PeerChannel channel) const { return in_[static_cast<size_t>(channel)]; }
  bool credit_frame(Buffer& frame);
  bool data_frame(PeerChannel channel, Buffer& frame);

  std::array<Out, kPeerChannels> out_ = first_credits();
  std::array<In, kPeerChannels> in_;
  bool ping_due_ = false;
  bool bulk_turn_ = false;  // whose turn it is of the two that carry bulk
  static std::array<Out, kPeerChannels> first_credits();
};

}  // namespace forerun::net
