#include "image/ext4_meanings.h"

namespace forerun::image::ext4 {
namespace {

// Files of a directory whose records are one name; a file more or less moves few into the next.
constexpr uint32_t kFilesPerName = 64;

enum class Kind : uint8_t {
  kSuperblock,
  kDescriptors,
  kBlockBitmap,
  kInodeBitmap,
  kJournal,
  kRecords,
  kEntries,
  kBehind,  // links, extents and attributes that no record holds
  kContent
};

// FNV-1a: a name is the same in every process and every version.
constexpr uint64_t kSeed = 0xcbf29ce484222325;
uint64_t mixed(uint64_t hash, uint64_t value) {
  for (int i = 0; i < 8; ++i) hash = (hash ^ (value >> (8 * i) & 0xff)) * 0x100000001b3;
  return hash;
}
uint64_t mixed(uint64_t hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return mixed(hash, text.size());
}

class Namer {
 public:
  Namer(const MergedTree& tree, const Plan& plan, const Geometry& geometry)
      : tree_(tree), plan_(plan), geometry_(geometry) {}

  std::vector<NamedRange> run() {
    name_tables();
    directories_.resize(plan_.directories.size());
    directories_[0].path = kSeed;
    std::vector<bool> is_named(tree_.inodes.size());
    for (uint32_t i = 0; i < tree_.names.size(); ++i) {
      const MergedName& name = tree_.names[i];
      const uint32_t inode = name.inode;
      if (is_named[inode]) continue;  // another name of the same file
      is_named[inode] = true;
      const uint32_t parent = plan_.inodes[tree_.names[name.parent].inode].directory;
      name_inode(inode, directories_[parent], name.name);
    }
    return std::move(ranges_);
  }

 private:
  struct Directory {
    uint64_t path = 0;     // a hash
    uint32_t files = 0;    // named so far
    uint32_t records = 0;  // the name of the next file's
  };

  static uint32_t name_of(Kind kind, uint64_t of, uint64_t number) {
    const uint64_t hash = mixed(mixed(mixed(kSeed, static_cast<uint64_t>(kind)), of), number);
    return static_cast<uint32_t>(hash ^ hash >> 32);
  }
  void add(uint32_t name, const ByteRange& range) {
    if (!ranges_.empty() && ranges_.back().name == name &&
        ranges_.back().range.end() == range.offset) {
      ranges_.back().range.length += range.length;
    } else {
      ranges_.push_back({range, name});
    }
  }
  void add_blocks(Kind kind, uint64_t of, uint64_t number, uint64_t first, uint64_t count) {
    add(name_of(kind, of, number), {first * kBlockSize, count * kBlockSize});
  }

  void name_tables() {
    add_blocks(Kind::kSuperblock, 0, 0, 0, 1);
    add_blocks(Kind::kDescriptors, 0, 0, geometry_.descriptors, geometry_.descriptor_blocks);
    for (uint32_t group = 0; group < geometry_.groups; ++group) {
      add_blocks(Kind::kBlockBitmap, 0, group, geometry_.block_bitmaps + group, 1);
      add_blocks(Kind::kInodeBitmap, 0, group, geometry_.inode_bitmaps + group, 1);
    }
    add_blocks(Kind::kJournal, 0, 0, geometry_.journal, 1);
    if (!plan_.has_lost_and_found)
      add_blocks(Kind::kEntries, mixed(kSeed, kLostAndFound), 0,
                 geometry_.generated + plan_.lost_and_found_block, 1);
  }

  void name_inode(uint32_t inode, Directory& parent, std::string_view name) {
    const PlannedInode& planned = plan_.inodes[inode];
    if (parent.files % kFilesPerName == 0)
      parent.records = name_of(Kind::kRecords, parent.path, parent.files / kFilesPerName);
    ++parent.files;
    add(parent.records,
        {geometry_.inode_tables * kBlockSize + uint64_t{planned.number - 1} * kInodeSize,
         kInodeSize});
    const uint64_t folder = parent.path;
    if (planned.directory != kAbsent) {
      if (planned.directory != 0)
        directories_[planned.directory].path = mixed(folder, name);  // may be `parent`'s own place
      const PlannedDirectory& directory = plan_.directories[planned.directory];
      for (uint32_t i = 0; i < directory.block_count; ++i)
        add_blocks(Kind::kEntries, directories_[planned.directory].path, i,
                   geometry_.generated + directory.first_block + i, 1);
    } else {
      for (uint32_t i = 0; i < planned.run_count; ++i)
        name_content(plan_.runs[planned.first_run + i], inode, folder, name);
    }
    if (planned.first_extent_block != kAbsent)
      add_blocks(Kind::kBehind, folder, 0, geometry_.generated + planned.first_extent_block,
                 planned.extent_block_count);
    if (planned.xattr_block != kAbsent)
      add_blocks(Kind::kBehind, folder, 0, geometry_.generated + planned.xattr_block, 1);
  }

  // Of files that were made for this disk, and of long links; the rest is the components'.
  void name_content(const PlannedRun& run, uint32_t inode, uint64_t folder, std::string_view name) {
    if (run.place != plan_.places.generated()) return;
    const bool is_link = tree_.inodes[inode].source->kind == InodeKind::kSymlink;
    add_blocks(is_link ? Kind::kBehind : Kind::kContent, is_link ? folder : mixed(folder, name), 0,
               geometry_.generated + run.run.physical, run.run.count);
  }

  const MergedTree& tree_;
  const Plan& plan_;
  const Geometry& geometry_;
  std::vector<Directory> directories_;  // as the plan's
  std::vector<NamedRange> ranges_;
};

}  // namespace

std::vector<NamedRange> name_metadata(const MergedTree& tree, const Plan& plan,
                                      const Geometry& geometry) {
  return Namer(tree, plan, geometry).run();
}

}  // namespace forerun::image::ext4
