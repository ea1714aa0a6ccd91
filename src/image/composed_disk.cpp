#include "image/composed_disk.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <map>
#include <set>

#include "image/ext4.h"
#include "image/ext4_channel.h"

namespace forerun::image {
namespace {

// libext2fs gives an access list's entries without an owner the owner 0; the kernel, which has no
// owner for them on the disk either, -1.
Buffer as_libext2fs_says(const Xattr& xattr) {
  Buffer value = xattr.value;
  if (!xattr.name.starts_with("system.posix_acl_")) return value;
  for (size_t at = 4; at + 8 <= value.size(); at += 8) {
    const bool has_owner = value[at] == std::byte{2} || value[at] == std::byte{8};
    if (!has_owner) std::fill_n(value.begin() + static_cast<ptrdiff_t>(at) + 4, 4, std::byte{0});
  }
  return value;
}

class Comparison {
 public:
  Comparison(FileSystem& files, ext2_filsys fs, const MergedTree& tree,
             std::span<const ByteView> data)
      : files_(files), fs_(fs), tree_(tree), data_(data), numbers_(tree.names.size()) {}

  std::vector<std::string> run() {
    std::vector<std::vector<uint32_t>> children(tree_.names.size());
    for (uint32_t i = 1; i < tree_.names.size(); ++i) children[tree_.names[i].parent].push_back(i);
    numbers_[0] = files_.root();
    for (uint32_t i = 0; i < tree_.names.size() && found_.size() < kFoundMax; ++i) {
      path_ = tree_.path_of(i);
      const MergedInode& inode = inode_of(i);
      const auto [known, is_first] = seen_.try_emplace(tree_.names[i].inode, numbers_[i]);
      if (!is_first) {
        check(known->second == numbers_[i], "is not the same file as its other name");
        continue;
      }
      check(taken_.insert(numbers_[i]).second, "is the same file as another");
      compare_inode(inode, static_cast<ext2_ino_t>(numbers_[i]));
      if (inode.source->kind == InodeKind::kDirectory) compare_directory(i, children[i]);
    }
    return std::move(found_);
  }

 private:
  static constexpr size_t kFoundMax = 20;

  const MergedInode& inode_of(uint32_t name) const { return tree_.inodes[tree_.names[name].inode]; }
  void check(bool holds, std::string_view what) {
    if (!holds) found_.push_back(fmt::format("{} {}", path_, what));
  }
  template <typename T>
  void check_equal(const T& is, const T& should_be, std::string_view what) {
    check(is == should_be, fmt::format("has {} {}, not {}", what, is, should_be));
  }

  void compare_directory(uint32_t name, const std::vector<uint32_t>& children) {
    const auto entries = files_.list(numbers_[name]);
    if (!entries) return check(false, entries.error().message);
    std::map<std::string_view, FileId> by_name;
    for (const DirectoryEntry& entry : *entries) by_name.emplace(entry.name, entry.file);
    check(by_name.size() == entries->size(), "has a name twice");
    bool has_lost_and_found = name != 0;
    for (const uint32_t child : children) {
      const auto entry = by_name.find(tree_.names[child].name);
      if (tree_.names[child].name == "lost+found") has_lost_and_found = true;
      check(entry != by_name.end(),
            fmt::format("has no entry '{}'", std::string(tree_.names[child].name)));
      if (entry != by_name.end()) numbers_[child] = entry->second;
    }
    check_equal(entries->size(), children.size() + (has_lost_and_found ? 0 : 1),
                "entries, in number,");
  }

  void compare_inode(const MergedInode& merged, ext2_ino_t number) {
    const TreeInode& source = *merged.source;
    ext2_inode_large inode{};
    if (const errcode_t code = ext2fs_read_inode_full(
            fs_, number, reinterpret_cast<ext2_inode*>(&inode), sizeof inode)) {
      return check(false, fmt::format("cannot be read: {}", error_message(code)));
    }
    constexpr uint32_t kTypes[] = {0,
                                   LINUX_S_IFREG,
                                   LINUX_S_IFDIR,
                                   LINUX_S_IFLNK,
                                   LINUX_S_IFBLK,
                                   LINUX_S_IFCHR,
                                   LINUX_S_IFIFO};
    check_equal<uint32_t>(inode.i_mode, kTypes[static_cast<size_t>(source.kind)] | source.mode,
                          "mode");
    check_equal<uint32_t>(inode_uid(inode), merged.uid, "uid");
    check_equal<uint32_t>(inode_gid(inode), merged.gid, "gid");
    const int64_t seconds =
        static_cast<int32_t>(inode.i_mtime) + (static_cast<int64_t>(inode.i_mtime_extra & 3) << 32);
    check_equal(seconds, source.mtime_s, "mtime");
    check_equal(inode.i_mtime_extra >> 2, source.mtime_ns, "mtime nanoseconds");
    if (source.kind != InodeKind::kDirectory) {
      check_equal<uint32_t>(inode.i_links_count, merged.link_count, "links");
    }
    compare_xattrs(source, number);
    switch (source.kind) {
      case InodeKind::kRegular:
        return compare_content(merged, number);
      case InodeKind::kSymlink: {
        const auto target = files_.link_target(number);
        check(target && *target == source.target, "leads elsewhere");
        return;
      }
      case InodeKind::kBlockDevice:
      case InodeKind::kCharDevice:
        return compare_device(source, inode);
      default:
        return;
    }
  }

