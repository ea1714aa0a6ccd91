// SOURCE: docs/format_index.md.
#include "repository/image_index.h"

#include <fmt/format.h>

#include <unordered_set>

#include "core/codec.h"

namespace forerun::repository {
namespace {

constexpr std::string_view kMagic = "FRINDEX\n";
constexpr uint16_t kVersion = 1;
constexpr size_t kHeaderSize = 8 + 2 + 2 + 4 + 8;
constexpr size_t kEntrySize = 32 + 4;
constexpr uint32_t kStoredRun = 1u << 31;
constexpr uint32_t kRunCountMax = kStoredRun - 1;

std::unexpected<Error> corrupt(size_t offset, std::string_view what) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("the image index is malformed at byte {}: {}", offset, what));
}

// Returns how much content chunk `number` of an image has: a whole chunk but for the last.
uint32_t content_size(uint64_t image_size, uint64_t number) {
  return static_cast<uint32_t>(std::min<uint64_t>(kChunkSize, image_size - number * kChunkSize));
}

class IndexParser {
 public:
  IndexParser(ByteView data, uint64_t image_size_max)
      : reader_(data), total_(data.size()), image_size_max_(image_size_max) {}

  Result<ImageIndex> parse() {
    FR_CHECK(parse_header());
    count_ = chunk_count(index_.size_bytes);
    // Chunks that are stored take bytes in `data`; only runs of zeroes grow beyond them, up to
    // image_size_max_.
    index_.chunks.reserve(std::min<uint64_t>(count_, total_ / kEntrySize));
    while (index_.chunks.size() < count_) FR_CHECK(parse_run());
    if (reader_.left() != 0) return corrupt(here(), "bytes follow the last chunk");
    return std::move(index_);
  }

 private:
  size_t here() const { return total_ - reader_.left(); }

  Status parse_header() {
    if (total_ < kHeaderSize) return corrupt(total_, "it ends within the header");
    if (as_text(reader_.bytes(kMagic.size())) != kMagic)
      return corrupt(0, "it does not start as an index does");
    const uint16_t version = reader_.u16();
    if (version != kVersion) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the image index has version {}; this program reads version {}",
                              version, kVersion));
    }
    if (reader_.u16() != 0) return corrupt(10, "reserved bits are set");
    if (const uint32_t size = reader_.u32(); size != kChunkSize) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the image index has chunks of {} bytes, not {}", size, kChunkSize));
    }
    index_.size_bytes = reader_.u64();
    if (index_.size_bytes == 0) return corrupt(16, "the image is empty");
    if (index_.size_bytes > image_size_max_) {
      return fail(ErrorCode::kTooLarge, fmt::format("the image has {} bytes; the limit is {}",
                                                    index_.size_bytes, image_size_max_));
    }
    return {};
  }

  Status parse_run() {
    const size_t start = here();
    const uint32_t word = reader_.u32();
    if (!reader_.good()) return corrupt(start, "it ends before its last chunk");
    const bool stored = (word & kStoredRun) != 0;
    const uint64_t run = word & ~kStoredRun;
    if (run == 0) return corrupt(start, "an empty run");
    if (run > count_ - index_.chunks.size())
      return corrupt(start, "a run passes the end of the image");
    if (previous_ && previous_->stored == stored && previous_->count != kRunCountMax) {
      return corrupt(start, "two runs that should be one");
    }
    previous_ = Run{stored, run};
    return stored ? parse_stored(run) : append_zeroes(run);
  }

  Status append_zeroes(uint64_t run) {
    const uint64_t first = index_.chunks.size();
    index_.chunks.resize(first + run, ChunkRef{{}, kChunkSize, 0});
    index_.chunks.back().size = content_size(index_.size_bytes, first + run - 1);
    return {};
  }

  Status parse_stored(uint64_t run) {
#ifndef FORERUN_PLANT_BUG_INDEX  // set by fuzz/index/prove.sh only
    if (run > reader_.left() / kEntrySize)
      return corrupt(here(), "a run has more chunks than bytes follow");
#endif
    for (uint64_t i = 0; i < run; ++i) {
      const size_t start = here();
      ChunkRef& ref = index_.chunks.emplace_back();
      const ByteView id = reader_.bytes(ref.id.bytes.size());
      std::memcpy(ref.id.bytes.data(), id.data(), ref.id.bytes.size());  // checked above
      ref.stored_size = reader_.u32();
      ref.size = content_size(index_.size_bytes, index_.chunks.size() - 1);
      if (ref.id == ChunkId{}) return corrupt(start, "a stored chunk has no name");
      if (ref.stored_size <= kStoredHeaderSize || ref.stored_size > ref.size + kStoredHeaderSize) {
        return corrupt(start + ref.id.bytes.size(),
                       fmt::format("a chunk of {} bytes is said to be stored in {}", ref.size,
                                   ref.stored_size));
      }
    }
    return {};
  }

  struct Run {
    bool stored;
    uint64_t count;
  };

  ByteReader reader_;
  const size_t total_;
  const uint64_t image_size_max_;
  uint64_t count_ = 0;
  std::optional<Run> previous_;
  ImageIndex index_;
};

}  // namespace

uint64_t ImageIndex::stored_bytes() const {
  std::unordered_set<ChunkId> seen;
  uint64_t total = 0;
  for (const ChunkRef& chunk : chunks) {
    if (!chunk.is_zero() && seen.insert(chunk.id).second) total += chunk.stored_size;
  }
  return total;
}

Buffer serialize(const ImageIndex& index) {
  FR_ASSERT(index.chunks.size() == chunk_count(index.size_bytes));
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u16(kVersion);
  out.u16(0);
  out.u32(kChunkSize);
  out.u64(index.size_bytes);
  for (size_t first = 0; first < index.chunks.size();) {
    const bool zero = index.chunks[first].is_zero();
    size_t end = first + 1;
    while (end < index.chunks.size() && index.chunks[end].is_zero() == zero &&
           end - first < kRunCountMax)
      ++end;
    out.u32(static_cast<uint32_t>(end - first) | (zero ? 0 : kStoredRun));
    for (; first < end; ++first) {
      if (zero) continue;
      const ChunkRef& ref = index.chunks[first];
      out.bytes(std::as_bytes(std::span(ref.id.bytes)));
      out.u32(ref.stored_size);
    }
  }
  return out.take();
}

Result<ImageIndex> parse_index(ByteView data, uint64_t image_size_max) {
  return IndexParser(data, image_size_max).parse();
}

}  // namespace forerun::repository
