#include "repository/delta.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/codec.h"
#include "repository/zstd_frame.h"

namespace forerun::repository {
namespace {

constexpr std::byte kCodecDelta{2};
constexpr size_t kHeaderBytes = 2;  // codec, count
// The edits before the bytes: a copy that is worth it is 16 bytes long and takes 3 to 8.
constexpr size_t kControlBytesMax = kChunkSize / 2;
// Measured on rebuilt programs of 2 and 47 MB: 19 packs 4 % better than 12; content is packed once.
constexpr int kPackLevel = 19;
// A shorter match costs more to say than it saves. 8, 12 and 24 packed worse than 16.
constexpr size_t kMatchMin = 16;
constexpr size_t kKeyBytes = 8;
constexpr size_t kChainMax = 64;
// A copy goes on over bytes that differ until these cost it so much of what it gained.
constexpr long kDriftMax = 40;

std::unexpected<Error> corrupt(const ChunkRef& ref, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("delta of chunk {} {}", ref.id.hex(), what));
}

uint64_t zigzag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}
int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

// Seven bits a byte, the lowest first, as in a component's index.
void append_number(Buffer& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<std::byte>(value | 128));
  out.push_back(static_cast<std::byte>(value));
}

Buffer join(std::span<const ChunkPtr> bases) {
  Buffer all;
  for (const ChunkPtr& basis : bases)
    all.insert(all.end(), basis->content.begin(), basis->content.end());
  return all;
}

// Where each eight bytes of the bases stand.
class Places {
 public:
  explicit Places(ByteView bases) : bases_(bases), heads_(1u << kHashBits, kNone) {
    previous_.resize(bases.size(), kNone);
    for (size_t at = 0; at + kKeyBytes <= bases.size(); ++at) {
      uint32_t& head = heads_[hash(&bases[at])];
      previous_[at] = head;
      head = static_cast<uint32_t>(at);
    }
  }

  struct Match {
    size_t at = 0, length = 0;
  };
  // Returns the longest run of the bases that `wanted` begins with; of equal ones that at
  // `expected`.
  Match longest(ByteView wanted, size_t expected) const {
    Match best;
    const auto consider = [&](size_t at) {
      const size_t limit = std::min(wanted.size(), bases_.size() - at);
      size_t length = 0;
      while (length < limit && wanted[length] == bases_[at + length]) ++length;
      if (length > best.length) best = {at, length};
    };
    if (wanted.size() < kKeyBytes) return best;
    if (expected < bases_.size()) consider(expected);
    size_t steps = 0;
    for (uint32_t at = heads_[hash(wanted.data())]; at != kNone && steps < kChainMax;
         at = previous_[at], ++steps)
      consider(at);
    return best;
  }

 private:
  static constexpr unsigned kHashBits = 16;
  static constexpr uint32_t kNone = UINT32_MAX;
  static size_t hash(const std::byte* at) {
    uint64_t key = 0;
    std::memcpy(&key, at, sizeof key);
    return key * 0x9E3779B97F4A7C15ull >> (64 - kHashBits);
  }

  ByteView bases_;
  std::vector<uint32_t> heads_;
  std::vector<uint32_t> previous_;
};

// What the frame holds: how many copies, of each three numbers, then the differences of all copies,
// then the literals: as many bytes as the content has.
class Edits {
 public:
  Edits(ByteView content, ByteView bases) : content_(content), bases_(bases) {}

  Buffer find() {
    const Places places(bases_);
    for (size_t at = 0; at + kMatchMin <= content_.size();) {
      const auto match = places.longest(content_.subspan(at), base_end_ + (at - end_));
      if (match.length < kMatchMin) {
        ++at;
        continue;
      }
      at = copy(at, match);
    }
    literals_.insert(literals_.end(), content_.begin() + static_cast<ptrdiff_t>(end_),
                     content_.end());
    Buffer all;
    append_number(all, copies_);
    all.insert(all.end(), control_.begin(), control_.end());
    all.insert(all.end(), differences_.begin(), differences_.end());
    all.insert(all.end(), literals_.begin(), literals_.end());
    return all;
  }

