#include "daemon/folder_capture.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <map>

#include "image/content_hasher.h"
#include "os/walk.h"

namespace forerun::daemon {
namespace {

using image::FileTree;
using image::InodeKind;
using image::TreeInode;

constexpr std::string_view kOverlay = "trusted.overlay.";

std::optional<InodeKind> kind_of(const os::WalkEntry& entry) {
  if (S_ISREG(entry.mode)) return InodeKind::kRegular;
  if (S_ISDIR(entry.mode)) return InodeKind::kDirectory;
  if (S_ISLNK(entry.mode)) return InodeKind::kSymlink;
  if (S_ISBLK(entry.mode)) return InodeKind::kBlockDevice;
  if (S_ISCHR(entry.mode)) return InodeKind::kCharDevice;
  if (S_ISFIFO(entry.mode)) return InodeKind::kFifo;
  return std::nullopt;  // a socket
}

bool is_device(InodeKind kind) {
  return kind == InodeKind::kBlockDevice || kind == InodeKind::kCharDevice;
}

// Whether they differ in nothing but their time and, of files, their content.
bool same_attributes(const TreeInode& a, const TreeInode& b) {
  return a.kind == b.kind && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
         a.size == b.size && a.device_major == b.device_major && a.device_minor == b.device_minor &&
         a.target == b.target && a.xattrs == b.xattrs;
}

class Capture {
 public:
  Capture(const CaptureOptions& options, image::ComponentBuilder& builder)
      : options_(options), builder_(builder) {}

  Result<bool> visit(const os::WalkEntry& entry, const os::ReadContent& content,
                     const std::function<void()>& again) {
    const auto kind = kind_of(entry);
    if (!kind) return false;
    if (!entry.path.empty() && options_.leave_out &&
        options_.leave_out(entry.path, *kind == InodeKind::kDirectory))
      return false;
    if (options_.is_overlay && *kind == InodeKind::kCharDevice && entry.device_major == 0 &&
        entry.device_minor == 0) {
      FR_CHECK(add_waiting(entry.path));
      FR_CHECK(builder_.add_whiteout(entry.path));
      return false;
    }
    if (is_device(*kind) && !options_.allow_devices)
      return fail(ErrorCode::kInvalid,
                  fmt::format("{} is a device, which is not allowed here", entry.path));
    FR_TRY(TreeInode inode, inode_of(entry, *kind));
    if (*kind == InodeKind::kDirectory) return visit_folder(entry.path, std::move(inode));
    FR_CHECK(visit_file(entry, std::move(inode), content, again));
    return false;
  }

 private:
  struct Folder {
    std::string path;
    TreeInode inode;
  };

  Result<TreeInode> inode_of(const os::WalkEntry& entry, InodeKind kind) const {
    TreeInode inode;
    inode.kind = kind;
    inode.mode = static_cast<uint16_t>(entry.mode & 07777);
    if (kind == InodeKind::kSymlink) inode.mode = 0777;
    inode.uid = entry.uid;
    inode.gid = entry.gid;
    inode.mtime_s = entry.mtime_s;
    inode.mtime_ns = entry.mtime_ns;
    if (inode.mtime_s >= options_.made_since_s) {
      inode.mtime_s = options_.made_at_s;
      inode.mtime_ns = 0;
    }
    if (kind == InodeKind::kRegular) inode.size = entry.size;
    if (is_device(kind)) {
      inode.device_major = entry.device_major;
      inode.device_minor = entry.device_minor;
    }
    inode.target = entry.target;
    for (const os::WalkAttribute& attribute : entry.attributes)
      FR_CHECK(add_attribute(entry.path, attribute, inode));
    std::sort(inode.xattrs.begin(), inode.xattrs.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return inode;
  }

  Status add_attribute(const std::string& path, const os::WalkAttribute& attribute,
                       TreeInode& inode) const {
    if (!options_.is_overlay || !attribute.name.starts_with(kOverlay)) {
      inode.xattrs.push_back({attribute.name, attribute.value});
      return {};
    }
    const std::string_view mark = std::string_view(attribute.name).substr(kOverlay.size());
    if (mark == "redirect" || mark == "metacopy")
      return fail(ErrorCode::kInvalid,
                  fmt::format("{} is {}: mount the overlay with redirect_dir=off,metacopy=off",
                              path.empty() ? "the folder" : path,
                              mark == "redirect" ? "renamed from elsewhere" : "without its data"));
    if (mark == "opaque" && as_text(attribute.value) == "y") inode.is_opaque = true;
    return {};
  }

  // Returns what lies below at a path; null if nothing does or it is not known.
  const TreeInode* below(std::string_view path) const {
    if (!hidden_.empty() && is_in(path, hidden_)) return nullptr;
    for (auto tree = options_.below.rbegin(); tree != options_.below.rend(); ++tree) {
      const auto [found, goes_on] = find_in(**tree, fmt::format("/{}", path));
      if (!goes_on) return found;
    }
    return nullptr;
  }

  // Returns what a tree has at a path, and whether what lies below that tree shows through.
  static std::pair<const TreeInode*, bool> find_in(const FileTree& tree, std::string_view path) {
    bool goes_on = true;
    for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      const auto name = tree.find(path.substr(0, end));
      if (!name) return {nullptr, goes_on};
      const TreeInode& inode = tree.inodes[tree.names[*name].inode];
      if (inode.kind == InodeKind::kWhiteout) return {nullptr, false};
      if (end == std::string_view::npos) return {&inode, false};
      if (inode.kind != InodeKind::kDirectory) return {nullptr, false};
      if (inode.is_opaque) goes_on = false;
    }
  }

