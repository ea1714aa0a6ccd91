// Random components, composed, and e2fsck's word on it.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <set>

#include "core/rng.h"
#include "image/compose_fixture.h"
#include "image/composed_disk.h"
#include "image/ext4_writer.h"
#include "os/file.h"
#include "os/process.h"

namespace forerun::image {

inline Buffer noise(size_t size, Rng& rng) {
  Buffer bytes(round_up(size, 8));
  for (size_t at = 0; at < bytes.size(); at += 8) {
    const uint64_t word = rng.next();
    std::memcpy(&bytes[at], &word, sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

// A file that goes away with its owner.
class TemporaryFile {
 public:
  TemporaryFile()
      : path_((std::filesystem::temp_directory_path() /
               fmt::format("forerun-compose-{}-{}", getpid(), ++count_))
                  .string()) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  static inline int count_ = 0;
  const std::string path_;
};

// Writes the metadata, with holes where there is none.
inline Status write_metadata(const Ext4Image& image, os::PosixFile& out) {
  for (uint64_t i = 0; i < image.metadata.piece_count(); ++i) {
    const ByteView piece = image.metadata.find(i);
    if (!piece.empty()) FR_CHECK(out.write(i * SparseBytes::kPieceSize, piece));
  }
  return out.resize(image.size_bytes);
}

// Returns what e2fsck has against the file system in a file.
inline std::string complaints(const std::string& path) {
  const auto run = os::run({"e2fsck", "-fn", path}, Nanos{120'000'000'000});
  if (!run) return run.error().message;
  return run->exit_code == 0 ? "" : run->output + run->errors;
}

// Of the metadata alone; it never reads files' content.
inline std::string complaints(const Ext4Image& image) {
  const TemporaryFile file;
  auto out = os::PosixFile::open(file.path(), os::PosixFile::Mode::kCreate);
  if (!out) return out.error().message;
  if (auto status = write_metadata(image, **out); !status) return status.error().message;
  return complaints(file.path());
}

// Random trees. Later ones repeat, replace and remove some of what the first has.
class RandomComponents {
 public:
  explicit RandomComponents(uint64_t seed) : rng_(seed) {}

  ComponentFixture next(size_t files) {
    ComponentFixture part;
    std::vector<std::string> folders{""};
    std::set<std::string> taken;
    for (size_t i = 0; i < files; ++i) {
      const std::string path = folders[rng_.below(folders.size())] + "/" + name(files);
      if (!taken.insert(path).second) continue;
      TreeInode& inode = add(part, path);
      inode.uid = static_cast<uint32_t>(rng_.below(rng_.below(3) == 0 ? UINT32_MAX : 1000));
      inode.gid = static_cast<uint32_t>(rng_.below(1000));
      inode.mtime_s = static_cast<int64_t>(rng_.below(4'000'000'000));
      inode.mtime_ns = static_cast<uint32_t>(rng_.below(1'000'000'000));
      if (inode.kind == InodeKind::kDirectory) folders.push_back(path);
      if (inode.kind != InodeKind::kWhiteout && rng_.below(10) == 0) add_xattrs(inode);
      if (inode.kind == InodeKind::kRegular && rng_.below(20) == 0 &&
          taken.insert(path + "-link").second) {
        part.hard_link(path + "-link", path);
      }
    }
    return part;
  }

 private:
  std::string name(size_t files) {
    std::string text = fmt::format("n{}", rng_.below(files));
    if (rng_.below(20) == 0) text.append(rng_.below(200), 'x');
    return text;
  }

  TreeInode& add(ComponentFixture& part, const std::string& path) {
    const auto mode = static_cast<uint16_t>(rng_.below(07777 + 1));
    switch (rng_.below(12)) {
      case 0:
      case 1: {
        TreeInode& directory = part.directory(path, mode);
        directory.is_opaque = rng_.below(5) == 0;
        return directory;
      }
      case 2:
        return part.symlink(path, std::string(1 + rng_.below(120), 't'));
      case 3:
        return part.add(path, InodeKind::kFifo, mode);
      case 4: {
        TreeInode& device = part.add(path, InodeKind::kCharDevice, mode);
        device.device_major = static_cast<uint32_t>(rng_.below(4096));
        device.device_minor = static_cast<uint32_t>(rng_.below(1 << 20));
        return device;
      }
      case 5:
        return part.whiteout(path);
      case 6:
        return with_holes(part, path);
      // Contents that come back: the data holds them once.
      case 7:
        return part.file(path, Buffer(1 + rng_.below(4) * 4096, std::byte{7}));
      default:
        return part.file(path, noise(rng_.below(20'000), rng_));
    }
  }

  TreeInode& with_holes(ComponentFixture& part, const std::string& path) {
    const uint64_t data_at = part.data().size();
    TreeInode& file = part.add(path, InodeKind::kRegular, 0644);
    uint64_t at = 0, in_data = data_at;
    const uint64_t runs = rng_.below(4) == 0 ? rng_.below(1000) : rng_.below(7);
    for (uint64_t i = 0; i < runs; ++i) {
      at += 4096 * (1 + rng_.below(100));
      const uint64_t length = 4096 * (1 + rng_.below(3));
      file.extents.push_back({at, in_data, length});
      at += length;
      in_data += length;
    }
    file.size = at + rng_.below(10'000);
    const Buffer content = noise(in_data - data_at, rng_);
    file.content = sha256(content);
    part.data().insert(part.data().end(), content.begin(), content.end());
    return file;
  }

  void add_xattrs(TreeInode& inode) {
    inode.xattrs.push_back({"trusted.a", noise(20, rng_)});
    if (rng_.below(2) == 0)
      inode.xattrs.push_back({"trusted.large", noise(rng_.below(3000), rng_)});
    if (rng_.below(2) == 0) inode.xattrs.push_back({"trusted.x", noise(rng_.below(50), rng_)});
  }

  Rng rng_;
};

struct Composed {
  std::vector<ComponentFixture> parts;
  std::vector<FileTree> trees;
  MergedTree tree;
  std::vector<ByteView> data;
  Result<Ext4Image> image = std::unexpected(Error{});

  // With `is_stack`, each component was built on all before it, as overlayfs has it.
  Composed(std::vector<ComponentFixture> components, uint64_t writable_bytes, bool is_stack = false,
           bool can_grow = false)
      : parts(std::move(components)) {
    std::vector<MergeInput> inputs;
    std::vector<uint64_t> sizes;
    for (const ComponentFixture& part : parts) trees.push_back(part.tree());
    for (size_t i = 0; i < parts.size(); ++i) {
      inputs.push_back({&trees[i], fmt::format("part {}", i), is_stack || i == 0, {}, {}});
      data.push_back(parts[i].data());
      sizes.push_back(data.back().size());
    }
    MergeOptions options;
    options.last_always_wins = true;
    auto merged = merge_trees(inputs, options);
    FR_ASSERT(merged.has_value());
    tree = std::move(*merged);
    image = write_ext4(tree, sizes,
                       {sha256(as_bytes("seed")), 1'700'000'000, writable_bytes, "root", can_grow});
  }
};

}  // namespace forerun::image
