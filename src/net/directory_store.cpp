#include "net/directory_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "repository/image_index.h"

namespace forerun::net {
namespace {

constexpr mode_t kFolderMode = 0755;  // a web server under another user reads the repository
constexpr mode_t kFileMode = 0644;
constexpr int kFolderFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr size_t kFlushedOneByOneMax = 16;
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

// Links show up as ELOOP, or ENOTDIR where a folder was asked for.
std::unexpected<Error> fail_open(const std::string& attempted, int errno_value) {
  if (errno_value == ELOOP || errno_value == ENOTDIR) {
    return fail(
        ErrorCode::kDenied,
        fmt::format("cannot {}: a link, or not a folder, is in its way; links are not followed",
                    attempted));
  }
  return fail_errno(attempted, errno_value);
}

Status write_fully(int fd, ByteView data, const std::string& attempted) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(attempted, errno);
    data = data.subspan(static_cast<size_t>(written));
  }
  return {};
}

Status read_fully(int fd, MutableByteView out, const std::string& attempted) {
  while (!out.empty()) {
    const ssize_t got = ::read(fd, out.data(), out.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(attempted, errno);
    if (got == 0)
      return fail(ErrorCode::kUnavailable, fmt::format("cannot {}: it became shorter", attempted));
    out = out.subspan(static_cast<size_t>(got));
  }
  return {};
}

// Returns the names in the folder `fd`, without those that start with a dot.
Result<std::vector<std::string>> names_in(os::Fd folder, const std::string& attempted) {
  DIR* stream = fdopendir(folder.get());
  if (stream == nullptr) return fail_errno(attempted, errno);
  folder.release();  // closedir closes it
  const std::unique_ptr<DIR, decltype(&closedir)> closer(stream, &closedir);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  if (errno != 0) return fail_errno(attempted, errno);
  std::sort(names.begin(), names.end());
  return names;
}

os::Fd open_folder_to_list(int parent, const char* leaf) {
  return os::Fd(openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

}  // namespace

DirectoryStore::DirectoryStore(std::string path, os::Fd root, Mode mode)
    : name_(std::move(path)), root_(std::move(root)), mode_(mode) {}

DirectoryStore::~DirectoryStore() {
  if (temporary_.is_open())
    unlinkat(temporary_parent_.get(), temporary_leaf_.c_str(), AT_REMOVEDIR);
}

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::open(const std::string& path, Mode mode) {
  if (mode == Mode::kReadWrite) FR_CHECK(os::make_folders(path, kFolderMode));
  os::Fd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) return fail_errno(fmt::format("open the repository {}", path), errno);
  return std::unique_ptr<DirectoryStore>(new DirectoryStore(path, std::move(root), mode));
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
  if (mode_ != Mode::kReadWrite) {
    return fail(ErrorCode::kDenied,
                fmt::format("cannot write {}: the repository is open for reading", full(path)));
  }
  FR_CHECK(replace(path, data));
  return is_tag(path) ? update_list() : Status{};
}

Status DirectoryStore::replace(const std::string& path, ByteView data) {
  FR_TRY(const int temporary, temporary_folder());
  FR_TRY(const Place place, walk_to(path, true));
  const std::string leaf = fmt::format("{}", puts_.fetch_add(1, std::memory_order_relaxed));
  Status status = write_temporary(temporary, leaf, data);
  if (status && renameat(temporary, leaf.c_str(), place.folder.get(), place.leaf.c_str()) != 0) {
    status = fail_errno(fmt::format("write {}", full(path)), errno);
  }
  if (!status) {
    unlinkat(temporary, leaf.c_str(), 0);
    return status;
  }
  remember_put(path);
  return {};
}

Status DirectoryStore::write_temporary(int folder, const std::string& leaf, ByteView data) const {
  const std::string attempted = fmt::format("write a temporary file in {}", full("tmp"));
  const os::Fd file(openat(folder, leaf.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!file.is_open()) return fail_errno(attempted, errno);
  return write_fully(file.get(), data, attempted);
}

Result<int> DirectoryStore::temporary_folder() {
  const std::lock_guard lock(mutex_);
  if (temporary_.is_open()) return temporary_.get();
  if (mkdirat(root_.get(), "tmp", kFolderMode) != 0 && errno != EEXIST) {
    return fail_errno(fmt::format("make the folder {}", full("tmp")), errno);
  }
  temporary_parent_ = open_folder_to_list(root_.get(), "tmp");
  if (!temporary_parent_.is_open())
    return fail_open(fmt::format("open the folder {}", full("tmp")), errno);
  remove_stale_folders(temporary_parent_.get());
  FR_TRY(temporary_, make_temporary_folder(temporary_parent_.get(), temporary_leaf_));
  return temporary_.get();
}

// A folder of our own, held under a lock: whoever can take the lock of another's folder knows that
// its owner died.
Result<os::Fd> DirectoryStore::make_temporary_folder(int parent, std::string& leaf) const {
  std::random_device random;
  for (int attempt = 0; attempt < 8; ++attempt) {
    leaf = fmt::format("{:08x}{:08x}", random(), random());
    if (mkdirat(parent, leaf.c_str(), kFolderMode) != 0) {
      if (errno == EEXIST) continue;
      return fail_errno(fmt::format("make a folder in {}", full("tmp")), errno);
    }
    os::Fd folder = open_folder_to_list(parent, leaf.c_str());
    struct stat status{};
    // Another process may have taken it for stale between the two calls: then it has no links left.
    if (folder.is_open() && flock(folder.get(), LOCK_EX | LOCK_NB) == 0 &&
        fstat(folder.get(), &status) == 0 && status.st_nlink > 0) {
      return folder;
    }
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("cannot make a folder of our own in {}", full("tmp")));
}

void DirectoryStore::remove_stale_folders(int parent) const {
  os::Fd listed = open_folder_to_list(parent, ".");
  const auto leaves =
      listed.is_open() ? names_in(std::move(listed), "list tmp") : std::vector<std::string>{};
  if (!leaves) return;
  for (const std::string& leaf : *leaves) {
    const os::Fd folder = open_folder_to_list(parent, leaf.c_str());
    if (!folder.is_open() || flock(folder.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (const auto files =
            names_in(open_folder_to_list(folder.get(), "."), "list a stale folder")) {
      for (const std::string& file : *files) unlinkat(folder.get(), file.c_str(), 0);
    }
    unlinkat(parent, leaf.c_str(), AT_REMOVEDIR);
  }
}

// Under a lock, so that of two importers the later one writes the list that holds both.
Status DirectoryStore::update_list() {
  const std::string attempted = fmt::format("lock {}", full("images.lock"));
  const os::Fd lock(
      openat(root_.get(), "images.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!lock.is_open()) return fail_open(attempted, errno);
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(attempted, errno);
  }
  FR_TRY(const std::vector<std::string> names, list_images());
  return replace(std::string(repository::kImageListPath),
                 as_bytes(repository::serialize_image_list(names)));
}

void DirectoryStore::remember_put(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (flush_all_) return;
  unflushed_.insert(path);
  if (unflushed_.size() <= kFlushedOneByOneMax) return;
  flush_all_ = true;
  unflushed_.clear();
}

// The object, then every folder on its way: each may have been made for it.
Status DirectoryStore::flush_one(const std::string& path) const {
  const std::string attempted = fmt::format("make {} durable", full(path));
  FR_TRY(const Place place, walk_to(path, false));
  const os::Fd file(
      openat(place.folder.get(), place.leaf.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.is_open()) return fail_open(attempted, errno);
  if (fsync(file.get()) != 0) return fail_errno(attempted, errno);
  std::string_view folder = path;
  while (true) {
    const size_t slash = folder.rfind('/');
    folder = slash == std::string_view::npos ? std::string_view{} : folder.substr(0, slash);
    FR_TRY(const Place above, walk_to(folder, false));
    const os::Fd opened =
        open_folder_to_list(above.folder.get(), folder.empty() ? "." : above.leaf.c_str());
    if (!opened.is_open()) return fail_open(attempted, errno);
    if (fsync(opened.get()) != 0) return fail_errno(attempted, errno);
    if (folder.empty()) return {};
  }
}

Status DirectoryStore::flush() {
  std::set<std::string> paths;
  bool all = false;
  {
    const std::lock_guard lock(mutex_);
    paths.swap(unflushed_);
    all = std::exchange(flush_all_, false);
  }
  Status status;
  if (all && syncfs(root_.get()) != 0)
    status = fail_errno(fmt::format("make {} durable", name_), errno);
  for (auto path = paths.begin(); status && path != paths.end(); ++path) status = flush_one(*path);
  if (!status) {
    const std::lock_guard lock(mutex_);
    flush_all_ = true;  // nobody knows what is durable
  }
  return status;
}

}  // namespace forerun::net
