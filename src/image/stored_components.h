// Puts small components into a store: for tests of what composes them.
#pragma once

#include <string>
#include <vector>

#include "image/component_builder.h"
#include "image/memory_file.h"
#include "repository/memory_store.h"

namespace forerun::image {

struct StoredEntry {
  std::string path, content;  // absolute
  uint32_t uid = 0, gid = 0;
  uint16_t mode = 0644;
  InodeKind kind = InodeKind::kRegular;  // of a symbolic link, content is its target
};

// Builds a component of `entries` and tags it, as its name or `tag_name`.
inline void put_component(repository::MemoryStore& store, ComponentInfo info,
                          const std::vector<StoredEntry>& entries,
                          const std::string& tag_name = "") {
  MemoryFile scratch;
  BuildOptions options;
  if (info.version.empty()) info.version = "1";
  if (info.function.empty()) info.function = "service";
  info.architecture = "amd64";
  options.info = std::move(info);
  options.created = "2026-11-21T02:40:00Z";
  options.tag = tag_name;
  auto builder = ComponentBuilder::create(store, scratch, options).value();
  for (const StoredEntry& entry : entries) {
    TreeInode inode;
    inode.kind = entry.kind;
    inode.mode = entry.mode;
    inode.uid = entry.uid, inode.gid = entry.gid;
    if (entry.kind == InodeKind::kWhiteout) {
      builder->add_whiteout(entry.path.substr(1)).value();
      continue;
    }
    if (entry.kind == InodeKind::kSymlink) inode.target = entry.content;
    if (entry.kind == InodeKind::kRegular) inode.size = entry.content.size();
    size_t done = 0;
    const ByteStream stream = [&](MutableByteView out) -> Result<size_t> {
      const ByteView left = as_bytes(entry.content).subspan(done);
      const size_t count = std::min(left.size(), out.size());
      std::copy_n(left.begin(), count, out.begin());
      done += count;
      return count;
    };
    builder->add(entry.path.substr(1), inode, stream).value();
  }
  builder->publish().value();
}

}  // namespace forerun::image
