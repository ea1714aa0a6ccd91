// The index of a component: who it is, its file tree, and its data as chunks. Immutable; named by
// the SHA-256 of its serialised bytes: components/<sha256>. Format: docs/format_component.md.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "image/file_tree.h"
#include "repository/image_index.h"

namespace forerun::image {

struct ComponentInfo {
  std::string name;          // as is_valid_name: "nginx"
  std::string version;       // "1.22.1-9"
  std::string function;      // what it is for, in a word: "base", "kernel", "service", "config"
  std::string architecture;  // "amd64"
  std::string origin;        // how it was built: "apt nginx on debian-12", "oci sha256:…"
  std::string licence;       // SPDX expression; may be empty
  std::vector<std::string> depends;   // names of components that must be there too, sorted
  std::vector<std::string> provides;  // other names it answers to, sorted
  bool operator==(const ComponentInfo&) const = default;
};

// Data: file contents, each distinct content once. A file of 64 KiB or more begins at a multiple of
// 64 KiB, so equal files are equal chunks in every component; smaller files are packed in path
// order into chunks that end where the content says (component_builder.h), so that a change moves
// only its own chunk's neighbours.
struct ComponentIndex {
  ComponentInfo info;
  FileTree tree;
  repository::ImageIndex data;
  bool operator==(const ComponentIndex&) const = default;
};

inline constexpr size_t kComponentIndexBytesMax = 256 * 1024 * 1024;
inline constexpr size_t kTreeNamesMax = 4'000'000;

// Returns the one serialised form. REQUIRES: as parse_component_index would accept it.
Buffer serialize(const ComponentIndex& index);
// Returns the index in `data`, which comes from outside: everything is checked before use. Accepts
// only what serialize() writes. ERRORS: kCorrupt, kUnsupported (a newer version), kTooLarge.
Result<ComponentIndex> parse_component_index(ByteView data);

}  // namespace forerun::image
