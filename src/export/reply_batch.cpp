#include "export/reply_batch.h"

namespace forerun::nbd {

ReplyBatch::ReplyBatch() {
  parts_.reserve(2 * kParts);
  data_.slices.reserve(2 * kParts);
  data_.owners.reserve(2 * kParts);
}

std::byte* ReplyBatch::add_header(size_t bytes) {
  FR_ASSERT(reply_count_ < kReplies, "a reply to a full batch");
  std::byte* header = headers_[reply_count_++].data();
  add_part({header, bytes});
  return header;
}

void ReplyBatch::add_part(ByteView part) {
  parts_.push_back({const_cast<std::byte*>(part.data()), part.size()});
  bytes_ += part.size();
}

void ReplyBatch::add_simple(uint64_t cookie, uint32_t error) {
  std::byte* header = add_header(kSimpleReplyBytes);
  store_be(header, kSimpleReplyMagic);
  store_be(header + 4, error);
  store_be(header + 8, cookie);
}

// Adds the header of the only, so the last, chunk of a reply, with room for the first
// `inline_bytes` of its payload.
std::byte* ReplyBatch::add_chunk(uint64_t cookie, uint16_t type, uint32_t payload_bytes,
                                 size_t inline_bytes) {
  std::byte* header = add_header(kChunkHeaderBytes + inline_bytes);
  store_be(header, kStructuredReplyMagic);
  store_be(header + 4, kChunkDone);
  store_be(header + 6, type);
  store_be(header + 8, cookie);
  store_be(header + 16, payload_bytes);
  return header + kChunkHeaderBytes;
}

void ReplyBatch::add_error_chunk(uint64_t cookie, uint32_t error) {
  std::byte* payload = add_chunk(cookie, kChunkError, 6, 6);
  store_be(payload, error);
  store_be(payload + 4, uint16_t{0});  // no message: the number says it
}

void ReplyBatch::add_read(uint64_t cookie, uint64_t offset, size_t length,
                          std::span<const ByteView> slices, bool structured) {
  if (!structured) {
    add_simple(cookie, kOk);
  } else if (length == 0) {
    add_chunk(cookie, kChunkNone, 0, 0);
  } else {
    std::byte* payload =
        add_chunk(cookie, kChunkOffsetData, static_cast<uint32_t>(sizeof offset + length), 8);
    store_be(payload, offset);
  }
  for (const ByteView& slice : slices)
    if (!slice.empty()) add_part(slice);
}

void ReplyBatch::add_status(uint64_t cookie, std::span<const disk::StatusExtent> extents) {
  status_.resize(extents.size() * 8);
  std::byte* at = status_.data();
  for (const disk::StatusExtent& extent : extents) {
    store_be(at, static_cast<uint32_t>(extent.length));
    store_be(at + 4, (extent.is_hole ? kStateHole : 0u) | (extent.is_zero ? kStateZero : 0u));
    at += 8;
  }
  std::byte* payload =
      add_chunk(cookie, kChunkBlockStatus, static_cast<uint32_t>(4 + status_.size()), 4);
  store_be(payload, kBaseAllocationId);
  add_part(status_);
  has_status_ = true;  // a second one would move the first one's bytes
}

Status ReplyBatch::send(os::ByteStream& stream) {
  Status sent = stream.write_all(parts_);
  clear();
  return sent;
}

void ReplyBatch::clear() {
  data_.clear();
  parts_.clear();
  reply_count_ = 0;
  bytes_ = 0;
  has_status_ = false;
}

}  // namespace forerun::nbd
