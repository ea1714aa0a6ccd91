#include "image/ext4.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include "image/ext4_channel.h"
#include "image/ext4_format.h"

namespace forerun::image {
namespace {

constexpr uint64_t kDirectoryBytesMax = 128 * kMiB;  // 100 000 longest names, blocks a fifth full
constexpr uint64_t kReadBytesMax = 256 * kMiB;
constexpr uint64_t kLinkSizeMax = 4095;
constexpr int kExtentDepthMax = 5;  // as Linux: what 2^32 blocks need
// Nodes and extents of one file's tree that are looked at, before neighbours are joined.
constexpr uint64_t kExtentStepsMax = 40 * FileSystem::kFileExtentsMax;

struct FreeFileSystem {
  void operator()(ext2_filsys fs) const { ext2fs_free(fs); }
};
using FileSystemHandle = std::unique_ptr<struct_ext2_filsys, FreeFileSystem>;

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

FileKind kind_of(uint16_t mode) {
  if (LINUX_S_ISREG(mode)) return FileKind::kRegular;
  if (LINUX_S_ISDIR(mode)) return FileKind::kDirectory;
  return LINUX_S_ISLNK(mode) ? FileKind::kSymlink : FileKind::kOther;
}

// A run of blocks that hold a run of a file.
struct Extent {
  uint64_t logical = 0;   // in the file
  uint64_t physical = 0;  // in the file system
  uint64_t blocks = 0;

  uint64_t logical_end() const { return logical + blocks; }
};

// Collects a file's extents in order, with neighbours joined, and refuses what no file has.
class ExtentList {
 public:
  ExtentList(uint64_t first_block, uint64_t block_count, uint64_t file_blocks)
      : first_block_(first_block), block_count_(block_count), file_blocks_(file_blocks) {}

  Status add(Extent extent) {
    if (extent.physical == 0 || extent.physical < first_block_ ||
        !fits({extent.physical, extent.blocks}, block_count_)) {
      return corrupt(fmt::format("an extent at block {} is outside the file system's {} blocks",
                                 extent.physical, block_count_));
    }
    if (extent.blocks == 0) return corrupt("an extent is empty");
    if (extent.logical < next_logical_) return corrupt("the extents of a file overlap");
    next_logical_ = extent.logical_end();
    total_ += extent.blocks;
    if (total_ > block_count_) return corrupt("a file has more blocks than the file system");
    // What was reserved past the file's end is not its content.
    if (extent.logical >= file_blocks_) return {};
    extent.blocks = std::min(extent.blocks, file_blocks_ - extent.logical);
    if (!extents_.empty() && extents_.back().logical_end() == extent.logical &&
        extents_.back().physical + extents_.back().blocks == extent.physical) {
      extents_.back().blocks += extent.blocks;
      return {};
    }
    if (extents_.size() >= FileSystem::kFileExtentsMax) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("the file is in more than {} pieces", FileSystem::kFileExtentsMax));
    }
    extents_.push_back(extent);
    return {};
  }
  std::vector<Extent> take() && { return std::move(extents_); }

 private:
  const uint64_t first_block_;
  const uint64_t block_count_;
  const uint64_t file_blocks_;
  uint64_t next_logical_ = 0;
  uint64_t total_ = 0;
  std::vector<Extent> extents_;
};

class Ext4 final : public FileSystem {
 public:
  Ext4(std::unique_ptr<CachedPart> part, FileSystemHandle fs)
      : part_(std::move(part)), fs_(std::move(fs)) {}

  Status check_root_and_find_mount_ranges();

  FileId root() const override { return EXT2_ROOT_INO; }
  Result<FileInfo> info(FileId file) override;
  Result<std::vector<DirectoryEntry>> list(FileId directory) override;
  Result<std::string> link_target(FileId link) override;
  Result<Buffer> read(FileId file, uint64_t offset, size_t size) override;
  Result<std::vector<ByteRange>> content_ranges(FileId file) override;
  Result<ByteRange> record_range(FileId file) override;
  std::vector<ByteRange> mount_ranges() override { return mount_ranges_; }

