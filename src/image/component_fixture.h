// For tests: builds components in memory and reads their files back through their chunks.
#pragma once

#include <string>
#include <string_view>

#include "core/rng.h"
#include "image/component_builder.h"
#include "image/memory_file.h"
#include "repository/fetch.h"
#include "repository/memory_store.h"

namespace forerun::image {

inline BuildOptions build_options(std::string name = "part") {
  BuildOptions options;
  options.info.name = std::move(name);
  options.created = "2026-11-21T02:40:00Z";
  options.chunks.batch_chunks = 3;
  return options;
}

inline TreeInode plain_inode(InodeKind kind, uint16_t mode = 0644) {
  TreeInode inode;
  inode.kind = kind;
  inode.mode = mode;
  inode.mtime_s = 1'700'000'000;
  return inode;
}

// Bytes that compress a little, none of them zero.
inline std::string random_text(size_t size, uint64_t seed) {
  Rng rng(seed);
  std::string text(size, 'x');
  for (char& c : text) c = static_cast<char>('a' + rng.below(16));
  return text;
}

inline Status add_file(ComponentBuilder& builder, std::string_view path, std::string_view content) {
  TreeInode inode = plain_inode(InodeKind::kRegular);
  inode.size = content.size();
  return builder.add(path, std::move(inode), stream_of(as_bytes(content)));
}

// Returns the content of the file at `path`, "/usr/bin/env", as a disk would show it.
inline Result<std::string> read_file(repository::Source& store, const ComponentIndex& index,
                                     std::string_view path) {
  const auto name = index.tree.find(path);
  if (!name) return fail(ErrorCode::kNotFound, std::string(path));
  const TreeInode& inode = index.tree.inodes[index.tree.names[*name].inode];
  std::string content(inode.size, '\0');
  for (const FileExtent& extent : inode.extents) {
    for (uint64_t done = 0; done < extent.length;) {
      const uint64_t at = extent.data_offset + done;
      FR_TRY(const auto chunk,
             repository::fetch_chunk(store, index.data.chunks[at / repository::kChunkSize]));
      const size_t from = at % repository::kChunkSize;
      const size_t count = std::min<uint64_t>(extent.length - done, repository::kChunkSize - from);
      content.replace(extent.file_offset + done, count,
                      as_text(ByteView(chunk->content).subspan(from, count)));
      done += count;
    }
  }
  if (sha256(as_bytes(content)) != inode.content)
    return fail(ErrorCode::kCorrupt, std::string(path));
  return content;
}

}  // namespace forerun::image
