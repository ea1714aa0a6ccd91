#include "daemon/pmem_store.h"

#include "core/log.h"
#include "daemon/parallel.h"
#include "image/flatten.h"
#include "os/file.h"
#include "vmm/qemu_command.h"

namespace forerun::daemon {

namespace {
constexpr std::string_view kWhole = ".raw";
}  // namespace

PmemStore::File PmemStore::file_of(const ImageCatalog::Layout& layout) const {
  // The guest's kernel maps whole units; what is behind the disk's end are zeroes.
  return {path_of(layout.digest), round_up(layout.table.size_bytes(), vmm::kPmemUnit)};
}

PmemStore::FilePtr PmemStore::hold(const File& file) {
  std::weak_ptr<const File>& known = held_[file.path];
  FilePtr held = known.lock();
  if (!held) {
    held = std::make_shared<const File>(file);
    known = held;
  }
  return held;
}

Result<PmemStore::File> PmemStore::plan(const std::string& image) {
  FR_TRY(const auto opened, catalog_.open(image));
  return file_of(*opened.layout);
}

Status PmemStore::make(const ImageCatalog::Layout& layout, const std::string& path) {
  FR_TRY(auto folder, os::PosixFolder::open(folder_));
  const std::string name = path.substr(folder_.size() + 1);
  const std::string half = name + ".new";
  if (folder->exists(half)) FR_CHECK(folder->remove(half));
  FR_TRY(const auto file, folder->open(half, true));
  image::FlattenOptions options;
  options.parallel_for = on_all_processors;
  FR_CHECK(image::flatten(layout.table, source_, *file, options));
  FR_CHECK(file->resize(file_of(layout).size_bytes));
  FR_CHECK(file->flush());
  return folder->replace(half, name);
}

Result<PmemStore::FilePtr> PmemStore::provide(const std::string& image) {
  FR_TRY(const auto opened, catalog_.open(image));
  const File file = file_of(*opened.layout);
  std::unique_lock lock(mutex_);
  made_.wait(lock, [&] { return !being_made_.contains(file.path); });
  if (os::path_exists(file.path)) return hold(file);
  being_made_.insert(file.path);
  lock.unlock();
  const Status made = make(*opened.layout, file.path);
  lock.lock();
  being_made_.erase(file.path);
  made_.notify_all();
  if (!made)
    return std::unexpected(
        Error(made.error()).within(fmt::format("cannot make a pmem file of image {}", image)));
  log::info("image {} is there for pmem: {}", image, file.path);
  return hold(file);
}

Result<PmemStore::FilePtr> PmemStore::adopt(const std::string& path, uint64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  if (!path.starts_with(folder_ + "/") || !os::path_exists(path))
    return fail(ErrorCode::kNotFound, fmt::format("pmem file {} is gone", path));
  return hold({path, size_bytes});
}

void PmemStore::sweep() {
  const std::lock_guard lock(mutex_);
  const auto names = os::list_folder(folder_);
  if (!names) return;  // none was ever made
  const auto folder = os::PosixFolder::open(folder_);
  if (!folder) return;
  for (const std::string& name : *names) {
    std::string path = folder_ + "/" + name;
    const auto held = held_.find(path);
    if (held != held_.end() && !held->second.expired()) continue;
    const size_t whole = path.rfind(kWhole);
    if (whole != std::string::npos && being_made_.contains(path.substr(0, whole + kWhole.size())))
      continue;
    if (held != held_.end()) held_.erase(held);
    if (const auto removed = (*folder)->remove(name); !removed)
      log::warn("pmem file {} is not used and cannot be removed: {}", path,
                removed.error().message);
  }
}

}  // namespace forerun::daemon
