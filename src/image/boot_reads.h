// Collects what a boot will read of a file system, in order: files, what leads to them, and what
// programs load.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/path_finder.h"

namespace forerun::image {

// A part of the disk that a boot reads, with the probability that it does.
struct BootRead {
  ByteRange range;
  FileId file = 0;  // whose it is; 0: of the file system itself
  float probability = 0;
  bool is_record = false;  // the inode: mounted file systems read those ahead in groups
};

// Not thread-safe. What is missing, damaged or too large is passed over: a prediction may leave
// things out. The work is bounded by Options.
class BootReads {
 public:
  struct Options {
    size_t files_max = 20'000;
    uint64_t bytes_max = 256 * kMiB;
    uint64_t plain_bytes_max = 512 * kKiB;  // of a file that is read, not mapped
  };
  BootReads(FileSystem& files, Options options) : options_(options), finder_(files) {}

  // What mounting reads.
  void add_mount(float probability);
  // A part of the disk that is read as it is.
  void add_range(const ByteRange& range, float probability) {
    reads_.push_back({range, 0, probability, false});
  }
  // The file at `path` and what leads to it; as a whole if it is not over `bytes_max`. Returns
  // where it was found.
  std::optional<PathFinder::Found> add_file(std::string_view path, float probability,
                                            uint64_t bytes_max);
  std::optional<PathFinder::Found> add_file(std::string_view path, float probability) {
    return add_file(path, probability, options_.plain_bytes_max);
  }
  // Of the file at `path` these ranges of its content, and what leads to it.
  void add_parts(std::string_view path, std::span<const ByteRange> parts, float probability);
  // A program: the file, its interpreter and its libraries, each once.
  void add_program(std::string_view path, float probability);
  // A folder that is listed, and each file in it; `depth` levels of sub-folders.
  void add_folder(std::string_view path, float probability, int depth = 0);
  // As add_folder, for programs.
  void add_programs_of(std::string_view path, float probability);

  // Returns the text of a file of at most `bytes_max` bytes, without adding it.
  std::optional<std::string> text_of(std::string_view path, size_t bytes_max);
  PathFinder& finder() { return finder_; }

  // In order; each file once.
  const std::vector<BootRead>& reads() const { return reads_; }
  size_t file_count() const { return added_.size(); }

 private:
  // Of a file's parts; the edges are its first and last blocks.
  struct Shares {
    float record = 0, edges = 0, middle = 0;
  };
  struct Added {
    std::vector<size_t> records, edges, middle;  // indexes of reads_
    bool has_content = false;
  };
  struct Loading {
    PathFinder::Found file;
    int depth = 0;  // 0: the program, 1: what it names, 2: what a library names
  };
  void add_found(const PathFinder::Found& found, const Shares& shares, uint64_t bytes_max);
  void add_id(FileId file, const Shares& shares, bool with_content);
  void add_content(FileId file, const Shares& shares, Added& added);
  void load(const PathFinder::Found& program, float probability);
  void add_needs(const Loading& program, float probability, std::deque<Loading>& queue);

  Options options_;
  PathFinder finder_;
  std::vector<BootRead> reads_;
  std::map<FileId, Added> added_;
  std::map<FileId, Shares> loaded_;  // programs and libraries whose needs were followed
  uint64_t bytes_ = 0;
};

}  // namespace forerun::image
