#include "daemon/checkpoint_copies.h"

#include <unordered_set>

#include "core/big_endian.h"
#include "core/log.h"

namespace forerun::daemon {
namespace {

using net::PeerChannel;
using repository::ChunkRef;

constexpr Nanos kAnswerTimeout = std::chrono::seconds(60);
constexpr size_t kIndexBytesMax = 64 << 20;  // of memory and a disk of some hundred GiB

// Returns the chunks of a checkpoint, each once, in the order both hosts count them.
std::vector<ChunkRef> chunks_of(const disk::CheckpointIndex& index) {
  std::vector<ChunkRef> chunks;
  std::unordered_set<ChunkId> seen;
  for_each_chunk(index, [&](const ChunkRef& chunk) {
    if (seen.insert(chunk.id).second) chunks.push_back(chunk);
  });
  return chunks;
}

// A bit for each, the first one the lowest of the first byte.
bool bit(const Buffer& bits, size_t at) {
  return (static_cast<uint8_t>(bits[at / 8]) >> (at % 8) & 1) != 0;
}

}  // namespace

Result<CopyFigures> send_checkpoint(net::PeerConnection& connection, CheckpointStore& store,
                                    const std::string& vm, uint64_t number,
                                    const CopyControl& control, const Clock& clock) {
  Buffer bytes;
  std::vector<ChunkRef> chunks;
  {
    const auto held = store.hold();
    FR_TRY(const auto index, store.load(vm, number));
    bytes = disk::serialize(index);
    chunks = chunks_of(index);
  }
  if (bytes.size() > kIndexBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("the index of checkpoint {} has {} MiB", number, bytes.size() >> 20));
  PeerMessage keep;
  keep.kind = PeerMessageKind::kKeep;
  keep.vm = vm;
  keep.checkpoint = number;
  keep.checkpoint_bytes = bytes.size();
  FR_CHECK(send(connection, keep));
  FR_CHECK(connection.write(PeerChannel::kForward, bytes));
  FR_CHECK(receive(connection, {PeerMessageKind::kLacks}, kAnswerTimeout));
  Buffer lacks((chunks.size() + 7) / 8);
  FR_CHECK(connection.read_exact(PeerChannel::kReturn, lacks));
  CopyFigures figures{.chunks = chunks.size()};
  uint64_t total = 0;
  for (size_t i = 0; i < chunks.size(); ++i) total += bit(lacks, i) ? chunks[i].stored_size : 0;
  const Time began = clock.now();
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (!bit(lacks, i)) continue;
    if (control.should_stop()) return fail(ErrorCode::kUnavailable, "it was called off");
    auto stored = store.get_stored(chunks[i]);
    if (!stored)
      return std::unexpected(
          std::move(stored.error()).within(fmt::format("checkpoint {} of VM {}", number, vm)));
    BigEndianWriter head;
    head.u32(static_cast<uint32_t>(stored->size()));
    FR_CHECK(connection.write(PeerChannel::kForward, head.view()));
    FR_CHECK(connection.write(PeerChannel::kForward, *stored));
    ++figures.chunks_sent;
    figures.sent_bytes += stored->size();
    control.report(figures.sent_bytes, total);
    if (control.rate_bytes_per_s == 0) continue;
    const auto due = std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(
        static_cast<double>(figures.sent_bytes) / static_cast<double>(control.rate_bytes_per_s)));
    if (const Nanos ahead = due - (clock.now() - began); ahead > Nanos::zero()) control.wait(ahead);
  }
  FR_CHECK(receive(connection, {PeerMessageKind::kKept}, kAnswerTimeout));
  return figures;
}

namespace {

Status take_chunks(net::PeerConnection& connection, CheckpointStore& store,
                   const std::vector<ChunkRef>& chunks, const Buffer& lacks) {
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (!bit(lacks, i)) continue;
    std::array<std::byte, 4> head;
    FR_CHECK(connection.read_exact(PeerChannel::kForward, head));
    const uint32_t length = BigEndianReader(head).u32();
    if (length == 0 || length > repository::kStoredSizeMax)
      return fail(ErrorCode::kCorrupt, fmt::format("a chunk of {} bytes", length));
    Buffer stored(length);
    FR_CHECK(connection.read_exact(PeerChannel::kForward, stored));
    ChunkRef ref = chunks[i];
    ref.stored_size = length;
    FR_TRY(const auto chunk, repository::decode_chunk(ref, stored));
    const auto held = store.hold();
    uint64_t stored_bytes = 0;
    FR_CHECK(store.put(chunk->content, stored_bytes));
  }
  return {};
}

}  // namespace

Status receive_checkpoint(net::PeerConnection& connection, CheckpointStore& store,
                          const std::string& host, const PeerMessage& asked) {
  if (asked.checkpoint_bytes > kIndexBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("the index of a checkpoint of {} bytes", asked.checkpoint_bytes));
  Buffer bytes(asked.checkpoint_bytes);
  FR_CHECK(connection.read_exact(PeerChannel::kForward, bytes));
  FR_TRY(const disk::CheckpointIndex index, disk::parse_checkpoint_index(bytes));
  if (index.vm != asked.vm || index.number != asked.checkpoint || index.number == 0)
    return fail(ErrorCode::kCorrupt, "the other host sent another checkpoint than it said");
  const CheckpointShelf shelf{asked.vm, host};
  const std::vector<ChunkRef> chunks = chunks_of(index);
  Buffer lacks((chunks.size() + 7) / 8);
  {
    const auto held = store.hold();
    FR_TRY(const auto lacking, store.begin_copy(shelf, index));
    std::unordered_set<ChunkId> ids;
    for (const ChunkRef& chunk : lacking) ids.insert(chunk.id);
    for (size_t i = 0; i < chunks.size(); ++i)
      if (ids.contains(chunks[i].id)) lacks[i / 8] |= static_cast<std::byte>(1u << (i % 8));
  }
  PeerMessage answer;
  answer.kind = PeerMessageKind::kLacks;
  Status came = send(connection, answer);
  if (came) came = connection.write(PeerChannel::kReturn, lacks);
  if (came) came = take_chunks(connection, store, chunks, lacks);
  {
    const auto held = store.hold();
    if (came)
      came = store.end_copy(shelf, index);
    else
      store.drop_copy(shelf);
  }
  FR_CHECK(came);
  // Now, rather than when it is needed.
  FR_CHECK(store.page_hashes(shelf, index));
  log::info("host {}: keeps checkpoint {} of VM {} here", host, index.number, index.vm);
  answer.kind = PeerMessageKind::kKept;
  return send(connection, answer);
}

}  // namespace forerun::daemon
