// What the tests of this folder share: a scratch folder, child processes, disks to import, reading
// images back.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "image/importer.h"
#include "os/file.h"
#include "repository/source.h"

namespace forerun::testing_support {

class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A program that runs while this lives; it is killed with us, however we end.
class Child {
 public:
  explicit Child(const std::vector<std::string>& argv);
  ~Child() { stop(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void stop();

 private:
  int pid_ = -1;
};

bool has_program(const std::string& name);
// Runs a program to its end; fails the test if it does not succeed.
void run_or_fail(const std::vector<std::string>& argv);
uint16_t free_port();
// Waits until something listens on 127.0.0.1:`port`.
bool wait_for_port(uint16_t port);

void write_file(const std::string& path, ByteView data);
// A disk as guests make them: compressible and random data, zeroes, repetition.
Buffer make_disk(size_t size, uint64_t seed);
void on_two_threads(size_t count, const std::function<void(size_t)>& body);
Result<image::ImportResult> import_file(const std::string& path, repository::Store& store,
                                        const std::string& name,
                                        std::optional<image::DiskFormat> format = std::nullopt);
// Fetches image `name` chunk by chunk, on `threads` threads.
Result<Buffer> read_back(repository::Source& source, const std::string& name, size_t threads = 1);

}  // namespace forerun::testing_support
