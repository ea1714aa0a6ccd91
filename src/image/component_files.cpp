#include "image/component_files.h"

#include <fmt/format.h>

namespace forerun::image {

using repository::kChunkSize;

ComponentFiles::ComponentFiles(const ComponentIndex& index, FetchedChunks& chunks)
    : index_(index), chunks_(chunks), subtree_end_(index.tree.names.size()) {
  for (uint32_t i = 0; i < subtree_end_.size(); ++i) subtree_end_[i] = i + 1;
  for (size_t i = subtree_end_.size(); i-- > 1;) {
    uint32_t& parent_end = subtree_end_[index.tree.names[i].parent];
    parent_end = std::max(parent_end, subtree_end_[i]);
  }
}

std::optional<uint32_t> ComponentFiles::find_name(std::string_view path) const {
  if (subtree_end_.empty() || !path.starts_with('/')) return std::nullopt;
  const auto& names = index_.tree.names;
  uint32_t at = 0;
  path.remove_prefix(1);
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    uint32_t child = at + 1;
    while (child < subtree_end_[at] && names[child].name != part) child = subtree_end_[child];
    if (part.empty() || child >= subtree_end_[at]) return std::nullopt;
    at = child;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return at;
}

const TreeInode* ComponentFiles::find(std::string_view path) const {
  const auto name = find_name(path);
  return name ? &index_.tree.inodes[index_.tree.names[*name].inode] : nullptr;
}

std::vector<std::string_view> ComponentFiles::list(std::string_view path) const {
  std::vector<std::string_view> children;
  const auto name = find_name(path);
  if (!name) return children;
  for (uint32_t child = *name + 1; child < subtree_end_[*name]; child = subtree_end_[child])
    children.push_back(index_.tree.names[child].name);
  return children;
}

void ComponentFiles::add_chunks(std::string_view path,
                                std::vector<repository::ChunkRef>& chunks) const {
  const TreeInode* inode = find(path);
  if (inode == nullptr || inode->kind != InodeKind::kRegular) return;
  for (const FileExtent& extent : inode->extents) {
    const uint64_t end = extent.data_offset + extent.length;
    for (uint64_t at = extent.data_offset; at < end; at = round_down(at, kChunkSize) + kChunkSize)
      chunks.push_back(index_.data.chunks.at(at / kChunkSize));
  }
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
        FR_TRY(const repository::ChunkPtr chunk, chunks_.get(ref));
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

const TreeInode* find_last(std::span<const ComponentFiles> components, std::string_view path) {
  for (size_t i = components.size(); i-- > 0;) {
    const TreeInode* inode = components[i].find(path);
    if (inode != nullptr) return inode->kind == InodeKind::kWhiteout ? nullptr : inode;
  }
  return nullptr;
}

std::optional<std::string> resolve_path(std::span<const ComponentFiles> components,
                                        std::string_view path) {
  constexpr int kLinksMax = 40;
  std::string left(path), at;
  for (int links = 0; links <= kLinksMax;) {
    while (left.starts_with('/')) left.erase(0, 1);
    if (left.empty()) return at.empty() ? "/" : at;
    const size_t slash = std::min(left.find('/'), left.size());
    const std::string part = left.substr(0, slash);
    left.erase(0, slash);
    if (part == ".") continue;
    if (part == "..") {
      at.erase(at.empty() ? 0 : at.rfind('/'));
      continue;
    }
    const std::string next = fmt::format("{}/{}", at, part);
    const TreeInode* inode = find_last(components, next);
    if (inode == nullptr || inode->kind != InodeKind::kSymlink) {
      at = next;
      continue;
    }
    ++links;
    left = inode->target + left;
    if (inode->target.starts_with('/')) at.clear();
  }
  return std::nullopt;
}

}  // namespace forerun::image
