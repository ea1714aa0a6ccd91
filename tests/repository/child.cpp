#include "child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "core/rng.h"
#include "os/process.h"
#include "os/socket.h"
#include "repository/fetch.h"

namespace forerun::testing_support {

ScratchFolder::ScratchFolder() {
  std::string pattern = testing::TempDir() + "forerun-repository-XXXXXX";
  path_ = mkdtemp(pattern.data());
}

ScratchFolder::~ScratchFolder() { std::filesystem::remove_all(path_); }

Child::Child(const std::vector<std::string>& argv) {
  std::vector<char*> raw;
  for (const std::string& argument : argv) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  execvp(raw[0], raw.data());
  _exit(127);
}

void Child::stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool has_program(const std::string& name) {
  const auto result = os::run({"sh", "-c", "command -v " + name}, 10s);
  return result && result->exit_code == 0;
}

void run_or_fail(const std::vector<std::string>& argv) {
  const auto result = os::run(argv, 120s);
  ASSERT_TRUE(result) << argv[0] << ": " << result.error().message;
  ASSERT_EQ(result->exit_code, 0) << argv[0] << ": " << result->errors;
}

uint16_t free_port() {
  const auto listener = os::listen_tcp("127.0.0.1", 0);
  return listener ? *os::local_port(listener->get()) : 0;
}

bool wait_for_port(uint16_t port) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    if (os::connect_tcp("127.0.0.1", port, 1s)) return true;
    usleep(10'000);
  }
  return false;
}

void write_file(const std::string& path, ByteView data) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  ASSERT_TRUE(out.good()) << path;
}

Buffer make_disk(size_t size, uint64_t seed) {
  constexpr size_t kBlock = 4096;
  Rng rng(seed);
  Buffer disk(size);
  for (size_t at = 0; at < size;) {
    // Runs of one kind, of 4 KiB to 1 MiB.
    const size_t end = std::min<size_t>(size, at + kBlock * rng.between(1, 256));
    const uint64_t kind = rng.below(4);
    for (; at < end; ++at) {
      if (kind == 0) continue;                                               // zeroes
      if (kind == 1) disk[at] = static_cast<std::byte>(rng.next());          // random
      if (kind == 2) disk[at] = static_cast<std::byte>('a' + rng.below(6));  // packs well
      if (kind == 3) disk[at] = at < kMiB ? std::byte{7} : disk[at - kMiB];  // seen before
    }
  }
  return disk;
}

void on_two_threads(size_t count, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(i);
  };
  std::thread other(work);
  work();
  other.join();
}

Result<image::ImportResult> import_file(const std::string& path, repository::Store& store,
                                        const std::string& name,
                                        std::optional<image::DiskFormat> format) {
  FR_TRY(const auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const auto disk, image::open_disk(*file, path, format));
  image::ImportOptions options;
  options.image_name = name;
  options.created = "2026-11-21T02:40:00Z";
  options.parallel_for = on_two_threads;
  return image::import_disk(*disk, store, options);
}

Result<Buffer> read_back(repository::Source& source, const std::string& name, size_t threads) {
  FR_TRY(const auto tag, repository::fetch_tag(source, name));
  FR_TRY(const auto index, repository::fetch_index(source, tag.index));
  Buffer disk(index.size_bytes);
  std::mutex mutex;
  Status status;
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i = next++; i < index.chunks.size(); i = next++) {
      if (index.chunks[i].is_zero()) continue;
      const auto chunk = repository::fetch_chunk(source, index.chunks[i]);
      if (chunk) {
        std::ranges::copy((*chunk)->content,
                          disk.begin() + static_cast<ptrdiff_t>(i * repository::kChunkSize));
        continue;
      }
      const std::lock_guard lock(mutex);
      status = std::unexpected(chunk.error());
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  FR_CHECK(status);
  return disk;
}

}  // namespace forerun::testing_support