 private:
  // Extends a match both ways over bytes that differ, as long as more are equal; returns its end.
  size_t copy(size_t at, const Places::Match& match) {
    size_t back = 0, length = match.length;
    long score = 0, best = 0;
    for (size_t n = 1; n <= std::min(at - end_, match.at); ++n) {
      score += content_[at - n] == bases_[match.at - n] ? 1 : -1;
      if (score > best) best = score, back = n;
    }
    score = best = 0;
    const size_t limit = std::min(content_.size() - at, bases_.size() - match.at);
    for (size_t n = match.length; n < limit && score >= best - kDriftMax; ++n) {
      score += content_[at + n] == bases_[match.at + n] ? 1 : -1;
      if (score > best) best = score, length = n + 1;
    }
    const size_t from = match.at - back, to = at - back;
    length += back;
    append_number(control_, to - end_);
    append_number(control_, length);
    append_number(control_, zigzag(static_cast<int64_t>(from) - static_cast<int64_t>(base_end_)));
    literals_.insert(literals_.end(), content_.begin() + static_cast<ptrdiff_t>(end_),
                     content_.begin() + static_cast<ptrdiff_t>(to));
    for (size_t n = 0; n < length; ++n)
      differences_.push_back(static_cast<std::byte>(std::to_integer<int>(content_[to + n]) -
                                                    std::to_integer<int>(bases_[from + n])));
    ++copies_;
    base_end_ = from + length;
    end_ = to + length;
    return end_;
  }

  const ByteView content_, bases_;
  Buffer control_, differences_, literals_;
  uint64_t copies_ = 0;
  size_t end_ = 0;       // of the content that is said
  size_t base_end_ = 0;  // of the copy before
};

// Makes the content of the edits. Every number is held against what is left before it is used.
class Replay {
 public:
  Replay(const ChunkRef& ref, ByteView edits, ByteView bases)
      : ref_(ref), edits_(edits), bases_(bases), control_end_(edits.size() - ref.size) {}

  Status into(MutableByteView out) {
    FR_CHECK(read_copies(out.size()));
    ByteView differences = edits_.subspan(at_, copied_);
    ByteView literals = edits_.subspan(at_ + copied_);
    size_t done = 0;
    const auto take = [&](size_t count) {
      std::copy_n(literals.begin(), count, out.begin() + static_cast<ptrdiff_t>(done));
      literals = literals.subspan(count);
      done += count;
    };
    for (const Copy& copy : copies_) {
      take(copy.literals);
      for (size_t n = 0; n < copy.length; ++n)
        out[done + n] = static_cast<std::byte>(std::to_integer<int>(bases_[copy.from + n]) +
                                               std::to_integer<int>(differences[n]));
      differences = differences.subspan(copy.length);
      done += copy.length;
    }
    take(literals.size());
    return {};
  }

 private:
  struct Copy {
    size_t literals, length, from;
  };

  Result<uint64_t> number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      if (at_ == control_end_) return corrupt(ref_, "ends within its edits");
      const auto byte = std::to_integer<uint64_t>(edits_[at_++]);
      if (shift > 0 && byte == 0) return corrupt(ref_, "holds a number that is too long");
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    return corrupt(ref_, "holds a number that is too large");
  }

  Status read_copies(size_t size) {
    constexpr size_t kCopyBytesMin = 3;
    FR_TRY(const uint64_t count, number());
    if (count > (control_end_ - at_) / kCopyBytesMin)
      return corrupt(ref_, "claims copies that do not follow");
    copies_.reserve(count);
    size_t done = 0;
    int64_t from = 0;
    for (uint64_t i = 0; i < count; ++i) {
      FR_TRY(const uint64_t literals, number());
      if (literals > size - done) return corrupt(ref_, "has literals past its end");
      done += literals;
      FR_TRY(const uint64_t length, number());
      if (length == 0 || length > size - done) return corrupt(ref_, "has a copy past its end");
      done += length;
      FR_TRY(const uint64_t distance, number());
      from += unzigzag(distance);
      if (from < 0 || static_cast<uint64_t>(from) > bases_.size() ||
          length > bases_.size() - static_cast<uint64_t>(from))
        return corrupt(ref_, "copies what its bases do not have");
      copies_.push_back({literals, length, static_cast<size_t>(from)});
      from += static_cast<int64_t>(length);
      copied_ += length;
    }
    if (at_ != control_end_) return corrupt(ref_, "has bytes between its edits");
    return {};
  }

  const ChunkRef& ref_;
  const ByteView edits_, bases_;
  const size_t control_end_;
  size_t at_ = 0;
  size_t copied_ = 0;
  std::vector<Copy> copies_;
};

