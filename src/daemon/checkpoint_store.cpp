#include "daemon/checkpoint_store.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "core/log.h"
#include "os/file.h"
#include "repository/put_chunk.h"

namespace forerun::daemon {
namespace {

constexpr int kZstdLevel = 1;  // a guest's memory: soon, rather than small
constexpr std::string_view kIndexSuffix = ".checkpoint", kHashesSuffix = ".pages";

std::optional<uint64_t> number_of(std::string_view file) {
  if (!file.ends_with(kIndexSuffix)) return std::nullopt;
  file.remove_suffix(kIndexSuffix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(file.data(), file.data() + file.size(), number);
  if (error != std::errc{} || end != file.data() + file.size() || number == 0) return std::nullopt;
  return number;
}

}  // namespace

Result<std::unique_ptr<CheckpointStore>> CheckpointStore::open(const std::string& folder) {
  FR_CHECK(os::make_folders(folder + "/vms"));
  FR_TRY(auto chunks,
         net::DirectoryStore::open(folder + "/store", net::DirectoryStore::Mode::kReadWrite));
  FR_TRY(const auto storage, os::PosixFolder::open(folder));
  FR_TRY(const auto files, os::list_folder(folder));
  for (const std::string& file : files)
    if (file.ends_with(".tmp")) FR_CHECK(storage->remove(file));
  std::unique_ptr<CheckpointStore> store(new CheckpointStore(folder, std::move(chunks)));
  // Copies that did not come to their end. Their chunks go with the next removal.
  FR_TRY(const auto copies, store->copies());
  for (const CheckpointShelf& shelf : copies) store->drop_copy(shelf);
  return store;
}

std::string CheckpointStore::index_folder(const CheckpointShelf& shelf) const {
  return shelf.host.empty() ? fmt::format("{}/vms/{}", folder_, shelf.vm)
                            : fmt::format("{}/copies/{}/{}", folder_, shelf.host, shelf.vm);
}

std::string CheckpointStore::index_path(const CheckpointShelf& shelf, uint64_t number) const {
  return fmt::format("{}/{}{}", index_folder(shelf), number, kIndexSuffix);
}

Result<repository::ChunkRef> CheckpointStore::put(ByteView content, uint64_t& stored_bytes) {
  const auto id = repository::name_chunk(content);
  if (!id) {
    repository::ChunkRef zeroes;
    zeroes.size = static_cast<uint32_t>(content.size());
    return zeroes;
  }
  FR_TRY(const auto put, repository::put_chunk(*chunks_, *id, content, kZstdLevel));
  if (put.kind != repository::PutKind::kReused) stored_bytes += put.ref.stored_size;
  return put.ref;
}

Result<Buffer> CheckpointStore::get_stored(const repository::ChunkRef& chunk) {
  return chunks_->fetch(repository::chunk_path(chunk.id), repository::kStoredSizeMax);
}

Result<Buffer> CheckpointStore::get(const repository::ChunkRef& chunk) {
  if (chunk.is_zero()) return Buffer(chunk.size);
  FR_TRY(const Buffer stored, get_stored(chunk));
  repository::ChunkRef ref = chunk;
  ref.stored_size = static_cast<uint32_t>(stored.size());
  FR_TRY(const auto decoded, repository::decode_chunk(ref, stored));
  return decoded->content;
}

Status CheckpointStore::save(const disk::CheckpointIndex& index) {
  FR_CHECK(chunks_->flush());
  const CheckpointShelf own{index.vm, ""};
  FR_CHECK(os::make_folders(index_folder(own)));
  return os::write_file_atomic(index_path(own, index.number), serialize(index));
}

Result<std::vector<uint64_t>> CheckpointStore::list(const CheckpointShelf& shelf) {
  std::vector<uint64_t> numbers;
  if (!os::path_exists(index_folder(shelf))) return numbers;
  FR_TRY(const auto files, os::list_folder(index_folder(shelf)));
  for (const std::string& file : files)
    if (const auto number = number_of(file)) numbers.push_back(*number);
  std::ranges::sort(numbers);
  return numbers;
}

Result<disk::CheckpointIndex> CheckpointStore::load(const CheckpointShelf& shelf, uint64_t number) {
  const std::string path = index_path(shelf, number);
  if (!os::path_exists(path))
    return fail(ErrorCode::kNotFound, fmt::format("VM {} has no checkpoint {}", shelf.vm, number));
  FR_TRY(const Buffer bytes, os::read_file(path, disk::kCheckpointBytesMax));
  auto index = disk::parse_checkpoint_index(bytes);
  if (!index)
    return std::unexpected(
        std::move(index.error()).within(fmt::format("checkpoint {} of VM {}", number, shelf.vm)));
  return index;
}

Status CheckpointStore::remove(const CheckpointShelf& shelf, const std::vector<uint64_t>& numbers) {
  FR_TRY(const auto known, list(shelf));
  for (const uint64_t number : numbers) {
    if (std::ranges::find(known, number) == known.end())
      return fail(ErrorCode::kNotFound,
                  fmt::format("VM {} has no checkpoint {}", shelf.vm, number));
  }
  if (numbers.empty()) return {};
  FR_TRY(const auto storage, os::PosixFolder::open(index_folder(shelf)));
  for (const uint64_t number : numbers) {
    FR_CHECK(storage->remove(fmt::format("{}{}", number, kIndexSuffix)));
    const std::string hashes = fmt::format("{}{}", number, kHashesSuffix);
    if (storage->exists(hashes)) FR_CHECK(storage->remove(hashes));
  }
  return sweep();
}

// An index that cannot be read stops it: nobody knows what that one holds.
Status CheckpointStore::sweep() {
  std::unordered_set<ChunkId> held;
  const auto hold_all = [&](const disk::CheckpointIndex& index) {
    for_each_chunk(index, [&](const repository::ChunkRef& chunk) { held.insert(chunk.id); });
  };
  FR_TRY(const auto all, shelves());
  for (const CheckpointShelf& shelf : all) {
    FR_TRY(const auto numbers, list(shelf));
    for (const uint64_t number : numbers) {
      FR_TRY(const auto index, load(shelf, number));
      hold_all(index);
    }
    // What is coming.
    if (!os::path_exists(partial_path(shelf))) continue;
    FR_TRY(const Buffer bytes, os::read_file(partial_path(shelf), disk::kCheckpointBytesMax));
    FR_TRY(const auto index, disk::parse_checkpoint_index(bytes));
    hold_all(index);
  }
  std::unordered_set<std::string> held_paths;
  for (const ChunkId& id : held) held_paths.insert(repository::chunk_path(id));
  std::vector<std::string> garbage;
  FR_CHECK(chunks_->settle());
  FR_CHECK(chunks_->list("chunks", [&](const repository::ObjectInfo& object) -> Status {
    if (!held_paths.contains(object.path)) garbage.push_back(object.path);
    return {};
  }));
  FR_TRY(const repository::StoreTime now, chunks_->now());
  for (const std::string& path : garbage) FR_CHECK(chunks_->remove(path, now));
  return chunks_->flush();
}

}  // namespace forerun::daemon
