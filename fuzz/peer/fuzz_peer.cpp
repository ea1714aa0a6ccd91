// Fuzzes what another host says: frames, and the messages of a migration.
#include <fuzzer/FuzzedDataProvider.h>

#include "core/big_endian.h"
#include "daemon/migration_messages.h"
#include "net/peer_mux.h"

using namespace forerun;
using namespace forerun::net;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

constexpr std::array kChannels{PeerChannel::kControl, PeerChannel::kForward,
                               PeerChannel::kReturn,  PeerChannel::kPreempt,
                               PeerChannel::kDisk,    PeerChannel::kDiskBulk};

Buffer payload_of(FrameType type, uint32_t bytes, FuzzedDataProvider& input) {
  if (type == FrameType::kCredit) {
    BigEndianWriter credit;
    credit.u32(input.ConsumeIntegral<uint32_t>());
    return {credit.view().begin(), credit.view().end()};
  }
  return Buffer(bytes, std::byte{0x5a});
}

// Frames of a peer that may break any rule, until one is refused.
void hostile_frames(FuzzedDataProvider& input) {
  PeerMux mux;
  Buffer frame, out(64 * kKiB);
  while (input.remaining_bytes() > 0) {
    BigEndianWriter head;
    head.u8(input.ConsumeIntegral<uint8_t>());
    head.u8(input.ConsumeIntegral<uint8_t>());
    head.u32(input.ConsumeBool() ? input.ConsumeIntegral<uint32_t>()
                                 : input.ConsumeIntegralInRange<uint32_t>(0, 8192));
    const auto header = parse_frame_header(head.view());
    if (!header) return;
    require(header->payload_bytes <= kFramePayloadBytesMax);
    if (!mux.receive(*header, payload_of(header->type, header->payload_bytes, input))) return;
    const PeerChannel channel = input.PickValueInArray(kChannels);
    if (input.ConsumeBool()) mux.take(channel, out);
    for (const PeerChannel each : kChannels)
      require(mux.received_bytes(each) <= PeerMux::window_bytes(each));
    if (mux.room(channel) >= 100) mux.send(channel, ByteView(out).first(100));
    if (!input.ConsumeBool() || !mux.next_frame(frame)) continue;
    const auto sent = parse_frame_header(ByteView(frame).first(kFrameHeaderBytes));
    require(sent && sent->payload_bytes + kFrameHeaderBytes == frame.size());
  }
}

void pass(PeerMux& from, PeerMux& to) {
  Buffer frame;
  while (from.next_frame(frame)) {
    const ByteView bytes(frame);
    const auto header = parse_frame_header(bytes.first(kFrameHeaderBytes));
    require(header.has_value());
    require(to.receive(*header, bytes.subspan(kFrameHeaderBytes)).has_value());
  }
}

// Two that keep the rules, in any order of reads and writes.
void honest_pair(FuzzedDataProvider& input) {
  PeerMux a, b;
  std::array<uint64_t, kPeerChannels> written{}, heard{};
  Buffer out(96 * kKiB);
  const auto hear = [&](PeerChannel channel, size_t bytes_max) {
    uint64_t& at = heard[static_cast<size_t>(channel)];
    const size_t taken = b.take(channel, MutableByteView(out).first(bytes_max));
    for (size_t i = 0; i < taken; ++i, ++at) require(out[i] == static_cast<std::byte>(at * 31));
    return taken;
  };
  while (input.remaining_bytes() > 0) {
    const PeerChannel channel = input.PickValueInArray(kChannels);
    const size_t bytes = input.ConsumeIntegralInRange<size_t>(0, out.size());
    if (input.ConsumeBool()) {
      Buffer data(std::min(bytes, a.room(channel)));
      uint64_t& at = written[static_cast<size_t>(channel)];
      for (std::byte& each : data) each = static_cast<std::byte>(at++ * 31);
      a.send(channel, data);
    } else {
      hear(channel, bytes);
    }
    if (input.ConsumeBool()) pass(a, b);
    if (input.ConsumeBool()) pass(b, a);
  }
  for (const PeerChannel channel : kChannels) a.end(channel);
  for (const PeerChannel channel : kChannels) do {
      pass(b, a);
      pass(a, b);
    } while (hear(channel, out.size()) > 0);
  require(written == heard);
  for (const PeerChannel channel : kChannels) require(b.is_at_end(channel));
}

void any_text(FuzzedDataProvider& input) {
  const auto parsed = daemon::parse_peer_message(input.ConsumeRemainingBytesAsString());
  if (!parsed) return;
  const auto again = daemon::parse_peer_message(daemon::encode(*parsed));
  require(again && *again == *parsed);
}

void any_message(FuzzedDataProvider& input) {
  daemon::PeerMessage message;
  message.kind = daemon::PeerMessageKind(input.ConsumeIntegralInRange<int>(0, 17));
  message.ownership = input.ConsumeIntegral<uint64_t>();
  message.disk_bytes = input.ConsumeIntegral<uint64_t>();
  message.is_postcopy = input.ConsumeBool();
  message.has_memory = input.ConsumeBool();
  const auto letters = [&] {
    std::string text = input.ConsumeRandomLengthString(64);
    for (char& each : text) each = static_cast<char>(each & 0x7f);
    return text;
  };
  message.id = letters();
  message.vm = letters();
  message.text = letters();
  const auto again = daemon::parse_peer_message(daemon::encode(message));
  require(again && *again == message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  switch (input.ConsumeIntegralInRange<int>(0, 3)) {
    case 0:
      hostile_frames(input);
      break;
    case 1:
      honest_pair(input);
      break;
    case 2:
      any_text(input);
      break;
    default:
      any_message(input);
  }
  return 0;
}