 private:
  uint64_t block_size() const { return fs_->blocksize; }
  uint64_t block_count() const { return ext2fs_blocks_count(fs_->super); }
  ByteRange blocks_on_disk(uint64_t block, uint64_t count) const {
    return part_->on_disk({block * block_size(), count * block_size()});
  }

  // Returns the error behind libext2fs's `code`: the disk's own, if it was that.
  std::unexpected<Error> failed(std::string_view attempted, FileId file, errcode_t code);
  Result<ext2_ino_t> number_of(FileId file) const;
  Result<ext2_inode> inode(FileId file);
  Result<Buffer> inline_content(FileId file, uint64_t size);
  // Returns whether the content of a file stands in its record.
  static bool is_in_record(const ext2_inode& inode);

  Result<std::span<const Extent>> extents(FileId file, const ext2_inode& inode);
  Status walk_extents(FileId file, ext2_inode inode, ExtentList& list);
  Status walk_block_map(FileId file, ExtentList& list);
  Result<Buffer> read_content(FileId file, const ext2_inode& inode, ByteRange range);
  Status list_blocks(FileId directory, const ext2_inode& inode, DirectoryParser& parser);

  const std::unique_ptr<CachedPart> part_;
  const FileSystemHandle fs_;  // reads part_
  std::vector<ByteRange> mount_ranges_;
  // The extents of the file that was asked for last: files are read in small pieces.
  FileId mapped_file_ = 0;
  std::vector<Extent> mapped_extents_;
};

std::unexpected<Error> Ext4::failed(std::string_view attempted, FileId file, errcode_t code) {
  std::string what = fmt::format("cannot {} {}", attempted, file);
  if (std::optional<Error> error = part_->take_error()) {
    return std::unexpected(std::move(*error).within(what));
  }
  return std::unexpected(ext2_error(code).within(what));
}

Result<ext2_ino_t> Ext4::number_of(FileId file) const {
  if (file == 0 || file > fs_->super->s_inodes_count) {
    return corrupt(
        fmt::format("there is no inode {}: there are {}", file, fs_->super->s_inodes_count));
  }
  return static_cast<ext2_ino_t>(file);
}

Result<ext2_inode> Ext4::inode(FileId file) {
  FR_TRY(const ext2_ino_t number, number_of(file));
  ext2_inode inode{};
  if (const errcode_t code = ext2fs_read_inode(fs_.get(), number, &inode)) {
    return failed("read inode", file, code);
  }
  return inode;
}

Result<FileInfo> Ext4::info(FileId file) {
  FR_TRY(const ext2_inode record, inode(file));
  return FileInfo{kind_of(record.i_mode), EXT2_I_SIZE(&record)};
}

bool Ext4::is_in_record(const ext2_inode& inode) {
  if (kind_of(inode.i_mode) == FileKind::kOther) return true;  // it has none
  if (inode.i_flags & EXT4_INLINE_DATA_FL) return true;
  return LINUX_S_ISLNK(inode.i_mode) && EXT2_I_SIZE(&inode) < sizeof(inode.i_block);
}

Result<Buffer> Ext4::inline_content(FileId file, uint64_t size) {
  FR_TRY(const ext2_ino_t number, number_of(file));
  const size_t record_size = EXT2_INODE_SIZE(fs_->super);
  Buffer record(record_size);
  auto* record_inode = reinterpret_cast<ext2_inode*>(record.data());
  if (const errcode_t code =
          ext2fs_read_inode_full(fs_.get(), number, record_inode, static_cast<int>(record_size))) {
    return failed("read inode", file, code);
  }
  auto content = parse_inline_content(record);
  if (!content) return std::unexpected(content.error().within(fmt::format("inode {}", file)));
  content->resize(std::min<uint64_t>(content->size(), size));
  return content;
}

Result<std::span<const Extent>> Ext4::extents(FileId file, const ext2_inode& inode) {
  if (mapped_file_ == file) return std::span<const Extent>(mapped_extents_);
  const uint64_t size = EXT2_I_SIZE(&inode);
  const uint64_t file_blocks = size / block_size() + (size % block_size() != 0);
  ExtentList list(fs_->super->s_first_data_block, block_count(), file_blocks);
  const Status status = (inode.i_flags & EXT4_EXTENTS_FL) ? walk_extents(file, inode, list)
                                                          : walk_block_map(file, list);
  if (!status) {
    return std::unexpected(status.error().within(fmt::format("cannot map inode {}", file)));
  }
  mapped_extents_ = std::move(list).take();
  mapped_file_ = file;
  return std::span<const Extent>(mapped_extents_);
}

