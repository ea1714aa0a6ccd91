#include "disk/checkpoint_index.h"

#include <fmt/format.h>

#include "core/codec.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kMagic = 0x316b436e75726546;  // "FerunCk1"
constexpr uint32_t kVersion = 1;
constexpr size_t kRefBytes = 40, kRunBytes = 16, kPartBytes = 8 + kRefBytes;

using repository::ChunkRef;
using repository::kChunkSize;

void write_blob(ByteView bytes, ByteWriter& out) {
  out.u64(bytes.size());
  out.bytes(bytes);
}

void write_ref(const ChunkRef& ref, ByteWriter& out) {
  out.bytes(std::as_bytes(std::span(ref.id.bytes)));
  out.u32(ref.size);
  out.u32(ref.stored_size);
}

// Reads with every count held against what is left.
class Reader {
 public:
  explicit Reader(ByteView bytes) : in_(bytes) {}
  bool good() const { return is_good_ && in_.good(); }
  bool is_done() const { return good() && in_.left() == 0; }
  uint32_t u32() { return in_.u32(); }
  uint64_t u64() { return in_.u64(); }
  Buffer blob() {
    const uint64_t size = count(1);
    const ByteView bytes = in_.bytes(size);
    return {bytes.begin(), bytes.end()};
  }
  std::string text() {
    const Buffer bytes = blob();
    return std::string(as_text(bytes));
  }
  uint64_t count(size_t each) {
    const uint64_t count = in_.u64();
    if (in_.good() && count <= in_.left() / each) return count;
    is_good_ = false;
    return 0;
  }
  ChunkRef ref() {
    ChunkRef ref;
    const ByteView id = in_.bytes(ref.id.bytes.size());
    if (!id.empty()) std::memcpy(ref.id.bytes.data(), id.data(), id.size());
    ref.size = in_.u32();
    ref.stored_size = in_.u32();
    is_good_ = is_good_ && ref.size > 0 && ref.size <= kChunkSize &&
               ref.stored_size <= repository::kStoredSizeMax;
    return ref;
  }
  Digest digest() {
    Digest digest;
    const ByteView bytes = in_.bytes(digest.bytes.size());
    if (!bytes.empty()) std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
    return digest;
  }
  void require(bool holds) { is_good_ = is_good_ && holds; }

 private:
  ByteReader in_;
  bool is_good_ = true;
};

void read_memory(Reader& in, CheckpointIndex& index) {
  const uint64_t blocks = in.count(1);
  for (uint64_t i = 0; in.good() && i < blocks; ++i) {
    CheckpointIndex::Memory memory;
    memory.name = in.text();
    memory.used_bytes = in.u64();
    const uint64_t chunks = in.count(kRefBytes);
    in.require(memory.name.size() <= 255 && memory.used_bytes % 4096 == 0 &&
               chunks == memory.used_bytes / kChunkSize + (memory.used_bytes % kChunkSize != 0));
    uint64_t left = memory.used_bytes;
    for (uint64_t k = 0; in.good() && k < chunks; ++k) {
      memory.chunks.push_back(in.ref());
      in.require(memory.chunks.back().size == std::min<uint64_t>(left, kChunkSize));
      left -= std::min<uint64_t>(left, kChunkSize);
    }
    index.memory.push_back(std::move(memory));
  }
}

void read_disk(Reader& in, CheckpointIndex& index) {
  index.disk_bytes = in.u64();
  index.base = in.digest();
  const uint64_t runs = in.count(kRunBytes);
  const uint64_t blocks = (index.disk_bytes + kOverlayBlockSize - 1) / kOverlayBlockSize;
  uint64_t at = 0;
  for (uint64_t i = 0; in.good() && i < runs; ++i) {
    const uint64_t packed = in.u64();
    const BlockRun run{packed >> 2, in.u64(), static_cast<BlockState>(packed & 3)};
    in.require((run.state == BlockState::kData || run.state == BlockState::kZero) &&
               run.first >= at && run.count > 0 && run.first <= blocks &&
               run.count <= blocks - run.first);
    at = run.end();
    index.runs.push_back(run);
  }
  const uint64_t parts = in.count(kPartBytes);
  uint64_t next = 0;
  for (uint64_t i = 0; in.good() && i < parts; ++i) {
    const uint64_t number = in.u64();
    const ChunkRef chunk = in.ref();
    in.require(number >= next && number < UINT64_MAX / kChunkSize &&
               fits({number * kChunkSize, chunk.size}, index.disk_bytes));
    next = number + 1;
    index.parts.push_back({number, chunk});
  }
}

}  // namespace

Buffer serialize(const CheckpointIndex& index) {
  ByteWriter out;
  out.u64(kMagic);
  out.u32(kVersion);
  out.u32(index.section);
  write_blob(as_bytes(index.vm), out);
  out.u64(index.number);
  out.u64(static_cast<uint64_t>(index.created_unix_seconds));
  out.u64(index.pause_us);
  out.u64(index.stored_bytes);
  write_blob(as_bytes(index.record), out);
  write_blob(index.head, out);
  write_blob(index.tail, out);
  out.u64(index.memory.size());
  for (const auto& memory : index.memory) {
    write_blob(as_bytes(memory.name), out);
    out.u64(memory.used_bytes);
    out.u64(memory.chunks.size());
    for (const ChunkRef& chunk : memory.chunks) write_ref(chunk, out);
  }
  out.u64(index.disk_bytes);
  out.bytes(std::as_bytes(std::span(index.base.bytes)));
  out.u64(index.runs.size());
  for (const BlockRun& run : index.runs) {
    out.u64(run.first << 2 | static_cast<uint64_t>(run.state));
    out.u64(run.count);
  }
  out.u64(index.parts.size());
  for (const auto& part : index.parts) {
    out.u64(part.number);
    write_ref(part.chunk, out);
  }
  const Digest digest = sha256(out.view());
  out.bytes(std::as_bytes(std::span(digest.bytes)));
  return out.take();
}

Result<CheckpointIndex> parse_checkpoint_index(ByteView bytes) {
  Digest told;
  if (bytes.size() < told.bytes.size()) return fail(ErrorCode::kCorrupt, "no checkpoint's index");
  const ByteView content = bytes.first(bytes.size() - told.bytes.size());
  std::memcpy(told.bytes.data(), bytes.data() + content.size(), told.bytes.size());
  Reader in(content);
  const uint64_t magic = in.u64();
  const uint32_t version = in.u32();
  if (!in.good() || magic != kMagic) return fail(ErrorCode::kCorrupt, "no checkpoint's index");
  if (version != kVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("a checkpoint's index of version {}; this program knows {}", version,
                            kVersion));
  }
  if (sha256(content) != told)
    return fail(ErrorCode::kCorrupt, "a checkpoint's index does not match its checksum");
  CheckpointIndex index;
  index.section = in.u32();
  index.vm = in.text();
  index.number = in.u64();
  index.created_unix_seconds = static_cast<int64_t>(in.u64());
  index.pause_us = in.u64();
  index.stored_bytes = in.u64();
  index.record = in.text();
  index.head = in.blob();
  index.tail = in.blob();
  read_memory(in, index);
  read_disk(in, index);
  if (!in.is_done()) return fail(ErrorCode::kCorrupt, "a checkpoint's index is damaged");
  return index;
}

}  // namespace forerun::disk
