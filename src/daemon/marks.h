// Which components are marked shareable: what VMs of one tenant teach about them may serve those of
// others. Kept in a file, a line each: the digest and the name it was marked by. A component that
// is not in it is private to each tenant.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "core/id.h"
#include "core/result.h"

namespace forerun::daemon {

// Thread-safe.
class Marks {
 public:
  // Nothing is marked if there is no such file. ERRORS: kCorrupt: a line is no mark; kIo.
  static Result<std::unique_ptr<Marks>> open(std::string path);

  bool is_shareable(const Digest& component) const;
  // ERRORS: kIo, kNoSpace: the mark is as it was.
  Status mark(const Digest& component, const std::string& name, bool is_shareable);

 private:
  explicit Marks(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  mutable std::mutex mutex_;  // guards the below
  std::map<Digest, std::string> shareable_;
};

}  // namespace forerun::daemon