Status Ext4::walk_extents(FileId file, ext2_inode inode, ExtentList& list) {
  ext2_extent_handle_t handle = nullptr;
  if (const errcode_t code =
          ext2fs_extent_open2(fs_.get(), static_cast<ext2_ino_t>(file), &inode, &handle)) {
    return failed("open the extents of inode", file, code);
  }
  const std::unique_ptr<ext2_extent_handle, decltype(&ext2fs_extent_free)> owner(
      handle, ext2fs_extent_free);
  ext2_extent_info tree{};
  if (const errcode_t code = ext2fs_extent_get_info(handle, &tree)) {
    return failed("open the extents of inode", file, code);
  }
  if (tree.max_depth > kExtentDepthMax) {
    return corrupt(fmt::format("its extents are {} levels deep", tree.max_depth));
  }
  // EXT2_EXTENT_NEXT goes one node a call, so that no tree keeps it in a loop of its own.
  int move = EXT2_EXTENT_ROOT;
  for (uint64_t step = 0; step < kExtentStepsMax; ++step) {
    ext2fs_extent extent{};
    const errcode_t code = ext2fs_extent_get(handle, move, &extent);
    if (code == EXT2_ET_EXTENT_NO_NEXT) return {};
    if (code != 0) return failed("read the extents of inode", file, code);
    move = EXT2_EXTENT_NEXT;
    if (!(extent.e_flags & EXT2_EXTENT_FLAGS_LEAF)) continue;
    if (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) continue;
    FR_CHECK(list.add({extent.e_lblk, extent.e_pblk, extent.e_len}));
  }
  return fail(ErrorCode::kTooLarge, fmt::format("it has over {} extents", kExtentStepsMax));
}

Status Ext4::walk_block_map(FileId file, ExtentList& list) {
  struct Walk {
    ExtentList& list;
    Status status;
    uint64_t map_blocks;  // that may still be read
  } walk{list, {}, block_count()};
  // Blocks of the map come with a negative number.
  constexpr auto visit = [](ext2_filsys, blk64_t* block, e2_blkcnt_t number, blk64_t, int,
                            void* data) {
    auto& state = *static_cast<Walk*>(data);
    if (number >= 0) {
      state.status = state.list.add({static_cast<uint64_t>(number), *block, 1});
    } else if (state.map_blocks-- == 0) {
      state.status = corrupt("its block map has more blocks than the file system");
    }
    return state.status ? 0 : BLOCK_ABORT;
  };
  const errcode_t code = ext2fs_block_iterate3(fs_.get(), static_cast<ext2_ino_t>(file),
                                               BLOCK_FLAG_READ_ONLY, nullptr, visit, &walk);
  FR_CHECK(walk.status);
  if (code != 0) return failed("read the block map of inode", file, code);
  return {};
}

Result<Buffer> Ext4::read_content(FileId file, const ext2_inode& inode, ByteRange range) {
  Buffer out(range.length);
  if (is_in_record(inode)) {
    FR_TRY(const Buffer content, inline_content(file, EXT2_I_SIZE(&inode)));
    const ByteRange there = intersect(range, {0, content.size()});
    if (!there.empty()) {
      std::ranges::copy(ByteView(content).subspan(there.offset, there.length), out.begin());
    }
    return out;
  }
  FR_TRY(const std::span<const Extent> map, extents(file, inode));
  auto extent =
      std::ranges::upper_bound(map, range.offset / block_size(), {}, &Extent::logical_end);
  for (; extent != map.end(); ++extent) {
    const ByteRange in_file{extent->logical * block_size(), extent->blocks * block_size()};
    if (in_file.offset >= range.end()) break;
    const ByteRange piece = intersect(in_file, range);
    if (piece.empty()) continue;
    const uint64_t at = extent->physical * block_size() + (piece.offset - in_file.offset);
    FR_CHECK(
        part_->read(at, MutableByteView(out).subspan(piece.offset - range.offset, piece.length)));
  }
  return out;
}

