#include "lab/link.h"

namespace forerun::lab {
namespace {

// linux/virtio_net.h: flags, gso_type, hdr_len (le16), gso_size (le16), csum_start, csum_offset.
constexpr size_t kGsoTypeAt = 1, kHeaderLengthAt = 2, kGsoSizeAt = 4;
constexpr uint64_t kUsualHeaderBytes = 66;  // Ethernet, IPv4, TCP with time stamps
// What a guest says outside of these is not believed: it would buy itself a wire for hours.
constexpr uint64_t kHeaderBytesMax = 512, kSegmentBytesMin = 256;

uint64_t le16(ByteView bytes, size_t at) {
  return std::to_integer<uint64_t>(bytes[at]) | std::to_integer<uint64_t>(bytes[at + 1]) << 8;
}

}  // namespace

uint64_t wire_bytes(ByteView frame) {
  const uint64_t bytes = frame.size() - kVnetHeaderBytes;
  const uint64_t segment_bytes = le16(frame, kGsoSizeAt);
  if (frame[kGsoTypeAt] == std::byte{0} || segment_bytes < kSegmentBytesMin) return bytes;
  uint64_t header_bytes = le16(frame, kHeaderLengthAt);
  if (header_bytes < kEthernetHeaderBytes || header_bytes > kHeaderBytesMax)
    header_bytes = kUsualHeaderBytes;
  if (header_bytes >= bytes) return bytes;
  const uint64_t segments = (bytes - header_bytes + segment_bytes - 1) / segment_bytes;
  return bytes + (segments - 1) * header_bytes;
}

uint64_t default_queue_bytes(uint64_t rate_bytes_per_s) {
  return std::clamp(rate_bytes_per_s / 20, 256 * kKiB, kLinkQueueMax);
}

Time Link::end_of_first() const {
  const Waiting& first = waiting_.front();
  const Time begin = std::max(free_at_, first.arrived);
  if (settings_.rate_bytes_per_s == 0) return begin;
  // Rounded up, so that a rate is never passed. A frame has under 2^24 bytes on the wire.
  const uint64_t rate = settings_.rate_bytes_per_s;
  return begin + Nanos((first.bytes * 1'000'000'000 + rate - 1) / rate);
}

void Link::advance(Time now) {
  while (!waiting_.empty()) {
    const Time end = end_of_first();
    if (end > now) return;
    Time due = end + settings_.delay;
    if (!travelling_.empty()) due = std::max(due, travelling_.back().due);  // no overtaking
    Waiting& first = waiting_.front();
    waiting_bytes_ -= first.bytes;
    if (travelling_bytes_ + first.bytes > kLinkFlightMax) {
      ++counters_.dropped;
    } else {
      travelling_bytes_ += first.bytes;
      travelling_.push_back({std::move(first.frame), first.bytes, due});
    }
    waiting_.pop_front();
    free_at_ = end;
  }
}

void Link::set(const LinkSettings& settings, Time now) {
  advance(now);
  settings_ = settings;
  if (settings_.is_up) return;
  counters_.cut += waiting_.size() + travelling_.size();
  waiting_.clear();
  travelling_.clear();
  waiting_bytes_ = travelling_bytes_ = 0;
}

void Link::send(Frame frame, Time now) {
  advance(now);
  if (!settings_.is_up) {
    ++counters_.cut;
    return;
  }
  const uint64_t bytes = wire_bytes(*frame);
  const uint64_t bytes_max = settings_.queue_bytes_max != 0
                                 ? settings_.queue_bytes_max
                                 : default_queue_bytes(settings_.rate_bytes_per_s);
  // A frame larger than the whole queue passes if it is alone: it would never otherwise.
  if (!waiting_.empty() && waiting_bytes_ + bytes > bytes_max) {
    ++counters_.dropped;
    return;
  }
  waiting_bytes_ += bytes;
  waiting_.push_back({std::move(frame), bytes, now});
  advance(now);
}

std::optional<Frame> Link::take(Time now) {
  advance(now);
  if (travelling_.empty() || travelling_.front().due > now) return std::nullopt;
  Travelling first = std::move(travelling_.front());
  travelling_.pop_front();
  travelling_bytes_ -= first.bytes;
  ++counters_.frames;
  counters_.bytes += first.bytes;
  return std::move(first.frame);
}

Time Link::next() const {
  const Time serialised = waiting_.empty() ? kTimeNever : end_of_first();
  return travelling_.empty() ? serialised : std::min(serialised, travelling_.front().due);
}

}  // namespace forerun::lab
