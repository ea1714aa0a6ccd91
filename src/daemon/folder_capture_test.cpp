#include "daemon/folder_capture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>

#include "image/memory_file.h"
#include "os/file.h"
#include "os/walk.h"
#include "repository/memory_store.h"

namespace forerun::daemon {
namespace {

using image::InodeKind;
using testing::HasSubstr;

constexpr int64_t kTime = 1'700'000'000;

class FolderCapture : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-capture-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    ASSERT_TRUE(os::make_folders(in("etc/empty"), 0755));
    put("etc/file", "content");
  }
  void TearDown() override { ASSERT_TRUE(os::remove_tree(folder_)); }

  std::string in(const std::string& path) const { return folder_ + "/" + path; }
  void put(const std::string& path, std::string_view text) {
    ASSERT_TRUE(os::write_file_atomic(in(path), as_bytes(text)));
  }
  Result<image::ComponentIndex> capture(const CaptureOptions& options = {}) {
    image::MemoryFile scratch;
    image::BuildOptions build;
    build.info.name = "part";
    build.created = "2026-11-21T02:40:00Z";
    FR_TRY(const auto builder, image::ComponentBuilder::create(store_, scratch, build));
    FR_CHECK(capture_folder(folder_, options, *builder));
    FR_TRY(auto built, builder->publish());
    return std::move(built.index);
  }
  static const image::TreeInode* at(const image::ComponentIndex& index, std::string_view path) {
    const auto name = index.tree.find(path);
    return name ? &index.tree.inodes[index.tree.names[*name].inode] : nullptr;
  }
  static std::vector<std::string> paths(const image::ComponentIndex& index) {
    std::vector<std::string> all;
    for (uint32_t i = 0; i < index.tree.names.size(); ++i) all.push_back(index.tree.path_of(i));
    return all;
  }

  std::string folder_;
  repository::MemoryStore store_;
};

