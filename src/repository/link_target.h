// A store that can take objects of another without copying their data.
#pragma once

#include <string>

#include "core/result.h"
#include "repository/source.h"

namespace forerun::repository {

class LinkTarget {
 public:
  virtual ~LinkTarget() = default;
  // Makes the object at `path` the one that `from` has there, and returns whether it could: both
  // must be folders of one file system, and `from` must have it. The caller has verified it.
  virtual Result<bool> link(Source& from, const std::string& path) = 0;
};

}  // namespace forerun::repository
