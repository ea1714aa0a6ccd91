// The kernel's word on composed disks: what it mounts is the merged tree, an overlayfs mount of the
// same components is the same tree, and what it writes leaves the file system clean. Needs root.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <fstream>

#include "random_components.h"

namespace forerun::image {
namespace {

using testing::IsEmpty;
namespace fs = std::filesystem;

// A folder that goes away with its owner, and what was mounted in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (fs::temp_directory_path() / "forerun-mount-XXXXXX").string();
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~TemporaryFolder() {
    for (const std::string& point : mounted_) {
      const auto run = os::run({"umount", point}, Nanos{60'000'000'000});
      // Never through a mount that stayed.
      if (!run || run->exit_code != 0) return;
    }
    fs::remove_all(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string make(const std::string& name) {
    fs::create_directory(path_ + "/" + name);
    return path_ + "/" + name;
  }
  const std::string& path() const { return path_; }
  // Returns why it could not be mounted.
  std::string mount(std::vector<std::string> arguments, const std::string& point) {
    arguments.insert(arguments.begin(), "mount");
    arguments.push_back(point);
    const auto run = os::run(arguments, Nanos{60'000'000'000});
    if (!run) return run.error().message;
    if (run->exit_code != 0) return run->errors;
    mounted_.insert(mounted_.begin(), point);
    return "";
  }
  void unmount(const std::string& point) {
    std::erase(mounted_, point);
    EXPECT_EQ(os::run({"umount", point}, Nanos{60'000'000'000})->exit_code, 0);
  }

 private:
  std::string path_;
  std::vector<std::string> mounted_;  // the last one first
};

mode_t type_of(InodeKind kind) {
  switch (kind) {
    case InodeKind::kRegular:
      return S_IFREG;
    case InodeKind::kDirectory:
      return S_IFDIR;
    case InodeKind::kSymlink:
      return S_IFLNK;
    case InodeKind::kBlockDevice:
      return S_IFBLK;
    case InodeKind::kCharDevice:
    case InodeKind::kWhiteout:
      return S_IFCHR;
    case InodeKind::kFifo:
      return S_IFIFO;
  }
  return 0;
}

// Returns the bytes at `at` of a file.
std::string read_part(const std::string& path, uint64_t at, size_t size) {
  std::string text(size, '\0');
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(at));
  in.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

// Without the fsync of os::PosixFile: thousands of them take minutes.
bool write_file(const std::string& path, const TreeInode& inode, ByteView data) {
  std::ofstream out(path, std::ios::binary);
  for (const FileExtent& extent : inode.extents) {
    out.seekp(static_cast<std::streamoff>(extent.file_offset));
    const ByteView part = data.subspan(extent.data_offset, extent.length);
    out.write(as_text(part).data(), static_cast<std::streamsize>(part.size()));
  }
  out.close();
  fs::resize_file(path, inode.size);
  return out.good();
}

// Puts a component's files into a folder, as overlayfs has its layers.
class Unpacking {
 public:
  Unpacking(const FileTree& tree, ByteView data, std::string folder)
      : tree_(tree), data_(data), folder_(std::move(folder)), made_(tree.inodes.size()) {}

  void run() {
    for (uint32_t i = 0; i < tree_.names.size(); ++i) make(i);
    // A folder's time changes while it is filled.
    for (uint32_t i = 0; i < tree_.names.size(); ++i) set_attributes(i);
  }

 private:
  std::string path_of(uint32_t name) const { return folder_ + tree_.path_of(name); }

  void make(uint32_t name) {
    const TreeInode& inode = tree_.inodes[tree_.names[name].inode];
    const std::string path = path_of(name);
    std::string& first = made_[tree_.names[name].inode];
    if (!first.empty()) {
      ASSERT_EQ(link(first.c_str(), path.c_str()), 0) << path;
      return;
    }
    first = path;
    if (inode.kind == InodeKind::kDirectory) {
      if (name > 0) ASSERT_EQ(mkdir(path.c_str(), 0700), 0) << path;
      if (inode.is_opaque) lsetxattr(path.c_str(), "trusted.overlay.opaque", "y", 1, 0);
    } else if (inode.kind == InodeKind::kSymlink) {
      ASSERT_EQ(symlink(inode.target.c_str(), path.c_str()), 0) << path;
    } else if (inode.kind == InodeKind::kRegular) {
      ASSERT_TRUE(write_file(path, inode, data_)) << path;
    } else {
      const bool is_whiteout = inode.kind == InodeKind::kWhiteout;
      const dev_t device = is_whiteout ? 0 : makedev(inode.device_major, inode.device_minor);
      ASSERT_EQ(mknod(path.c_str(), type_of(inode.kind) | 0600, device), 0) << path;
    }
  }

  void set_attributes(uint32_t name) {
    const TreeInode& inode = tree_.inodes[tree_.names[name].inode];
    const std::string path = path_of(name);
    for (const Xattr& xattr : inode.xattrs) {
      ASSERT_EQ(
          lsetxattr(path.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0), 0)
          << path;
    }
    ASSERT_EQ(lchown(path.c_str(), inode.uid, inode.gid), 0) << path;
    if (inode.kind != InodeKind::kSymlink) ASSERT_EQ(chmod(path.c_str(), inode.mode), 0) << path;
    const timespec time{inode.mtime_s, inode.mtime_ns};
    const timespec times[2] = {time, time};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
  }

  const FileTree& tree_;
  const ByteView data_;
  const std::string folder_;
  std::vector<std::string> made_;  // by inode: its first path
};

// Compares what is mounted at `point` with the tree that should be there.
class KernelComparison {
 public:
  KernelComparison(const Composed& composed, std::string point, bool counts_links)
      : composed_(composed), point_(std::move(point)), counts_links_(counts_links) {}

  std::vector<std::string> run() {
    const MergedTree& tree = composed_.tree;
    std::set<std::string> expected;
    for (uint32_t i = 0; i < tree.names.size(); ++i) {
      if (i > 0) expected.insert(tree.path_of(i));
      compare(tree.path_of(i), tree.inodes[tree.names[i].inode]);
    }
    for (const auto& entry : fs::recursive_directory_iterator(point_)) {
      const std::string path = entry.path().string().substr(point_.size());
      // overlayfs lists whiteouts of folders that only one layer has, but does not find them.
      if (expected.contains(path) || path == "/lost+found") continue;
      if (fs::exists(entry.symlink_status())) found_.push_back("extra " + path);
    }
    return found_;
  }

 private:
  void compare(const std::string& path, const MergedInode& merged) {
    const TreeInode& inode = *merged.source;
    const std::string full = point_ + path;
    const auto check = [&](bool holds, std::string_view what) {
      if (!holds) found_.push_back(fmt::format("{}: {}", path, what));
    };
    struct stat is{};
    if (lstat(full.c_str(), &is) != 0) return check(false, "is missing");
    const mode_t mode = inode.kind == InodeKind::kSymlink ? 0777 : inode.mode;
    check(is.st_mode == (type_of(inode.kind) | mode), "mode");
    check(is.st_uid == merged.uid && is.st_gid == merged.gid, "owner");
    check(is.st_mtim.tv_sec == inode.mtime_s && is.st_mtim.tv_nsec == inode.mtime_ns, "time");
    for (const Xattr& xattr : inode.xattrs) {
      Buffer value(xattr.value.size() + 1);
      const ssize_t size = lgetxattr(full.c_str(), xattr.name.c_str(), value.data(), value.size());
      value.resize(size < 0 ? 0 : static_cast<size_t>(size));
      check(size >= 0 && value == xattr.value, xattr.name);
    }
    if (inode.kind == InodeKind::kSymlink) {
      check(fs::read_symlink(full).string() == inode.target, "target");
    } else if (inode.kind == InodeKind::kRegular) {
      const ByteView data = composed_.data[merged.component];
      check(static_cast<uint64_t>(is.st_size) == inode.size, "size");
      uint64_t previous_end = 0;
      for (const FileExtent& extent : inode.extents) {
        check(read_part(full, extent.file_offset, extent.length) ==
                  as_text(data.subspan(extent.data_offset, extent.length)),
              "content");
        // Of the hole before it, one block.
        const size_t hole = std::min<uint64_t>(extent.file_offset - previous_end, 4096);
        check(read_part(full, previous_end, hole) == std::string(hole, '\0'), "hole");
        previous_end = extent.file_offset + round_up(extent.length, 4096);
      }
      check(!counts_links_ || is.st_nlink == merged.link_count, "links");
    } else if (inode.kind == InodeKind::kCharDevice) {
      check(is.st_rdev == makedev(inode.device_major, inode.device_minor), "device");
    }
  }

  const Composed& composed_;
  const std::string point_;
  const bool counts_links_;
  std::vector<std::string> found_;
};

// Writes the whole disk, with the components' data, as a file.
Status write_disk(const Composed& composed, const std::string& path) {
  FR_TRY(const auto out, os::PosixFile::open(path, os::PosixFile::Mode::kCreate));
  FR_CHECK(write_metadata(*composed.image, *out));
  for (const DataExtent& extent : composed.image->extents) {
    FR_CHECK(out->write(extent.range.offset, composed.data[extent.component].subspan(
                                                 extent.component_offset, extent.range.length)));
  }
  return {};
}

Composed stack_of(uint64_t seed) {
  RandomComponents components(seed);
  std::vector<ComponentFixture> parts;
  for (const size_t files : {400u, 300u, 200u}) parts.push_back(components.next(files));
  return Composed(std::move(parts), kGiB, true);
}

#define FR_SKIP_UNLESS_MOUNTED(reason) \
  if (const std::string why = (reason); !why.empty()) GTEST_SKIP() << "cannot mount: " << why

class Mounted : public testing::TestWithParam<uint64_t> {};

TEST_P(Mounted, AreTheTreeAndStayCleanWhenWrittenTo) {
  const Composed composed = stack_of(GetParam());
  TemporaryFolder folder;
  const std::string disk = folder.path() + "/disk";
  const std::string point = folder.make("point");
  ASSERT_TRUE(write_disk(composed, disk).has_value());
  FR_SKIP_UNLESS_MOUNTED(folder.mount({"-o", "loop", disk}, point));

  EXPECT_THAT(KernelComparison(composed, point, true).run(), IsEmpty());
  fs::create_directory(point + "/new");
  for (int i = 0; i < 2000; ++i) {
    std::ofstream(fmt::format("{}/new/{}", point, i)) << std::string(10'000, 'x');
  }
  for (const auto& entry : fs::directory_iterator(point)) {
    if (entry.path().filename().string().starts_with("n1")) fs::remove_all(entry.path());
  }
  folder.unmount(point);
  EXPECT_EQ(complaints(disk), "");
}

// Returns what the kernel's file system has to give, in bytes; 0 if it does not say.
uint64_t size_at(const std::string& point) {
  std::error_code error;
  const fs::space_info space = fs::space(point, error);
  return error ? 0 : space.capacity;
}

// Beyond 16 GiB the group descriptors need more blocks than the disk had room for.
TEST_P(Mounted, GrowWhenAsked) {
  if (prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE, 0, 0, 0) != 1)
    GTEST_SKIP() << "may not grow file systems: no CAP_SYS_RESOURCE";
  RandomComponents components(GetParam());
  std::vector<ComponentFixture> parts;
  for (const size_t files : {400u, 300u}) parts.push_back(components.next(files));
  const Composed composed(std::move(parts), kGiB, true, true);
  TemporaryFolder folder;
  const std::string disk = folder.path() + "/disk";
  const std::string point = folder.make("point");
  ASSERT_TRUE(write_disk(composed, disk).has_value());
  for (const uint64_t size : {3 * kGiB, 40 * kGiB}) {
    fs::resize_file(disk, size);
    FR_SKIP_UNLESS_MOUNTED(folder.mount({"-o", "loop", disk}, point));
    const uint64_t before = size_at(point);
    const auto device = os::run({"findmnt", "-no", "SOURCE", point}, Nanos{60'000'000'000});
    ASSERT_TRUE(device && device->exit_code == 0);
    const std::string loop = device->output.substr(0, device->output.find('\n'));
    const auto run = os::run({"resize2fs", loop}, Nanos{120'000'000'000});
    ASSERT_TRUE(run.has_value()) << run.error().message;
    EXPECT_EQ(run->exit_code, 0) << run->errors;
    EXPECT_GT(size_at(point), before);
    EXPECT_GT(size_at(point), size / 10 * 9);
    EXPECT_THAT(KernelComparison(composed, point, true).run(), IsEmpty());
    folder.unmount(point);
    EXPECT_EQ(complaints(disk), "");
  }
}

TEST_P(Mounted, AreWhatOverlayfsMakesOfTheComponents) {
  const Composed composed = stack_of(GetParam());
  TemporaryFolder folder;
  std::string lower;
  for (size_t i = 0; i < composed.parts.size(); ++i) {
    const std::string layer = folder.make(fmt::format("layer{}", i));
    Unpacking(composed.trees[i], composed.data[i], layer).run();
    lower = lower.empty() ? layer : layer + ":" + lower;
  }
  const std::string point = folder.make("point");
  FR_SKIP_UNLESS_MOUNTED(
      folder.mount({"-t", "overlay", "overlay", "-o", "ro,lowerdir=" + lower}, point));

  EXPECT_THAT(KernelComparison(composed, point, false).run(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, Mounted, testing::Range<uint64_t>(100, 104));

}  // namespace
}  // namespace forerun::image
