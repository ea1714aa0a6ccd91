// What the store keeps for other hosts, and what a migration from there finds in it.
#include <fmt/format.h>

#include <unordered_set>

#include "core/codec.h"
#include "core/log.h"
#include "daemon/checkpoint_store.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr uint64_t kHashesMagic = 0x316750506e757246;  // "FrunPPg1"
constexpr size_t kHashesBytesMax = 1ull << 30;
constexpr std::string_view kHashesSuffix = ".pages";
constexpr std::string_view kPartialFile = "coming";

using migrate::kPageBytes;
using migrate::PageHash;

uint64_t pages_of(const disk::CheckpointIndex& index) {
  uint64_t pages = 0;
  for (const auto& memory : index.memory)
    for (const auto& chunk : memory.chunks) pages += chunk.is_zero() ? 0 : chunk.size / kPageBytes;
  return pages;
}

Buffer serialize_hashes(const std::vector<PageHash>& hashes) {
  ByteWriter out;
  out.u64(kHashesMagic);
  out.bytes(std::as_bytes(std::span(hashes)));
  const Digest digest = sha256(out.view());
  out.bytes(std::as_bytes(std::span(digest.bytes)));
  return out.take();
}

// Returns nothing where it is damaged, or not of that checkpoint: they can be made anew.
std::optional<std::vector<PageHash>> parse_hashes(ByteView bytes, uint64_t pages) {
  constexpr size_t kFrame = sizeof(uint64_t) + sizeof(Digest::bytes);
  if (bytes.size() != kFrame + pages * sizeof(PageHash)) return std::nullopt;
  const ByteView content = bytes.first(bytes.size() - sizeof(Digest::bytes));
  if (std::memcmp(sha256(content).bytes.data(), bytes.data() + content.size(),
                  sizeof(Digest::bytes)) != 0)
    return std::nullopt;
  ByteReader in(content);
  if (in.u64() != kHashesMagic) return std::nullopt;
  std::vector<PageHash> hashes(pages);
  const ByteView all = in.bytes(pages * sizeof(PageHash));
  std::copy(all.begin(), all.end(), std::as_writable_bytes(std::span(hashes)).begin());
  return hashes;
}

}  // namespace

std::string CheckpointStore::partial_path(const CheckpointShelf& shelf) const {
  return fmt::format("{}/{}", index_folder(shelf), kPartialFile);
}

Result<std::vector<CheckpointShelf>> CheckpointStore::copies() {
  std::vector<CheckpointShelf> all;
  const std::string folder = folder_ + "/copies";
  if (!os::path_exists(folder)) return all;
  FR_TRY(const auto hosts, os::list_folder(folder));
  for (const std::string& host : hosts) {
    FR_TRY(const auto vms, os::list_folder(folder + "/" + host));
    for (const std::string& vm : vms) all.push_back({vm, host});
  }
  return all;
}

Result<std::vector<CheckpointShelf>> CheckpointStore::shelves() {
  FR_TRY(auto all, copies());
  FR_TRY(const auto vms, os::list_folder(folder_ + "/vms"));
  for (const std::string& vm : vms) all.push_back({vm, ""});
  return all;
}

Result<std::vector<repository::ChunkRef>> CheckpointStore::begin_copy(
    const CheckpointShelf& shelf, const disk::CheckpointIndex& index) {
  FR_CHECK(os::make_folders(index_folder(shelf)));
  FR_CHECK(os::write_file_atomic(partial_path(shelf), serialize(index)));
  std::vector<repository::ChunkRef> lacking;
  std::unordered_set<ChunkId> seen;
  uint64_t bytes = 0;
  for_each_chunk(index, [&](const repository::ChunkRef& chunk) {
    if (!seen.insert(chunk.id).second) return;
    if (chunks_->contains(repository::chunk_path(chunk.id))) return;
    lacking.push_back(chunk);
    bytes += chunk.stored_size;
  });
  const auto free_bytes = os::free_bytes(folder_);
  if (free_bytes && *free_bytes > bytes) return lacking;
  drop_copy(shelf);
  FR_CHECK(free_bytes);
  return fail(ErrorCode::kNoSpace,
              fmt::format("the copy of a checkpoint takes {} MiB, {} has {} MiB left", bytes >> 20,
                          folder_, *free_bytes >> 20));
}

Status CheckpointStore::end_copy(const CheckpointShelf& shelf, const disk::CheckpointIndex& index) {
  Status whole;
  for_each_chunk(index, [&](const repository::ChunkRef& chunk) {
    if (whole && !chunks_->contains(repository::chunk_path(chunk.id)))
      whole =
          fail(ErrorCode::kCorrupt, fmt::format("the copy of checkpoint {} of VM {} lacks chunk {}",
                                                index.number, shelf.vm, chunk.id.short_hex()));
  });
  if (!whole) {
    drop_copy(shelf);
    return whole;
  }
  FR_CHECK(chunks_->flush());
  FR_TRY(auto old, list(shelf));
  FR_CHECK(os::write_file_atomic(index_path(shelf, index.number), serialize(index)));
  drop_copy(shelf);
  std::erase(old, index.number);
  return remove(shelf, old);
}

void CheckpointStore::drop_copy(const CheckpointShelf& shelf) {
  std::remove(partial_path(shelf).c_str());
}

Result<std::optional<CheckpointStore::Newest>> CheckpointStore::newest(const std::string& vm) {
  std::optional<Newest> newest;
  FR_TRY(const auto all, shelves());
  for (const CheckpointShelf& shelf : all) {
    if (shelf.vm != vm) continue;
    FR_TRY(const auto numbers, list(shelf));
    if (numbers.empty()) continue;
    auto index = load(shelf, numbers.back());
    if (!index) {
      log::warn("{}", index.error().message);
      continue;
    }
    if (!newest || newest->index.created_unix_seconds < index->created_unix_seconds)
      newest = Newest{shelf, std::move(*index)};
  }
  return newest;
}

Result<std::vector<PageHash>> CheckpointStore::page_hashes(const CheckpointShelf& shelf,
                                                           const disk::CheckpointIndex& index) {
  const std::string path = fmt::format("{}/{}{}", index_folder(shelf), index.number, kHashesSuffix);
  const uint64_t pages = pages_of(index);
  if (pages > migrate::kKnownPagesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a checkpoint of {} pages", pages));
  if (os::path_exists(path)) {
    const auto bytes = os::read_file(path, kHashesBytesMax);
    if (auto hashes = bytes ? parse_hashes(*bytes, pages) : std::nullopt) return std::move(*hashes);
  }
  std::vector<PageHash> hashes;
  hashes.reserve(pages);
  for (const auto& memory : index.memory) {
    for (const repository::ChunkRef& chunk : memory.chunks) {
      if (chunk.is_zero()) continue;
      const auto content = get(chunk);
      // Its pages come from the source, as those that cannot be read when they are needed.
      for (size_t at = 0; at + kPageBytes <= chunk.size; at += kPageBytes)
        hashes.push_back(content ? migrate::hash_of_page(ByteView(*content).subspan(at, kPageBytes))
                                 : PageHash{});
    }
  }
  if (const Status kept = os::write_file_atomic(path, serialize_hashes(hashes)); !kept)
    log::warn("{}", kept.error().message);
  return hashes;
}

}  // namespace forerun::daemon
