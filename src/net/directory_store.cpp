#include "net/directory_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "net/folder_calls.h"
#include "repository/image_index.h"

namespace forerun::net {
namespace {

constexpr mode_t kFolderMode = 0755;  // a web server under another user reads the repository
constexpr mode_t kFileMode = 0644;
constexpr int kFolderFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr size_t kSyncedAtOnceMin = 4;
constexpr std::string_view kTagFolder = "images/";
constexpr std::string_view kTagSuffix = ".json";

Status check_path(std::string_view path) {
  if (repository::is_valid_object_path(path)) return {};
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is not the path of an object", path));
}

// Returns the name of the image whose tag has this file name, or nothing.
std::string_view image_of(std::string_view leaf) {
  if (!leaf.ends_with(kTagSuffix)) return {};
  leaf.remove_suffix(kTagSuffix.size());
  return is_valid_name(leaf) ? leaf : std::string_view{};
}

bool is_tag(std::string_view path) {
  return path.starts_with(kTagFolder) && !image_of(path.substr(kTagFolder.size())).empty();
}

// Returns the file `leaf` in `folder`, made if missing, under a lock that ends with it.
Result<os::Fd> lock_file(int folder, const char* leaf, int operation, const std::string& path) {
  const std::string attempted = fmt::format("lock {}", path);
  os::Fd lock(openat(folder, leaf, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!lock.is_open()) return fail_open(attempted, errno);
  while (flock(lock.get(), operation) != 0) {
    if (errno != EINTR) return fail_errno(attempted, errno);
  }
  return lock;
}

repository::StoreTime modified(const struct stat& status) {
  return std::chrono::seconds(status.st_mtim.tv_sec) + Nanos(status.st_mtim.tv_nsec);
}

}  // namespace

DirectoryStore::DirectoryStore(std::string path, os::Fd root, Mode mode)
    : name_(std::move(path)),
      root_(std::move(root)),
      mode_(mode),
      temporary_(root_.get(), name_),
      journal_({.make_file = [this](size_t number,
                                    uint64_t epoch) { return make_journal(number, epoch); },
                .sync_all = [this] { return sync_all(); },
                .sync_each = [this](const auto& paths) { return sync_each(paths); }},
               {}) {}

DirectoryStore::~DirectoryStore() {
  if (!journal_.stop()) temporary_.keep();
}

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::open(const std::string& path, Mode mode) {
  if (mode == Mode::kReadWrite) FR_CHECK(os::make_folders(path, kFolderMode));
  os::Fd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) return fail_errno(fmt::format("open the repository {}", path), errno);
  std::unique_ptr<DirectoryStore> store(new DirectoryStore(path, std::move(root), mode));
  if (mode == Mode::kReadWrite) FR_CHECK(store->recover());
  return store;
}

// What was put and not flushed by who was killed is no matter here: who relies on it says so.
Status DirectoryStore::recover() {
  std::set<std::string> paths;
  const auto put_back = [&](const JournalEntry& entry) {
    paths.insert(entry.path);
    return restore(entry);
  };
  return TemporaryFolder(root_.get(), name_).recover(put_back, [&] { return sync_each(paths); });
}

Status DirectoryStore::restore(const JournalEntry& entry) {
  const auto place = walk_to(entry.path, false);
  struct stat status{};
  const bool is_there =
      place && fstatat(place->folder.get(), place->leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  if (is_there && put_kind(entry.path) == PutKind::kHint && modified(status) > entry.modified)
    return {};
  const auto found = fetch(entry.path, entry.data.size());
  if (found && std::ranges::equal(*found, entry.data)) return {};
  return replace(entry.path, entry.data);
}

Result<JournalFile> DirectoryStore::make_journal(size_t number, uint64_t epoch) {
  FR_TRY(const int folder, temporary_folder());
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    FR_CHECK(temporary_.make_durable());
    path = full(fmt::format("tmp/{}/{}", temporary_.leaf(), journal_leaf(number)));
  }
  return JournalFile::create(folder, journal_leaf(number), epoch, std::move(path));
}

std::string DirectoryStore::full(std::string_view path) const {
  return fmt::format("{}/{}", name_, path);
}

Result<DirectoryStore::Place> DirectoryStore::walk_to(std::string_view path, bool create) const {
  Place place;
  place.folder = os::Fd(fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
  if (!place.folder.is_open()) return fail_errno(fmt::format("open {}", name_), errno);
  for (size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
    const std::string component(path.substr(0, slash));
    os::Fd next(openat(place.folder.get(), component.c_str(), kFolderFlags));
    if (!next.is_open() && errno == ENOENT && create) {
      if (mkdirat(place.folder.get(), component.c_str(), kFolderMode) != 0 && errno != EEXIST) {
        return fail_errno(fmt::format("make the folder {} in {}", component, name_), errno);
      }
      next = os::Fd(openat(place.folder.get(), component.c_str(), kFolderFlags));
    }
    if (!next.is_open())
      return fail_open(fmt::format("open the folder {} in {}", component, name_), errno);
    place.folder = std::move(next);
    path.remove_prefix(slash + 1);
  }
  place.leaf = path;
  return place;
}

Result<Buffer> DirectoryStore::fetch(const std::string& path, size_t size_max) {
  FR_CHECK(check_path(path));
  FR_TRY(const Place place, walk_to(path, false));
  const std::string attempted = fmt::format("read {}", full(path));
  // Non-blocking: a FIFO put there must not hang us.
  const os::Fd file(openat(place.folder.get(), place.leaf.c_str(),
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.is_open()) return fail_open(attempted, errno);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return fail_errno(attempted, errno);
  if (!S_ISREG(status.st_mode))
    return fail(ErrorCode::kDenied, fmt::format("cannot {}: it is no file", attempted));
  if (static_cast<uint64_t>(status.st_size) > size_max) {
    return fail(ErrorCode::kTooLarge, fmt::format("cannot {}: it has {} bytes, over {}", attempted,
                                                  status.st_size, size_max));
  }
  Buffer data(static_cast<size_t>(status.st_size));
  FR_CHECK(read_fully(file.get(), data, attempted));
  return data;
}

Result<std::vector<std::string>> DirectoryStore::list_images() {
  const std::string attempted = fmt::format("list {}", full("images"));
  os::Fd folder = open_folder_to_list(root_.get(), "images");
  if (!folder.is_open() && errno == ENOENT) return std::vector<std::string>{};
  if (!folder.is_open()) return fail_open(attempted, errno);
  FR_TRY(const std::vector<std::string> leaves, names_in(std::move(folder), attempted));
  std::vector<std::string> names;
  for (const std::string& leaf : leaves) {
    if (const std::string_view image = image_of(leaf); !image.empty()) names.emplace_back(image);
  }
  std::sort(names.begin(), names.end());  // "a-b.json" < "a.json", but "a" < "a-b"
  return names;
}

bool DirectoryStore::contains(const std::string& path) {
  if (!check_path(path)) return false;
  const auto place = walk_to(path, false);
  struct stat status{};
  return place &&
         fstatat(place->folder.get(), place->leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(status.st_mode);
}

Status DirectoryStore::put(const std::string& path, ByteView data) {
  FR_CHECK(check_path(path));
  FR_CHECK(require_writable(path));
  FR_CHECK(replace(path, data));
  return is_tag(path) ? update_list() : Status{};
}

Status DirectoryStore::replace(const std::string& path, ByteView data) {
  auto written = put_kind(path) == PutKind::kTag ? std::nullopt : put_new(path, data);
  if (!written) {
    FR_TRY(const int temporary, temporary_folder());
    const std::string leaf = fmt::format("{}", puts_.fetch_add(1, std::memory_order_relaxed));
    const auto at = write_temporary(temporary, leaf, data);
    Status status =
        at ? move_into_place(temporary, leaf, path) : Status(std::unexpected(at.error()));
    if (!status) {
      unlinkat(temporary, leaf.c_str(), 0);
      return status;
    }
    written = *at;
  }
  journal_.put(path, *written, data);
  return {};
}

// A file without a name gets one in the object's own folder: importers' threads do not meet in the
// temporary one, where a file system finds room for one new file at a time. Four times as fast as
// renaming on ext4.
std::optional<repository::StoreTime> DirectoryStore::put_new(const std::string& path,
                                                             ByteView data) const {
  const auto place = walk_to(path, true);
  if (!place) return std::nullopt;
  const os::Fd file(openat(place->folder.get(), ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, kFileMode));
  struct stat status{};
  if (!file.is_open() || !write_fully(file.get(), data, "write a file without a name") ||
      fstat(file.get(), &status) != 0)
    return std::nullopt;
  const auto lock = lock_objects(LOCK_SH);
  const std::string name = fmt::format("/proc/self/fd/{}", file.get());
  if (!lock || linkat(AT_FDCWD, name.c_str(), place->folder.get(), place->leaf.c_str(),
                      AT_SYMLINK_FOLLOW) != 0)
    return std::nullopt;
  return modified(status);
}

Status DirectoryStore::move_into_place(int temporary, const std::string& leaf,
                                       const std::string& path) {
  FR_TRY(const Place place, walk_to(path, true));
  FR_TRY(const os::Fd lock, lock_objects(LOCK_SH));
  if (renameat(temporary, leaf.c_str(), place.folder.get(), place.leaf.c_str()) != 0)
    return fail_errno(fmt::format("write {}", full(path)), errno);
  return {};
}

Result<bool> DirectoryStore::link(repository::Source& from, const std::string& path) {
  FR_CHECK(check_path(path));
  FR_CHECK(require_writable(path));
  auto* other = dynamic_cast<DirectoryStore*>(&from);
  if (other == nullptr || is_tag(path)) return false;
  FR_TRY(const int temporary, temporary_folder());
  const auto there = other->walk_to(path, false);
  if (!there) return false;  // it came from elsewhere
  const std::string leaf = fmt::format("{}", puts_.fetch_add(1, std::memory_order_relaxed));
  // Another file system, one without links, or too many of them: copy.
  if (linkat(there->folder.get(), there->leaf.c_str(), temporary, leaf.c_str(), 0) != 0)
    return false;
  const Status status = move_into_place(temporary, leaf, path);
  // Also if all went well: renaming a file to another of its own names does nothing.
  unlinkat(temporary, leaf.c_str(), 0);
  if (!status) return std::unexpected(status.error());
  journal_.touch(path);
  return true;
}

Result<repository::StoreTime> DirectoryStore::write_temporary(int folder, const std::string& leaf,
                                                              ByteView data) const {
  const std::string attempted = fmt::format("write a temporary file in {}", full("tmp"));
  const os::Fd file(openat(folder, leaf.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!file.is_open()) return fail_errno(attempted, errno);
  FR_CHECK(write_fully(file.get(), data, attempted));
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return fail_errno(attempted, errno);
  return modified(status);
}

Result<int> DirectoryStore::temporary_folder() {
  const std::lock_guard lock(mutex_);
  return temporary_.open();
}

// Under a lock, so that of two importers the later one writes the list that holds both.
Status DirectoryStore::update_list() {
  FR_TRY(const os::Fd lock, lock_file(root_.get(), "images.lock", LOCK_EX, full("images.lock")));
  FR_TRY(const std::vector<std::string> names, list_images());
  return replace(std::string(repository::kImageListPath),
                 as_bytes(repository::serialize_image_list(names)));
}

Status DirectoryStore::require_writable(std::string_view path) const {
  if (mode_ == Mode::kReadWrite) return {};
  return fail(ErrorCode::kDenied,
              fmt::format("cannot write {}: the repository is open for reading", full(path)));
}

Result<os::Fd> DirectoryStore::lock_objects(int operation) const {
  return lock_file(root_.get(), "objects.lock", operation, full("objects.lock"));
}

Result<repository::StoreTime> DirectoryStore::now() {
  FR_CHECK(require_writable("tmp"));
  FR_TRY(const int temporary, temporary_folder());
  const std::string leaf = fmt::format("{}", puts_.fetch_add(1, std::memory_order_relaxed));
  const auto now = write_temporary(temporary, leaf, as_bytes("now"));
  unlinkat(temporary, leaf.c_str(), 0);
  return now;
}

Status DirectoryStore::list(const std::string& folder, const Visit& visit) {
  FR_CHECK(check_path(folder));
  FR_TRY(const Place place, walk_to(folder, false));
  os::Fd opened = open_folder_to_list(place.folder.get(), place.leaf.c_str());
  if (!opened.is_open() && errno == ENOENT) return {};
  if (!opened.is_open()) return fail_open(fmt::format("list {}", full(folder)), errno);
  return list_folder(std::move(opened), folder, 1, visit);
}

Status DirectoryStore::list_folder(os::Fd folder, const std::string& path, size_t depth,
                                   const Visit& visit) const {
  const std::string attempted = fmt::format("list {}", full(path));
  os::Fd listed = open_folder_to_list(folder.get(), ".");
  if (!listed.is_open()) return fail_open(attempted, errno);
  FR_TRY(const std::vector<std::string> leaves, names_in(std::move(listed), attempted));
  for (const std::string& leaf : leaves) {
    const std::string below = fmt::format("{}/{}", path, leaf);
    struct stat status{};
    if (!check_path(below)) continue;  // no object
    if (fstatat(folder.get(), leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // removed meanwhile
      return fail_errno(attempted, errno);
    }
    if (S_ISREG(status.st_mode)) {
      FR_CHECK(visit({below, static_cast<uint64_t>(status.st_size), modified(status)}));
    } else if (S_ISDIR(status.st_mode) && depth + 1 < repository::kObjectPathDepthMax) {
      os::Fd inner = open_folder_to_list(folder.get(), leaf.c_str());
      if (!inner.is_open()) return fail_open(fmt::format("list {}", full(below)), errno);
      FR_CHECK(list_folder(std::move(inner), below, depth + 1, visit));
    }
  }
  return {};
}

Status DirectoryStore::renew(const std::string& path) {
  FR_CHECK(check_path(path));
  FR_CHECK(require_writable(path));
  FR_TRY(const Place place, walk_to(path, false));
  FR_TRY(const os::Fd lock, lock_objects(LOCK_SH));
  if (utimensat(place.folder.get(), place.leaf.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(fmt::format("renew {}", full(path)), errno);
  journal_.rely(path);
  return {};
}

Result<bool> DirectoryStore::remove(const std::string& path, repository::StoreTime newest) {
  FR_CHECK(check_path(path));
  FR_CHECK(require_writable(path));
  const auto place = walk_to(path, false);
  if (!place && place.error().code == ErrorCode::kNotFound) return false;
  if (!place) return std::unexpected(place.error());
  const std::string attempted = fmt::format("remove {}", full(path));
  {
    FR_TRY(const os::Fd lock, lock_objects(LOCK_EX));
    struct stat status{};
    if (fstatat(place->folder.get(), place->leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      return fail_errno(attempted, errno);
    }
    if (!S_ISREG(status.st_mode))
      return fail(ErrorCode::kDenied, fmt::format("cannot {}: it is no file", attempted));
    if (modified(status) > newest) return false;
    if (unlinkat(place->folder.get(), place->leaf.c_str(), 0) != 0)
      return fail_errno(attempted, errno);
  }
  if (put_kind(path) == PutKind::kTag) {
    journal_.touch(path);
  } else {
    journal_.touch_all();
  }
  if (is_tag(path)) FR_CHECK(update_list());
  return true;
}

Status DirectoryStore::sync_all() const {
  if (syncfs(root_.get()) != 0) return fail_errno(fmt::format("make {} durable", name_), errno);
  return {};
}

Status DirectoryStore::sync(std::string_view path, bool is_folder) const {
  const std::string attempted = fmt::format("make {} durable", full(path));
  FR_TRY(const Place place, walk_to(path, false));
  const char* const leaf = path.empty() ? "." : place.leaf.c_str();
  const os::Fd opened =
      is_folder ? open_folder_to_list(place.folder.get(), leaf)
                : os::Fd(openat(place.folder.get(), leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened.is_open()) return fail_open(attempted, errno);
  // Of a file, a new age alone is not waited for.
  if ((is_folder ? fsync(opened.get()) : fdatasync(opened.get())) != 0)
    return fail_errno(attempted, errno);
  return {};
}

// Has the kernel begin to write the object, so that many are not waited for one by one.
void DirectoryStore::begin_to_write(const std::string& path) const {
  const auto place = walk_to(path, false);
  if (!place) return;
  const os::Fd file(openat(place->folder.get(), place->leaf.c_str(),
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.is_open()) sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
}

// The objects, then every folder on their ways, from the inside: each may have been made for them.
// Who removed one meanwhile wants none of it kept.
Status DirectoryStore::sync_each(const std::set<std::string>& paths) const {
  std::set<std::string_view, std::greater<>> folders;
  if (paths.size() > kSyncedAtOnceMin)
    for (const std::string& path : paths) begin_to_write(path);
  const auto sync_if_there = [this](std::string_view path, bool is_folder) {
    Status synced = sync(path, is_folder);
    return !synced && synced.error().code == ErrorCode::kNotFound ? Status() : synced;
  };
  for (const std::string_view path : paths) {
    FR_CHECK(sync_if_there(path, false));
    for (size_t slash = path.rfind('/'); slash != path.npos; slash = path.rfind('/', slash - 1)) {
      if (!folders.insert(path.substr(0, slash)).second || slash == 0) break;
    }
  }
  for (const std::string_view folder : folders) FR_CHECK(sync_if_there(folder, true));
  return paths.empty() ? Status() : sync("", true);
}

Status DirectoryStore::flush() { return journal_.flush(); }

}  // namespace forerun::net