TEST_F(FolderCapture, TakesEveryKindOfFile) {
  ASSERT_EQ(::chmod(in("etc/file").c_str(), 06751), 0);
  const timespec times[2] = {{kTime, 5}, {kTime, 5}};
  ASSERT_EQ(::utimensat(AT_FDCWD, in("etc/file").c_str(), times, 0), 0);
  ASSERT_EQ(::symlink("file", in("etc/link").c_str()), 0);
  ASSERT_EQ(::link(in("etc/file").c_str(), in("etc/other name").c_str()), 0);
  ASSERT_EQ(::mkfifo(in("etc/pipe").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(in("etc/socket").c_str(), S_IFSOCK | 0600, 0), 0);
  const auto index = capture();
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_THAT(paths(*index), testing::ElementsAre("/", "/etc", "/etc/empty", "/etc/file",
                                                  "/etc/link", "/etc/other name", "/etc/pipe"));
  const image::TreeInode& file = *at(*index, "/etc/file");
  EXPECT_EQ(file.mode, 06751);
  EXPECT_EQ(file.uid, ::getuid());
  EXPECT_EQ(file.mtime_s, kTime);
  EXPECT_EQ(file.mtime_ns, 5u);
  EXPECT_EQ(file.size, 7u);
  EXPECT_EQ(file.content, sha256(as_bytes("content")));
  EXPECT_EQ(&file, at(*index, "/etc/other name"));
  EXPECT_EQ(at(*index, "/etc/link")->target, "file");
  EXPECT_EQ(at(*index, "/etc/pipe")->kind, InodeKind::kFifo);
}

TEST_F(FolderCapture, TheFoldersOwnModeIsNotTheRoots) {
  ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  const auto index = capture();
  ASSERT_TRUE(index);
  EXPECT_EQ(at(*index, "/")->mode, 0755);
}

TEST_F(FolderCapture, WhatABuildMadeHasOneTime) {
  CaptureOptions options;
  options.made_since_s = kTime;
  options.made_at_s = kTime;
  const auto index = capture(options);
  ASSERT_TRUE(index);
  EXPECT_EQ(at(*index, "/etc/file")->mtime_s, kTime);
  EXPECT_EQ(at(*index, "/etc/file")->mtime_ns, 0u);
}

TEST_F(FolderCapture, LeavesOutWhatItIsTold) {
  CaptureOptions options;
  options.leave_out = [](std::string_view path, bool) { return path == "etc/empty"; };
  const auto index = capture(options);
  ASSERT_TRUE(index);
  EXPECT_THAT(paths(*index), testing::ElementsAre("/", "/etc", "/etc/file"));
}

TEST_F(FolderCapture, LeavesOutWhatIsEqualBelow) {
  const auto base = capture();
  ASSERT_TRUE(base);
  put("etc/file", "changed");
  put("etc/same as before", "x");
  const auto middle = capture();
  ASSERT_TRUE(middle);
  put("etc/new", "new");
  CaptureOptions options;
  options.is_overlay = true;
  options.below = {&base->tree, &middle->tree};
  const auto index = capture(options);
  ASSERT_TRUE(index);
  EXPECT_THAT(paths(*index), testing::ElementsAre("/", "/etc", "/etc/new"));
  EXPECT_EQ(*at(*index, "/etc"), *at(*middle, "/etc"));
  options.below = {&middle->tree, &base->tree};
  const auto other = capture(options);
  ASSERT_TRUE(other);
  EXPECT_THAT(paths(*other), testing::ElementsAre("/", "/etc", "/etc/file", "/etc/new"));
}

TEST_F(FolderCapture, RefusesAFolderThatIsNone) {
  folder_ += "/etc/file";
  const auto index = capture();
  folder_.resize(folder_.size() - 9);
  ASSERT_FALSE(index);
  EXPECT_THAT(index.error().message, HasSubstr("/etc/file"));
}

TEST_F(FolderCapture, AnOverlaysMarksAreUnderstood) {
  if (::getuid() != 0) GTEST_SKIP() << "devices and trusted attributes need root";
  const auto base = capture();
  ASSERT_TRUE(base);
  ASSERT_TRUE(os::make_folders(in("etc/new"), 0755));
  ASSERT_EQ(::mknod(in("etc/gone").c_str(), S_IFCHR, 0), 0);
  for (const char* folder : {"etc", "etc/new"})
    ASSERT_EQ(::setxattr(in(folder).c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  CaptureOptions options;
  EXPECT_THAT(capture(options).error().message, HasSubstr("etc/gone is a device"));
  options.is_overlay = true;
  auto index = capture(options);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(at(*index, "/etc/gone")->kind, InodeKind::kWhiteout);
  EXPECT_TRUE(at(*index, "/etc/new")->is_opaque);
  EXPECT_TRUE(at(*index, "/etc/new")->xattrs.empty());
  options.below = {&base->tree};
  index = capture(options);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_TRUE(at(*index, "/etc")->is_opaque);
  EXPECT_NE(at(*index, "/etc/file"), nullptr) << "an opaque folder hides what is equal, too";
  EXPECT_FALSE(at(*index, "/etc/new")->is_opaque) << "nothing lies below it";
  ASSERT_EQ(::setxattr(in("etc/file").c_str(), "trusted.overlay.metacopy", "", 0, 0), 0);
  EXPECT_THAT(capture(options).error().message, HasSubstr("etc/file is without its data"));
}

TEST_F(FolderCapture, DevicesAndAttributesOfTheirOwn) {
  if (::getuid() != 0) GTEST_SKIP() << "devices need root";
  ASSERT_EQ(::mknod(in("etc/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  ASSERT_EQ(::lchown(in("etc/null").c_str(), 101, 102), 0);
  ASSERT_EQ(::setxattr(in("etc/file").c_str(), "trusted.b", "2", 1, 0), 0);
  ASSERT_EQ(::setxattr(in("etc/file").c_str(), "trusted.a", "1", 1, 0), 0);
  CaptureOptions options;
  options.allow_devices = true;
  const auto index = capture(options);
  ASSERT_TRUE(index) << index.error().message;
  const image::TreeInode& device = *at(*index, "/etc/null");
  EXPECT_EQ(device.kind, InodeKind::kCharDevice);
  EXPECT_EQ(device.device_major, 1u);
  EXPECT_EQ(device.device_minor, 3u);
  EXPECT_EQ(device.uid, 101u);
  EXPECT_EQ(device.gid, 102u);
  ASSERT_EQ(at(*index, "/etc/file")->xattrs.size(), 2u);
  EXPECT_EQ(at(*index, "/etc/file")->xattrs[0].name, "trusted.a");
  EXPECT_EQ(as_text(at(*index, "/etc/file")->xattrs[1].value), "2");
}

}  // namespace
}  // namespace forerun::daemon