Result<Buffer> Ext4::read(FileId file, uint64_t offset, size_t size) {
  FR_TRY(const ext2_inode record, inode(file));
  if (kind_of(record.i_mode) != FileKind::kRegular) {
    return fail(ErrorCode::kInvalid, fmt::format("inode {} is not a regular file", file));
  }
  if (record.i_flags & EXT4_ENCRYPT_FL) {
    return fail(ErrorCode::kUnsupported, fmt::format("inode {} is encrypted", file));
  }
  const uint64_t file_size = EXT2_I_SIZE(&record);
  if (offset >= file_size) return Buffer{};
  const ByteRange range{offset, std::min<uint64_t>(size, file_size - offset)};
  if (range.length > kReadBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("cannot read {} bytes of inode {} at once", range.length, file));
  }
  return read_content(file, record, range);
}

Result<std::vector<DirectoryEntry>> Ext4::list(FileId directory) {
  FR_TRY(const ext2_inode record, inode(directory));
  if (!LINUX_S_ISDIR(record.i_mode)) {
    return fail(ErrorCode::kInvalid, fmt::format("inode {} is not a directory", directory));
  }
  if (record.i_flags & EXT4_ENCRYPT_FL) {
    return fail(ErrorCode::kUnsupported, fmt::format("directory {} is encrypted", directory));
  }
  DirectoryParser parser(fs_->super->s_inodes_count, kDirectoryEntriesMax);
  const auto parse = [&]() -> Status {
    if (!(record.i_flags & EXT4_INLINE_DATA_FL)) return list_blocks(directory, record, parser);
    FR_TRY(const Buffer content, inline_content(directory, EXT2_I_SIZE(&record)));
    return parser.add_inline(content);
  };
  if (const Status status = parse(); !status) {
    return std::unexpected(
        status.error().within(fmt::format("cannot list directory {}", directory)));
  }
  return std::move(parser).take();
}

Status Ext4::list_blocks(FileId directory, const ext2_inode& inode, DirectoryParser& parser) {
  const uint64_t size = EXT2_I_SIZE(&inode);
  if (size % block_size() != 0) return corrupt(fmt::format("it has {} bytes", size));
  if (size > kDirectoryBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("it has {} bytes; the limit is {}", size, kDirectoryBytesMax));
  }
  FR_TRY(const std::span<const Extent> map, extents(directory, inode));
  Buffer block(block_size());
  for (const Extent& extent : map) {
    for (uint64_t i = 0; i < extent.blocks; ++i) {
      if (const errcode_t code =
              ext2fs_read_dir_block4(fs_.get(), extent.physical + i, block.data(), 0,
                                     static_cast<ext2_ino_t>(directory))) {
        return failed("read a block of directory", directory, code);
      }
      FR_CHECK(parser.add_block(block));
    }
  }
  return {};
}

Result<std::string> Ext4::link_target(FileId link) {
  FR_TRY(const ext2_inode record, inode(link));
  if (!LINUX_S_ISLNK(record.i_mode)) {
    return fail(ErrorCode::kInvalid, fmt::format("inode {} is not a symbolic link", link));
  }
  if (record.i_flags & EXT4_ENCRYPT_FL) {
    return fail(ErrorCode::kUnsupported, fmt::format("link {} is encrypted", link));
  }
  const uint64_t size = EXT2_I_SIZE(&record);
  if (size == 0 || size > kLinkSizeMax) {
    return corrupt(fmt::format("link {} has {} bytes", link, size));
  }
  std::string target;
  if (is_in_record(record) && !(record.i_flags & EXT4_INLINE_DATA_FL)) {
    target.assign(reinterpret_cast<const char*>(record.i_block), size);
  } else {
    FR_TRY(const Buffer content, read_content(link, record, {0, size}));
    target = as_text(content);
  }
  if (target.contains('\0')) return corrupt(fmt::format("the target of link {} has a NUL", link));
  return target;
}

