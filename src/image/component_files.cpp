#include "image/component_files.h"

#include <fmt/format.h>

#include "repository/fetch.h"

namespace forerun::image {

using repository::kChunkSize;

const TreeInode* ComponentFiles::find(std::string_view path) const {
  const auto name = index_.tree.find(path);
  return name ? &index_.tree.inodes[index_.tree.names[*name].inode] : nullptr;
}

Result<std::optional<std::string>> ComponentFiles::text(std::string_view path,
                                                        uint64_t bytes_max) const {
  const TreeInode* inode = find(path);
  if (inode == nullptr || inode->kind != InodeKind::kRegular) return std::nullopt;
  if (inode->size > bytes_max)
    return fail(ErrorCode::kTooLarge, fmt::format("{} of component {} has {} bytes, {} at most",
                                                  path, name(), inode->size, bytes_max));
  std::string content(inode->size, '\0');
  for (const FileExtent& extent : inode->extents) {
    for (uint64_t done = 0; done < extent.length;) {
      const uint64_t at = extent.data_offset + done;
      const repository::ChunkRef& ref = index_.data.chunks.at(at / kChunkSize);
      const uint64_t in_chunk = at % kChunkSize;
      const uint64_t count = std::min(extent.length - done, kChunkSize - in_chunk);
      if (!ref.is_zero()) {
        FR_TRY(const repository::ChunkPtr chunk, repository::fetch_chunk(source_, ref));
        const std::string_view bytes = as_text(chunk->content);
        if (in_chunk < bytes.size())
          content.replace(extent.file_offset + done, std::min(count, bytes.size() - in_chunk),
                          bytes.substr(in_chunk, count));
      }
      done += count;
    }
  }
  return content;
}

}  // namespace forerun::image