size_t header_size(size_t base_count) { return kHeaderBytes + base_count * kBasisRefBytes; }

}  // namespace

std::optional<Buffer> pack_delta(ByteView content, std::span<const ChunkPtr> bases,
                                 size_t stored_max) {
  FR_ASSERT(!content.empty() && content.size() <= kChunkSize && stored_max <= kStoredSizeMax);
  FR_ASSERT(!bases.empty() && bases.size() <= kBasesMax);
  const Buffer all = join(bases);
  const Buffer edits = Edits(content, all).find();
  if (edits.size() > content.size() + kControlBytesMax) return std::nullopt;
  const Buffer frame = pack_frame(edits, kPackLevel);
  if (header_size(bases.size()) + frame.size() > stored_max) return std::nullopt;
  ByteWriter out;
  out.u8(std::to_integer<uint8_t>(kCodecDelta));
  out.u8(static_cast<uint8_t>(bases.size()));
  for (const ChunkPtr& basis : bases) {
    out.bytes(std::as_bytes(std::span(basis->id.bytes)));
    out.u32(static_cast<uint32_t>(basis->content.size()));
  }
  out.bytes(frame);
  return out.take();
}

Result<std::vector<ChunkRef>> read_bases(const ChunkRef& ref, ByteView stored) {
  if (stored.size() > kStoredSizeMax) return corrupt(ref, "is too long");
  if (stored.size() < kHeaderBytes || stored[0] != kCodecDelta) return corrupt(ref, "is no delta");
  ByteReader header(stored.subspan(1));
  const size_t count = header.u8();
  if (count == 0 || count > kBasesMax)
    return corrupt(ref, fmt::format("names {} bases; 1 to {} are possible", count, kBasesMax));
  if (stored.size() <= header_size(count)) return corrupt(ref, "is cut off");
  std::vector<ChunkRef> bases;
  for (size_t i = 0; i < count; ++i) {
    ChunkRef& basis = bases.emplace_back();
    const ByteView id = header.bytes(basis.id.bytes.size());
    std::memcpy(basis.id.bytes.data(), id.data(), id.size());
    basis.size = header.u32();
    basis.stored_size = basis.size + kStoredHeaderSize;
    if (basis.size == 0 || basis.size > kChunkSize)
      return corrupt(ref, fmt::format("names a basis of {} bytes", basis.size));
    if (basis.id == ChunkId{} || basis.id == ref.id)
      return corrupt(ref, "names itself or nothing as a basis");
    if (std::ranges::count(bases, basis.id, &ChunkRef::id) > 1)
      return corrupt(ref, "names a basis twice");
  }
  return bases;
}

Result<ChunkPtr> decode_delta(const ChunkRef& ref, ByteView stored,
                              std::span<const ChunkPtr> bases) {
  if (ref.size == 0 || ref.size > kChunkSize)
    return corrupt(ref, fmt::format("is said to hold {} bytes", ref.size));
  FR_TRY(const std::vector<ChunkRef> named, read_bases(ref, stored));
  const bool are_those =
      std::ranges::equal(named, bases, [](const ChunkRef& name, const ChunkPtr& basis) {
        return basis && basis->id == name.id && basis->content.size() == name.size;
      });
  if (!are_those) return corrupt(ref, "was given other bases than it names");
  const ByteView frame = stored.subspan(header_size(named.size()));
  const auto edits_size = frame_content_size(frame);
  if (!edits_size) return corrupt(ref, edits_size.error().message);
  if (*edits_size <= ref.size || *edits_size > ref.size + kControlBytesMax)
    return corrupt(ref, fmt::format("has {} bytes of edits for {}", *edits_size, ref.size));
  Buffer edits(*edits_size);
  if (const Status unpacked = unpack_frame(frame, edits); !unpacked)
    return corrupt(ref, unpacked.error().message);
  auto chunk = std::make_shared<Chunk>();
  chunk->id = ref.id;
  chunk->content.resize(ref.size);
  const Buffer all = join(bases);
  FR_CHECK(Replay(ref, edits, all).into(chunk->content));
  if (!verify_content(ref.id, chunk->content)) {
    std::string names;
    for (const ChunkRef& basis : named) names += (names.empty() ? "" : ", ") + basis.id.hex();
    return corrupt(ref, fmt::format("is not what its name says, told by {}", names));
  }
  return chunk;
}

}  // namespace forerun::repository