Result<std::vector<ByteRange>> Ext4::content_ranges(FileId file) {
  FR_TRY(const ext2_inode record, inode(file));
  std::vector<ByteRange> ranges;
  if (is_in_record(record)) return ranges;
  FR_TRY(const std::span<const Extent> map, extents(file, record));
  const uint64_t size = EXT2_I_SIZE(&record);
  for (const Extent& extent : map) {
    ByteRange range = blocks_on_disk(extent.physical, extent.blocks);
    range.length = std::min(range.length, size - extent.logical * block_size());
    if (!ranges.empty() && ranges.back().end() == range.offset) {
      ranges.back().length += range.length;
    } else {
      ranges.push_back(range);
    }
  }
  return ranges;
}

Result<ByteRange> Ext4::record_range(FileId file) {
  FR_TRY(const ext2_ino_t number, number_of(file));
  const uint32_t per_group = fs_->super->s_inodes_per_group;
  const uint64_t table = ext2fs_inode_table_loc(fs_.get(), (number - 1) / per_group);
  const uint64_t record_size = EXT2_INODE_SIZE(fs_->super);
  const uint64_t in_table = (number - 1) % per_group * record_size;
  if (table == 0 || table >= block_count() ||
      !fits({table * block_size() + in_table, record_size}, block_count() * block_size())) {
    return corrupt(fmt::format("the table of inode {} is outside the file system", file));
  }
  return part_->on_disk({table * block_size() + in_table, record_size});
}

Status Ext4::check_root_and_find_mount_ranges() {
  FR_TRY(const FileInfo root_info, info(root()));
  if (root_info.kind != FileKind::kDirectory) return corrupt("the root is not a directory");

  const uint64_t first = fs_->super->s_first_data_block;
  mount_ranges_.push_back(blocks_on_disk(kSuperblockOffset / block_size(), 1));
  for (uint64_t i = 0; i < fs_->desc_blocks; ++i) {
    const uint64_t block = ext2fs_descriptor_block_loc2(fs_.get(), first, static_cast<dgrp_t>(i));
    if (block >= block_count()) return corrupt("a block of group descriptors is outside");
    const ByteRange range = blocks_on_disk(block, 1);
    if (mount_ranges_.back().end() == range.offset && i > 0) {
      mount_ranges_.back().length += range.length;
    } else {
      mount_ranges_.push_back(range);
    }
  }
  if (ext2fs_has_feature_journal(fs_->super) && fs_->super->s_journal_inum != 0) {
    // Files can be read beside a broken journal.
    if (const auto journal = content_ranges(fs_->super->s_journal_inum);
        journal && !journal->empty()) {
      mount_ranges_.push_back({journal->front().offset, block_size()});
    }
  }
  FR_TRY(const ByteRange root_record, record_range(root()));
  const uint64_t in_part = root_record.offset - part_->on_disk({}).offset;
  mount_ranges_.push_back(blocks_on_disk(in_part / block_size(), 1));
  return {};
}

}  // namespace

Result<std::unique_ptr<FileSystem>> open_ext4(DiskReader& disk, ByteRange part) {
  if (!fits(part, disk.size_bytes())) {
    return fail(ErrorCode::kInvalid, "the partition is not within the disk");
  }
  auto cached = std::make_unique<CachedPart>(disk, part);
  Buffer superblock(kSuperblockSize);
  if (part.length < kSuperblockOffset + kSuperblockSize) {
    return fail(ErrorCode::kInvalid, "the partition is too small for an ext4 file system");
  }
  FR_CHECK(cached->read(kSuperblockOffset, superblock));
  FR_TRY(const Ext4Summary summary, check_superblock(superblock, part.length));

  int flags = EXT2_FLAG_64BITS;
  if (summary.needs_recovery) flags |= EXT2_FLAG_IGNORE_CSUM_ERRORS;
  ext2_filsys opened = nullptr;
  if (const errcode_t code = open_file_system(*cached, flags, &opened)) {
    constexpr std::string_view kAttempted = "cannot open the ext4 file system";
    if (auto error = cached->take_error()) return std::unexpected(error->within(kAttempted));
    return std::unexpected(ext2_error(code).within(kAttempted));
  }
  auto fs = std::make_unique<Ext4>(std::move(cached), FileSystemHandle(opened));
  FR_CHECK(fs->check_root_and_find_mount_ranges());
  return fs;
}

}  // namespace forerun::image
