// A FUSE pass-through whose files have a volatile write cache, as a disk has: what was written is
// in memory until fsync, and a power cut loses it, or keeps a random part of it, torn at 512 bytes.
// For tests only; one thread.
//
// usage: volatile_fs BACKING_FOLDER MOUNT_POINT [FUSE options]
// A power cut: write `drop` or `subset SEED` to MOUNT_POINT/.powercut; it is over when the write
// returns.
//
// Kept simple: the cache holds content and sizes of files. Names (create, rename, remove) are
// durable at once, and so are folders. What an application keeps in its own memory is not cut:
// close the files before, open them after.
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>

#include "core/rng.h"

namespace {

constexpr uint64_t kSector = 512;
constexpr std::string_view kControl = "/.powercut";
using Sector = std::array<char, kSector>;

// What of one file is not durable yet.
struct Unflushed {
  uint64_t size = 0;  // of the file, as a reader sees it
  std::map<uint64_t, std::vector<Sector>>
      written;  // by sector number: every content since the last fsync
};

struct State {
  std::string backing;
  std::map<std::string, Unflushed> files;  // by path; those with un-flushed changes
};

State& state() { return *static_cast<State*>(fuse_get_context()->private_data); }
std::string real(const char* path) { return state().backing + path; }
int result(long code) { return code < 0 ? -errno : static_cast<int>(code); }

class BackingFile {
 public:
  BackingFile(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {}
  ~BackingFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  BackingFile(const BackingFile&) = delete;
  BackingFile& operator=(const BackingFile&) = delete;
  int fd() const { return fd_; }

  uint64_t size() const {
    struct stat status{};
    return ::fstat(fd_, &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }
  // What lies past the end reads as zeroes.
  void read(uint64_t offset, std::span<char> out) const {
    std::ranges::fill(out, 0);
    while (!out.empty()) {
      const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got <= 0) return;
      out = out.subspan(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
  }
  bool write(uint64_t offset, std::span<const char> data) const {
    return ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(data.size());
  }

 private:
  int fd_;
};

Unflushed& unflushed(const std::string& path, const BackingFile& file) {
  const auto [entry, is_new] = state().files.try_emplace(path);
  if (is_new) entry->second.size = file.size();
  return entry->second;
}

// Puts `length` bytes at `offset` into the cache: `data`, or zeroes if null.
void put(Unflushed& cache, const BackingFile& file, uint64_t offset, const char* data,
         uint64_t length) {
  for (uint64_t done = 0; done < length;) {
    const uint64_t number = (offset + done) / kSector;
    const uint64_t at = (offset + done) % kSector;
    const uint64_t part = std::min(kSector - at, length - done);
    auto& versions = cache.written[number];
    Sector sector;
    if (versions.empty()) {
      file.read(number * kSector, sector);
    } else {
      sector = versions.back();
    }
    if (data != nullptr) {
      std::memcpy(sector.data() + at, data + done, part);
    } else {
      std::memset(sector.data() + at, 0, part);
    }
    versions.push_back(sector);
    done += part;
  }
}

int do_getattr(const char* path, struct stat* out, fuse_file_info*) {
  if (path == kControl) {
    *out = {};
    out->st_mode = S_IFREG | 0600;
    out->st_nlink = 1;
    return 0;
  }
  const int code = result(::lstat(real(path).c_str(), out));
  if (const auto cache = state().files.find(path); code == 0 && cache != state().files.end()) {
    out->st_size = static_cast<off_t>(cache->second.size);
  }
  return code;
}

int do_open(const char* path, fuse_file_info* info) {
  if (path == kControl) return 0;
  const BackingFile file(real(path), O_RDWR);
  if (file.fd() < 0) return -errno;
  info->direct_io = 1;
  return 0;
}

int do_create(const char* path, mode_t mode, fuse_file_info* info) {
  if (path == kControl) return 0;
  const int fd = ::open(real(path).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, mode);
  if (fd < 0) return -errno;
  ::close(fd);
  info->direct_io = 1;
  return 0;
}

int do_read(const char* path, char* out, size_t length, off_t offset_in, fuse_file_info*) {
  const auto offset = static_cast<uint64_t>(offset_in);
  const BackingFile file(real(path), O_RDONLY);
  if (file.fd() < 0) return -errno;
  const auto cache = state().files.find(path);
  const uint64_t size = cache == state().files.end() ? file.size() : cache->second.size;
  if (offset >= size) return 0;
  length = std::min<uint64_t>(length, size - offset);
  file.read(offset, {out, length});
  if (cache == state().files.end()) return static_cast<int>(length);
  const auto& written = cache->second.written;
  for (auto each = written.lower_bound(offset / kSector);
       each != written.end() && each->first * kSector < offset + length; ++each) {
    const uint64_t begin = std::max(offset, each->first * kSector);
    const uint64_t end = std::min(offset + length, (each->first + 1) * kSector);
    std::memcpy(out + (begin - offset), each->second.back().data() + begin % kSector, end - begin);
  }
  return static_cast<int>(length);
}

// Ends what is cached: `choose(versions)` says how many of a sector's versions reached the disk (0:
// none).
template <typename Choose>
int settle(const std::string& path, bool keep_size, Choose choose) {
  const auto cache = state().files.find(path);
  if (cache == state().files.end()) return 0;
  const BackingFile file(state().backing + path, O_RDWR);
  bool good = file.fd() >= 0;
  const uint64_t size = cache->second.size;
  if (good && keep_size) good = ::ftruncate(file.fd(), static_cast<off_t>(size)) == 0;
  for (const auto& [number, versions] : cache->second.written) {
    const size_t chosen = choose(versions.size());
    if (!good || chosen == 0 || number * kSector >= size) continue;
    const uint64_t length = std::min(kSector, size - number * kSector);
    good = file.write(number * kSector, std::span(versions[chosen - 1]).first(length));
  }
  state().files.erase(cache);
  return good ? 0 : -EIO;
}

int do_fsync(const char* path, int, fuse_file_info*) {
  return settle(path, true, [](size_t count) { return count; });
}

int cut_power(std::string_view command) {
  std::vector<std::string> paths;
  for (const auto& [path, cache] : state().files) paths.push_back(path);
  if (command.starts_with("drop")) {
    for (const std::string& path : paths) settle(path, false, [](size_t) { return size_t{0}; });
    return 0;
  }
  uint64_t seed = 0;
  if (!command.starts_with("subset ")) return -EINVAL;
  command.remove_prefix(7);
  if (std::from_chars(command.begin(), command.end(), seed).ec != std::errc{}) return -EINVAL;
  forerun::Rng rng(seed);
  const double kept = rng.unit();
  for (const std::string& path : paths) {
    settle(path, rng.chance(kept), [&](size_t count) {
      return rng.chance(kept) ? static_cast<size_t>(rng.between(1, count)) : 0;
    });
  }
  return 0;
}

int do_write(const char* path, const char* data, size_t length, off_t offset_in, fuse_file_info*) {
  if (path == kControl) {
    const int code = cut_power({data, length});
    return code < 0 ? code : static_cast<int>(length);
  }
  const auto offset = static_cast<uint64_t>(offset_in);
  const BackingFile file(real(path), O_RDWR);
  if (file.fd() < 0) return -errno;
  Unflushed& cache = unflushed(path, file);
  put(cache, file, offset, data, length);
  cache.size = std::max(cache.size, offset + length);
  return static_cast<int>(length);
}

int do_truncate(const char* path, off_t size_in, fuse_file_info*) {
  if (path == kControl) return 0;
  const auto size = static_cast<uint64_t>(size_in);
  const BackingFile file(real(path), O_RDWR);
  if (file.fd() < 0) return -errno;
  Unflushed& cache = unflushed(path, file);
  // What is cut off must be zeroes if the file grows again.
  if (size < cache.size) put(cache, file, size, nullptr, cache.size - size);
  cache.size = size;
  return 0;
}

int do_fallocate(const char* path, int mode, off_t offset_in, off_t length_in, fuse_file_info*) {
  if (mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) return -EOPNOTSUPP;
  const auto offset = static_cast<uint64_t>(offset_in);
  const BackingFile file(real(path), O_RDWR);
  if (file.fd() < 0) return -errno;
  Unflushed& cache = unflushed(path, file);
  const uint64_t end = std::min(cache.size, offset + static_cast<uint64_t>(length_in));
  if (end > offset) put(cache, file, offset, nullptr, end - offset);
  return 0;
}

int do_rename(const char* from, const char* to, unsigned flags) {
  if (flags != 0) return -EINVAL;
  if (::rename(real(from).c_str(), real(to).c_str()) != 0) return -errno;
  state().files.erase(to);
  if (auto node = state().files.extract(from)) {
    node.key() = to;
    state().files.insert(std::move(node));
  }
  return 0;
}

int do_unlink(const char* path) {
  state().files.erase(path);
  return result(::unlink(real(path).c_str()));
}

int do_mkdir(const char* path, mode_t mode) { return result(::mkdir(real(path).c_str(), mode)); }
int do_rmdir(const char* path) { return result(::rmdir(real(path).c_str())); }
int do_utimens(const char* path, const struct timespec times[2], fuse_file_info*) {
  return result(::utimensat(AT_FDCWD, real(path).c_str(), times, AT_SYMLINK_NOFOLLOW));
}
int do_access(const char* path, int mask) {
  return path == kControl ? 0 : result(::access(real(path).c_str(), mask));
}
int do_fsyncdir(const char*, int, fuse_file_info*) { return 0; }

int do_readdir(const char* path, void* out, fuse_fill_dir_t fill, off_t, fuse_file_info*,
               fuse_readdir_flags) {
  DIR* folder = ::opendir(real(path).c_str());
  if (folder == nullptr) return -errno;
  while (const dirent* entry = ::readdir(folder)) {
    fill(out, entry->d_name, nullptr, 0, static_cast<fuse_fill_dir_flags>(0));
  }
  ::closedir(folder);
  return 0;
}

// The kernel keeps nothing: everything that it knows, it asks for.
void* do_init(fuse_conn_info*, fuse_config* config) {
  config->direct_io = 1;
  config->entry_timeout = 0;
  config->attr_timeout = 0;
  config->negative_timeout = 0;
  config->hard_remove = 1;
  return fuse_get_context()->private_data;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: volatile_fs BACKING_FOLDER MOUNT_POINT [FUSE options]\n", stderr);
    return 2;
  }
  State all{.backing = argv[1], .files = {}};
  fuse_operations operations{};
  operations.getattr = do_getattr;
  operations.mkdir = do_mkdir;
  operations.unlink = do_unlink;
  operations.rmdir = do_rmdir;
  operations.rename = do_rename;
  operations.truncate = do_truncate;
  operations.open = do_open;
  operations.read = do_read;
  operations.write = do_write;
  operations.fsync = do_fsync;
  operations.readdir = do_readdir;
  operations.fsyncdir = do_fsyncdir;
  operations.init = do_init;
  operations.access = do_access;
  operations.create = do_create;
  operations.fallocate = do_fallocate;
  operations.utimens = do_utimens;
  std::vector<char*> arguments = {argv[0]};
  arguments.insert(arguments.end(), argv + 2, argv + argc);
  std::string foreground = "-f", single = "-s";  // in the foreground, one request at a time
  arguments.push_back(foreground.data());
  arguments.push_back(single.data());
  return fuse_main(static_cast<int>(arguments.size()), arguments.data(), &operations, &all);
}
