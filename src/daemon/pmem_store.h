// Disks of images as flat files, for guests that map them as persistent memory: one file for each
// image content, made when it is first wanted, shared by all VMs, removed when none is left.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "core/id.h"
#include "core/result.h"
#include "daemon/image_catalog.h"
#include "repository/source.h"

namespace forerun::daemon {

// Thread-safe.
class PmemStore {
 public:
  // A file that stays as long as somebody holds this. Immutable.
  struct File {
    std::string path;
    uint64_t size_bytes = 0;
  };
  using FilePtr = std::shared_ptr<const File>;

  // Files are kept in `folder`. Both outlive this object.
  PmemStore(std::string folder, ImageCatalog& catalog, repository::Source& source)
      : folder_(std::move(folder)), catalog_(catalog), source_(source) {}

  // Returns what provide() would, without making anything: the file may not be there.
  Result<File> plan(const std::string& image);
  // Returns the file of the image's disk, which is made first if it is not there: every chunk is
  // verified, and a half-made file never has the name of a whole one. Blocks as long as that takes.
  // ERRORS: the catalog's, the source's, kNoSpace, kIo.
  Result<FilePtr> provide(const std::string& image);
  // Takes hold of a file that a VM of an earlier run of the daemon has. ERRORS: kNotFound.
  Result<FilePtr> adopt(const std::string& path, uint64_t size_bytes);
  // Removes the files that nobody holds, and what was left half made.
  void sweep();

 private:
  std::string path_of(const Digest& digest) const { return folder_ + "/" + digest.hex() + ".raw"; }
  Status make(const ImageCatalog::Layout& layout, const std::string& path);
  File file_of(const ImageCatalog::Layout& layout) const;
  FilePtr hold(const File& file);  // with the mutex held

  const std::string folder_;
  ImageCatalog& catalog_;
  repository::Source& source_;

  std::mutex mutex_;  // guards all below; not held while a file is made
  std::condition_variable made_;
  std::set<std::string> being_made_;
  std::map<std::string, std::weak_ptr<const File>> held_;
};

}  // namespace forerun::daemon
