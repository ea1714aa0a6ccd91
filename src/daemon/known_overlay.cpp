#include "daemon/known_overlay.h"

#include "core/log.h"

namespace forerun::daemon {
namespace {

using disk::BlockState;
using disk::kOverlayBlockSize;
using repository::kChunkSize;

}  // namespace

Result<std::vector<Digest>> part_digests(disk::OverlaySource& source,
                                         const disk::OverlayContents& contents, ByteRange range) {
  if (range.offset % kChunkSize != 0 || range.length > kDigestsRange ||
      !fits(range, contents.size_bytes) ||
      (range.length % kChunkSize != 0 && range.end() != contents.size_bytes))
    return fail(ErrorCode::kInvalid, "no such parts");
  std::vector<Digest> digests;
  auto run = contents.runs.begin();
  Buffer content;
  for (uint64_t at = range.offset; at < range.end(); at += kChunkSize) {
    const ByteRange part = intersect({at, kChunkSize}, range);
    content.assign(part.length, std::byte{0});
    while (run != contents.runs.end() && run->end() * kOverlayBlockSize <= part.offset) ++run;
    for (auto each = run;
         each != contents.runs.end() && each->first * kOverlayBlockSize < part.end(); ++each) {
      if (each->state != BlockState::kData) continue;
      const ByteRange piece =
          intersect({each->first * kOverlayBlockSize, each->count * kOverlayBlockSize}, part);
      FR_CHECK(source.read(
          piece, MutableByteView(content).subspan(piece.offset - part.offset, piece.length),
          iosched::IoClass::kBackground));
    }
    digests.push_back(sha256(content));
  }
  return digests;
}

KnownOverlay::KnownOverlay(std::shared_ptr<DigestSource> source, CheckpointStore& store,
                           const disk::CheckpointIndex& index)
    : source_(std::move(source)), store_(store), disk_bytes_(index.disk_bytes) {
  for (const auto& part : index.parts)
    if (!part.chunk.is_zero()) parts_.emplace(part.number, part.chunk);
}

KnownOverlay::~KnownOverlay() {
  log::info("{} KiB of a disk that came were here already{}", known_bytes_ >> 10,
            failed_ > 0 ? fmt::format("; {} parts of it could not be read", failed_.load()) : "");
}

Result<disk::OverlayContents> KnownOverlay::contents() {
  FR_TRY(auto contents, source_->contents());
  if (contents.size_bytes == disk_bytes_) pull_id_ = contents.pull_id;
  return contents;
}

Result<uint64_t> KnownOverlay::read(ByteRange range, MutableByteView out,
                                    iosched::IoClass io_class) {
  // A guest that waits is not to wait for digests.
  if (read_known(range, out, io_class != iosched::IoClass::kCritical)) {
    known_bytes_ += range.length;
    return disk::piece_checksum(pull_id_, range.offset, out);
  }
  return source_->read(range, out, io_class);
}

bool KnownOverlay::read_known(ByteRange range, MutableByteView out, bool may_ask) {
  if (pull_id_ == 0 || range.empty() || !fits(range, disk_bytes_)) return false;
  for (uint64_t number = range.offset / kChunkSize; number * kChunkSize < range.end(); ++number) {
    const repository::ChunkRef* const chunk = same_part(number, may_ask);
    if (chunk == nullptr) return false;
    const auto content = store_.get(*chunk);
    const ByteRange piece = intersect({number * kChunkSize, kChunkSize}, range);
    if (!content || piece.end() - number * kChunkSize > content->size()) {
      ++failed_;
      return false;
    }
    std::copy_n(content->begin() + static_cast<ptrdiff_t>(piece.offset - number * kChunkSize),
                piece.length, out.begin() + static_cast<ptrdiff_t>(piece.offset - range.offset));
  }
  return true;
}

const repository::ChunkRef* KnownOverlay::same_part(uint64_t number, bool may_ask) {
  const auto part = parts_.find(number);
  if (part == parts_.end()) return nullptr;
  const uint64_t window = number * kChunkSize / kDigestsRange;
  bool asks = false;
  {
    const std::lock_guard lock(mutex_);
    asks = may_ask && windows_.insert(window).second;
  }
  if (asks) ask(window);
  const std::lock_guard lock(mutex_);
  const auto digest = digests_.find(number);
  return digest != digests_.end() && digest->second == part->second.id ? &part->second : nullptr;
}

// Whoever wants a part of it meanwhile reads it from the other host.
void KnownOverlay::ask(uint64_t window) {
  const ByteRange range = intersect({window * kDigestsRange, kDigestsRange}, {0, disk_bytes_});
  const auto digests = source_->digests(range);
  if (!digests) return log::info("the parts of a disk that comes: {}", digests.error().message);
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < digests->size(); ++i)
    digests_[window * kDigestsRange / kChunkSize + i] = (*digests)[i];
}

}  // namespace forerun::daemon