  Result<bool> visit_folder(const std::string& path, TreeInode inode) {
    if (path.empty()) return true;
    while (!waiting_.empty() && !is_in(path, waiting_.back().path)) waiting_.pop_back();
    if (!options_.below.empty()) {
      const TreeInode* lower = below(path);
      if (lower == nullptr || lower->kind != InodeKind::kDirectory) inode.is_opaque = false;
      if (inode.is_opaque) hidden_ = path;
      if (lower != nullptr && !inode.is_opaque && same_attributes(inode, *lower)) {
        // Its time tells only that something in it changed.
        inode.mtime_s = lower->mtime_s;
        inode.mtime_ns = lower->mtime_ns;
        waiting_.push_back({path, std::move(inode)});
        return true;
      }
    }
    FR_CHECK(add_waiting(path));
    FR_CHECK(add_folder(path, std::move(inode)));
    return true;
  }

  Status visit_file(const os::WalkEntry& entry, TreeInode inode, const os::ReadContent& content,
                    const std::function<void()>& again) {
    FR_TRY(const bool is_same, is_unchanged(entry, inode, content));
    if (is_same) return {};
    if (again) again();
    FR_CHECK(add_waiting(entry.path));
    if (entry.link_count > 1) {
      const auto [first, is_new] =
          linked_.try_emplace({entry.file_system, entry.inode}, entry.path);
      if (!is_new) return builder_.add_link(entry.path, first->second);
    }
    return builder_.add(entry.path, std::move(inode), content);
  }

  // A file of several names is compared under each: what is left out of a pair is below all the
  // same.
  Result<bool> is_unchanged(const os::WalkEntry& entry, const TreeInode& inode,
                            const os::ReadContent& content) const {
    const TreeInode* lower = options_.below.empty() ? nullptr : below(entry.path);
    if (lower == nullptr || entry.link_count > 1 || !same_attributes(inode, *lower)) return false;
    if (inode.kind != InodeKind::kRegular) return true;
    image::ContentHasher hasher;
    Buffer part(256 * kKiB);
    for (;;) {
      FR_TRY(const size_t count, content(part));
      if (count == 0) break;
      hasher.add(ByteView(part).first(count));
    }
    return hasher.finish() == lower->content;
  }

  static bool is_in(std::string_view path, std::string_view folder) {
    return folder.empty() ||
           (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
  }

  // Adds the folders that wait and that `path` is in.
  Status add_waiting(std::string_view path) {
    std::vector<Folder> folders;
    folders.swap(waiting_);
    for (Folder& folder : folders)
      if (is_in(path, folder.path)) FR_CHECK(add_folder(folder.path, std::move(folder.inode)));
    return {};
  }

  Status add_folder(const std::string& path, TreeInode inode) {
    const bool is_opaque = std::exchange(inode.is_opaque, false);
    FR_CHECK(builder_.add(path, std::move(inode)));
    return is_opaque ? builder_.set_opaque(path) : Status();
  }

  const CaptureOptions& options_;
  image::ComponentBuilder& builder_;
  std::string hidden_;           // the last opaque folder: nothing below it shows
  std::vector<Folder> waiting_;  // each in the one before; equal to those below, and perhaps empty
  std::map<std::pair<uint64_t, uint64_t>, std::string> linked_;  // first name of files with several
};

}  // namespace

Status capture_folder(const std::string& path, const CaptureOptions& options,
                      image::ComponentBuilder& builder) {
  Capture capture(options, builder);
  return os::walk_tree(path, [&](const auto& entry, const auto& content, const auto& again) {
    return capture.visit(entry, content, again);
  });
}

}  // namespace forerun::daemon
