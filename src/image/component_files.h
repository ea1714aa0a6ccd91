// Reads single files of a component, through its chunks: for what composing must look into.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "image/component_index.h"
#include "image/fetched_chunks.h"

namespace forerun::image {

// Thread-safe if the chunks' source is.
class ComponentFiles {
 public:
  // Both outlive this object.
  ComponentFiles(const ComponentIndex& index, FetchedChunks& chunks);

  const std::string& name() const { return index_.info.name; }
  const ComponentIndex& index() const { return index_; }
  // Returns what stands at an absolute path; null if nothing does. Links are not followed.
  const TreeInode* find(std::string_view path) const;
  // Returns the names in a directory, sorted; none if none stands there.
  std::vector<std::string_view> list(std::string_view path) const;
  // Appends the chunks of the regular file at `path`, if one stands there.
  void add_chunks(std::string_view path, std::vector<repository::ChunkRef>& chunks) const;
  // Returns a regular file's content; nothing if none stands there. ERRORS: kTooLarge over
  // `bytes_max`; as fetch_chunk.
  Result<std::optional<std::string>> text(std::string_view path, uint64_t bytes_max) const;

 private:
  std::optional<uint32_t> find_name(std::string_view path) const;

  const ComponentIndex& index_;
  FetchedChunks& chunks_;
  std::vector<uint32_t> subtree_end_;  // by name: the first name after all below it
};

// Returns where `path` leads when `components` lie one on another: follows links, those of the last
// name too. What does not exist stays as it is written. Nothing if links go in a circle.
std::optional<std::string> resolve_path(std::span<const ComponentFiles> components,
                                        std::string_view path);
// Returns what the last component that has something at `path` has there; null if it is nothing, or
// a whiteout.
const TreeInode* find_last(std::span<const ComponentFiles> components, std::string_view path);

}  // namespace forerun::image
