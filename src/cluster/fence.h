// A host's memory of who leads: acts of an earlier leader are refused, also after a restart.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "core/result.h"

namespace forerun::cluster {

// Thread-safe.
class Fence {
 public:
  // `scope` names the store and the cluster: tokens of different ones cannot be compared, so with
  // another scope than the file's it begins anew. ERRORS: kIo; kCorrupt: the file is none.
  static Result<std::unique_ptr<Fence>> open(const std::string& path, const std::string& scope);

  // Lets an act with this token pass, once it is on disk that no older one will.
  // ERRORS: kDenied: a later leader has been seen, or it has no token; kIo, kNoSpace.
  Status admit(uint64_t token, std::string_view act);
  uint64_t highest() const;

 private:
  Fence(std::string path, std::string scope) : path_(std::move(path)), scope_(std::move(scope)) {}

  const std::string path_, scope_;
  mutable std::mutex mutex_;
  uint64_t highest_ = 0;  // guarded by mutex_; held while it is written, which is rare
};

}  // namespace forerun::cluster
