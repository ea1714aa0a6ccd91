// Replies that are sent with one system call: their headers, and slices that point into shared
// chunks. SOURCE: NetworkBlockDevice/nbd, doc/proto.md, "Simple reply message", "Structured reply
// chunk message".
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "disk/block_device.h"
#include "export/nbd_protocol.h"
#include "os/socket.h"

namespace forerun::nbd {

// One thread. No allocation in steady state.
class ReplyBatch {
 public:
  static constexpr size_t kReplies = 64;
  static constexpr size_t kParts = 128;
  static constexpr size_t kBytes = 256 * kKiB;

  ReplyBatch();

  // Where the data of inline reads is gathered; kept until clear().
  disk::ReadSlices& data() { return data_; }

  // REQUIRES for each add: !is_full().
  void add_simple(uint64_t cookie, uint32_t error);
  // An error of a command whose success would be structured.
  void add_error_chunk(uint64_t cookie, uint32_t error);
  void add_read(uint64_t cookie, uint64_t offset, size_t length, std::span<const ByteView> slices,
                bool structured);
  // Copies the extents. At most one a batch: it is full afterwards.
  void add_status(uint64_t cookie, std::span<const disk::StatusExtent> extents);

  bool empty() const { return parts_.empty(); }
  bool is_full() const {
    return reply_count_ >= kReplies || parts_.size() >= kParts || bytes_ >= kBytes || has_status_;
  }
  size_t reply_count() const { return reply_count_; }
  // Sends all and forgets it.
  Status send(os::ByteStream& stream);
  void clear();

 private:
  static constexpr size_t kHeaderBytes = 28;  // of a chunk with data; the largest

  std::byte* add_header(size_t bytes);
  std::byte* add_chunk(uint64_t cookie, uint16_t type, uint32_t payload_bytes, size_t inline_bytes);
  void add_part(ByteView part);

  disk::ReadSlices data_;
  std::array<std::array<std::byte, kHeaderBytes>, kReplies> headers_;
  std::vector<iovec> parts_;
  Buffer status_;
  size_t reply_count_ = 0;
  size_t bytes_ = 0;
  bool has_status_ = false;
};

}  // namespace forerun::nbd