  void compare_device(const TreeInode& source, const ext2_inode_large& inode) {
    const uint32_t old_form = inode.i_block[0], new_form = inode.i_block[1];
    const bool is_old = old_form != 0 || new_form == 0;
    check_equal(is_old ? old_form >> 8 : new_form >> 8 & 0xfff, source.device_major, "major");
    check_equal(is_old ? old_form & 0xff : (new_form & 0xff) | (new_form >> 12 & 0xfff00),
                source.device_minor, "minor");
  }

  void compare_content(const MergedInode& merged, ext2_ino_t number) {
    const TreeInode& source = *merged.source;
    const auto info = files_.info(number);
    if (!info) return check(false, info.error().message);
    check_equal(info->size_bytes, source.size, "size");
    const auto ranges = files_.content_ranges(number);
    if (!ranges) return check(false, ranges.error().message);
    uint64_t on_disk = 0, in_tree = 0;
    for (const ByteRange& range : *ranges) on_disk += range.length;
    for (const FileExtent& extent : source.extents) {
      in_tree += extent.length;
      const ByteView data = data_[merged.component].subspan(extent.data_offset, extent.length);
      compare_part(number, extent.file_offset, data);
    }
    if (merged.content != nullptr) {
      in_tree = merged.content->size();
      compare_part(number, 0, *merged.content);
    }
    check_equal(on_disk, in_tree, "bytes on the disk, holes left out,");
  }

  void compare_part(ext2_ino_t number, uint64_t offset, ByteView data) {
    constexpr size_t kStep = 16 * kMiB;
    for (size_t at = 0; at < data.size(); at += kStep) {
      const size_t size = std::min(kStep, data.size() - at);
      const auto read = files_.read(number, offset + at, size);
      if (!read) return check(false, read.error().message);
      check(std::ranges::equal(*read, data.subspan(at, size)), "has other content");
    }
  }

  void compare_xattrs(const TreeInode& source, ext2_ino_t number) {
    ext2_xattr_handle* handle = nullptr;
    if (ext2fs_xattrs_open(fs_, number, &handle) != 0) return check(false, "opens no attributes");
    check(ext2fs_xattrs_read(handle) == 0, "has attributes that cannot be read");
    size_t count = 0;
    ext2fs_xattrs_count(handle, &count);
    check_equal(count, source.xattrs.size(), "attributes, in number,");
    for (const Xattr& xattr : source.xattrs) {
      void* value = nullptr;
      size_t size = 0;
      const errcode_t code = ext2fs_xattr_get(handle, xattr.name.c_str(), &value, &size);
      const ByteView is(static_cast<const std::byte*>(value), code == 0 ? size : 0);
      check(code == 0 && std::ranges::equal(is, as_libext2fs_says(xattr)),
            fmt::format("has another attribute {}", xattr.name));
      ext2fs_free_mem(&value);
    }
    ext2fs_xattrs_close(&handle);
  }

  FileSystem& files_;
  const ext2_filsys fs_;
  const MergedTree& tree_;
  const std::span<const ByteView> data_;
  std::vector<FileId> numbers_;      // by name
  std::map<uint32_t, FileId> seen_;  // by the tree's inode
  std::set<FileId> taken_;
  std::string path_;  // of what is compared
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> differences(DiskReader& disk, const MergedTree& tree,
                                     std::span<const ByteView> component_data) {
  const ByteRange whole{0, disk.size_bytes()};
  const auto files = open_ext4(disk, whole);
  if (!files) return {files.error().message};
  CachedPart part(disk, whole);
  ext2_filsys fs = nullptr;
  if (const errcode_t code = open_file_system(part, EXT2_FLAG_64BITS, &fs)) {
    return {fmt::format("libext2fs: {}", error_message(code))};
  }
  std::vector<std::string> found = Comparison(**files, fs, tree, component_data).run();
  ext2fs_free(fs);
  return found;
}

}  // namespace forerun::image
