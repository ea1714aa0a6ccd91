// Paths of a FileSystem, as a program inside it would see them: symbolic links are followed, also
// absolute ones, and never lead out.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "image/file_system.h"

namespace forerun::image {

// Not thread-safe. Keeps the listings of the directories it has been through.
class PathFinder {
 public:
  explicit PathFinder(FileSystem& files) : files_(files) {}

  struct Found {
    FileId file = 0;
    FileInfo info;
    std::string path;            // without links
    std::vector<FileId> passed;  // directories and links on the way, in order; not the file itself
  };
  // Returns what stands at an absolute path. ERRORS: kNotFound; kTooLarge after 40 links or
  // kListedMax directory entries; those of the file system.
  Result<Found> find(std::string_view path);

  using Listing = std::map<std::string, FileId, std::less<>>;
  // Returns a directory's entries by name. The reference lives as long as this object.
  Result<const Listing*> list(FileId directory);

  FileSystem& files() { return files_; }

  static constexpr size_t kListedMax = 1'000'000;

 private:
  FileSystem& files_;
  std::map<FileId, Listing> listings_;
  size_t listed_ = 0;
};

}  // namespace forerun::image
