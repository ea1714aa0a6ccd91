#include "image/kind_context.h"

#include <algorithm>
#include <set>

namespace forerun::image {

bool KindContext::is_seen_by(size_t earlier, size_t later) const {
  return later < sees_.size() &&
         std::ranges::find(sees_[later], static_cast<uint32_t>(earlier)) != sees_[later].end();
}

std::vector<uint32_t> KindContext::siblings_with(std::string_view path) const {
  const auto has_path = [&](size_t component) { return has(component, path); };
  std::vector<uint32_t> siblings;
  for (uint32_t i = 1; i < components_.size(); ++i) {
    if (has_path(i) && topmost(i, has_path) == i) siblings.push_back(i);
  }
  return siblings;
}

Result<std::vector<TextVersion>> KindContext::versions_of(std::string_view path,
                                                          uint64_t bytes_max) const {
  std::vector<TextVersion> versions;
  for (size_t i = 0; i < components_.size(); ++i) {
    const ComponentFiles& files = components_[i];
    FR_TRY(auto text, files.text(path, bytes_max));
    if (!text && i > 0 && files.find(path) == nullptr) {
      size_t below = i - 1;
      while (below > 0 && !(is_seen_by(below, i) && has(below, path))) --below;
      text = versions[below].text;
    }
    versions.push_back({files.name(), text ? std::move(*text) : std::string()});
  }
  return versions;
}

std::vector<std::string> KindContext::names_in(std::string_view folder) const {
  std::set<std::string> names;
  for (const ComponentFiles& files : components_) {
    for (const std::string_view name : files.list(folder)) names.emplace(name);
  }
  return {names.begin(), names.end()};
}

// Returns the new file, with the attributes of the first that stands there.
GeneratedFile& KindContext::put(std::string_view path) {
  GeneratedFile file;
  file.path = path;
  file.inode.mode = 0644;
  for (size_t i = 0; i < components_.size(); ++i) {
    const TreeInode* like = components_[i].find(path);
    if (like == nullptr || like->kind == InodeKind::kWhiteout) continue;
    file.inode = *like;
    const auto map = [&](uint32_t& id, const std::map<uint32_t, uint32_t>& moved) {
      if (const auto found = moved.find(id); found != moved.end()) id = found->second;
    };
    if (i < merge_.ids.size()) {
      map(file.inode.uid, merge_.ids[i].users);
      map(file.inode.gid, merge_.ids[i].groups);
    }
    break;
  }
  file.inode.extents.clear();
  std::erase_if(merge_.generated, [&](const GeneratedFile& known) { return known.path == path; });
  return merge_.generated.emplace_back(std::move(file));
}

void KindContext::generate(std::string_view path, std::string text) {
  const auto is_file = [&](const ComponentFiles& files) {
    const TreeInode* inode = files.find(path);
    return inode != nullptr && inode->kind == InodeKind::kRegular;
  };
  if (std::ranges::none_of(components_, is_file)) return;
  GeneratedFile& file = put(path);
  const ByteView bytes = as_bytes(text);
  file.inode.kind = InodeKind::kRegular;
  file.inode.size = bytes.size();
  file.inode.content = sha256(bytes);
  file.content.assign(bytes.begin(), bytes.end());
}

void KindContext::link(std::string_view path, std::string target) {
  TreeInode& inode = put(path).inode;
  const TreeInode old = inode;
  inode = {};
  inode.kind = InodeKind::kSymlink;
  inode.mode = 0777;
  inode.uid = old.uid, inode.gid = old.gid;
  inode.mtime_s = old.mtime_s, inode.mtime_ns = old.mtime_ns;
  inode.target = std::move(target);
}

void KindContext::drop(std::string_view path) {
  const auto has_path = [&](const ComponentFiles& files) { return files.find(path) != nullptr; };
  if (std::ranges::none_of(components_, has_path)) return;
  GeneratedFile& file = put(path);
  file.inode = {};
  file.inode.kind = InodeKind::kWhiteout;
}

}  // namespace forerun::image
