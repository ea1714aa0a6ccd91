// Reads single files of a component, through its chunks: for what composing must look into.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "image/component_index.h"
#include "repository/source.h"

namespace forerun::image {

// Thread-safe if the source is.
class ComponentFiles {
 public:
  // Both outlive this object.
  ComponentFiles(const ComponentIndex& index, repository::Source& source)
      : index_(index), source_(source) {}

  const std::string& name() const { return index_.info.name; }
  const ComponentIndex& index() const { return index_; }
  // Returns what stands at an absolute path; null if nothing does. Links are not followed.
  const TreeInode* find(std::string_view path) const;
  // Returns a regular file's content; nothing if none stands there. ERRORS: kTooLarge over
  // `bytes_max`; as fetch_chunk.
  Result<std::optional<std::string>> text(std::string_view path, uint64_t bytes_max) const;

 private:
  const ComponentIndex& index_;
  repository::Source& source_;
};

}  // namespace forerun::image
