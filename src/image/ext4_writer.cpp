#include "image/ext4_writer.h"

#include "image/ext4_geometry.h"
#include "image/ext4_plan.h"
#include "image/ext4_records.h"
#include "image/ext4_tables.h"

namespace forerun::image {
namespace ext4 {
namespace {

class Writer {
 public:
  Writer(const MergedTree& tree, std::span<const uint64_t> component_sizes, const Plan& plan,
         const Geometry& geometry, const Ext4Options& options)
      : tree_(tree),
        sizes_(component_sizes),
        plan_(plan),
        geometry_(geometry),
        options_(options),
        seed_(file_system_seed(options.identity)) {}

  Ext4Image run();

 private:
  // A directory whose entries are being written.
  struct OpenDirectory {
    uint32_t seed = 0;
    uint32_t block = 0;  // on the disk
    uint32_t used = 0;
    uint32_t last_entry = 0;
  };

  uint32_t generated_block(uint32_t block) const {
    return static_cast<uint32_t>(geometry_.generated) + block;
  }
  MutableByteView block(uint32_t number) {
    return disk_.at(uint64_t{number} * kBlockSize, kBlockSize);
  }
  uint32_t number_of(uint32_t inode) const { return plan_.inodes[inode].number; }
  void count_directory(uint32_t number) {
    ++use_.directories_per_group[(number - 1) / geometry_.inodes_per_group];
  }

  void write_inodes();
  void write_one_inode(uint32_t index);
  void write_content(uint32_t index, uint32_t seed, MutableByteView record);
  void write_lost_and_found();
  void write_directories();
  void open_directory(OpenDirectory& open, uint32_t number, uint32_t first_block,
                      uint32_t parent_number);
  void add_entry(OpenDirectory& open, uint32_t number, uint8_t type, std::string_view name);
  void seal(const OpenDirectory& open) {
    seal_directory_block(block(open.block), open.last_entry, open.seed);
  }
  void mark_blocks();
  std::vector<DataExtent> data_extents();
  Ext4Statistics statistics(uint64_t free_blocks) const;

  const MergedTree& tree_;
  const std::span<const uint64_t> sizes_;
  const Plan& plan_;
  const Geometry& geometry_;
  const Ext4Options& options_;
  const uint32_t seed_;
  SparseBytes disk_;
  InodeUse use_;
  std::vector<Run> runs_;  // of the inode that is being written
  std::vector<MutableByteView> extent_blocks_;
};

Ext4Image Writer::run() {
  use_.last_inode = plan_.last_inode;
  use_.directories_per_group.assign(geometry_.groups, 0);
  mark_blocks();
  write_journal(disk_, geometry_, options_);
  write_inodes();
  write_directories();
  Ext4Image image;
  const uint64_t free_blocks = write_tables(disk_, geometry_, options_, use_);
  image.size_bytes = geometry_.blocks() * kBlockSize;
  image.extents = data_extents();
  image.names = name_metadata(tree_, plan_, geometry_);
  image.statistics = statistics(free_blocks);
  image.metadata = std::move(disk_);
  return image;
}

void Writer::mark_blocks() {
  const uint64_t table_blocks = uint64_t{geometry_.groups} * geometry_.table_blocks;
  mark_used(disk_, geometry_, 0, geometry_.descriptors + geometry_.descriptor_blocks);
  mark_used(disk_, geometry_, geometry_.block_bitmaps, geometry_.groups);
  mark_used(disk_, geometry_, geometry_.inode_bitmaps, geometry_.groups);
  mark_used(disk_, geometry_, geometry_.inode_tables, table_blocks);
  mark_used(disk_, geometry_, geometry_.journal, geometry_.journal_blocks);
  mark_used(disk_, geometry_, geometry_.generated, geometry_.generated_end - geometry_.generated);
  for (uint32_t group = 1; geometry_.can_grow && group < geometry_.groups; ++group) {
    if (has_copy(group))
      mark_used(disk_, geometry_, uint64_t{group} * kGroupBlocks, 1 + geometry_.descriptor_blocks);
  }
  for (uint32_t i = 0; i < plan_.used.size(); ++i) {
    const BlockSet& used = plan_.used[i];
    // A region begins at a multiple of 512 blocks, so its bits are whole words of the bitmap.
    const uint64_t at =
        geometry_.block_bitmaps * kBlockSize + geometry_.places[plan_.places.of_component(i)] / 8;
    disk_.write(at, std::as_bytes(std::span(used)));
  }
  const uint32_t copies = plan_.places.copies();
  mark_used(disk_, geometry_, geometry_.places[copies], plan_.blocks[copies]);
}

void Writer::write_inodes() {
  for (uint32_t i = 0; i < tree_.inodes.size(); ++i) write_one_inode(i);
  if (!plan_.has_lost_and_found) write_lost_and_found();
}

void Writer::write_one_inode(uint32_t index) {
  const MergedInode& inode = tree_.inodes[index];
  const TreeInode& source = *inode.source;
  const PlannedInode& planned = plan_.inodes[index];
  const uint32_t seed = inode_seed(seed_, planned.number);
  const MutableByteView record = inode_record(disk_, geometry_, planned.number);
  InodeFields fields;
  fields.number = planned.number;
  fields.kind = source.kind;
  fields.mode = source.mode;
  fields.uid = inode.uid;
  fields.gid = inode.gid;
  fields.link_count = inode.link_count;
  fields.mtime_s = source.mtime_s;
  fields.mtime_ns = source.mtime_ns;
  fields.block_count = planned.content_blocks + planned.extent_block_count;
  if (source.kind == InodeKind::kRegular) fields.size = source.size;
  if (source.kind == InodeKind::kSymlink) fields.size = source.target.size();
  if (source.kind == InodeKind::kDirectory) {
    const PlannedDirectory& directory = plan_.directories[planned.directory];
    fields.size = uint64_t{directory.block_count} * kBlockSize;
    // Over the limit, 1 says that nobody counted.
    const uint64_t links = uint64_t{directory.subdirectory_count} + 2;
    fields.link_count = links > kLinksMax ? 1 : static_cast<uint32_t>(links);
    count_directory(planned.number);
  }
  fields.has_extents = source.kind == InodeKind::kRegular || source.kind == InodeKind::kDirectory ||
                       planned.run_count > 0;
  write_content(index, seed, record);
  if (planned.xattrs != kAbsent) {
    const XattrRecords& xattrs = plan_.xattrs[planned.xattrs];
    fields.xattrs = xattrs.in_inode;
    if (planned.xattr_block != kAbsent) {
      fields.xattr_block = generated_block(planned.xattr_block);
      ++fields.block_count;
      const MutableByteView target = block(fields.xattr_block);
      std::ranges::copy(xattrs.block, target.begin());
      seal_xattr_block(target, seed_, fields.xattr_block);
    }
  }
  write_inode(fields, record);
  seal_inode(record, seed);
}

void Writer::write_content(uint32_t index, uint32_t seed, MutableByteView record) {
  const PlannedInode& planned = plan_.inodes[index];
  const MergedInode& inode = tree_.inodes[index];
  const TreeInode& source = *inode.source;
  const MutableByteView content = record.subspan(kContentOffset, kContentSize);
  if (source.kind == InodeKind::kBlockDevice || source.kind == InodeKind::kCharDevice) {
    return write_device(source.device_major, source.device_minor, content);
  }
  if (source.kind == InodeKind::kFifo) return;
  if (source.kind == InodeKind::kSymlink && planned.run_count == 0) {
    std::ranges::copy(as_bytes(source.target), content.begin());
    return;
  }
  runs_.clear();
  for (uint32_t i = 0; i < planned.run_count; ++i) {
    const PlannedRun& planned_run = plan_.runs[planned.first_run + i];
    Run run = planned_run.run;
    run.physical += static_cast<uint32_t>(geometry_.places[planned_run.place]);
    runs_.push_back(run);
  }
  extent_blocks_.clear();
  const uint32_t first = generated_block(planned.first_extent_block);
  for (uint32_t i = 0; i < planned.extent_block_count; ++i) {
    extent_blocks_.push_back(block(first + i));
  }
  write_extents(runs_, seed, first, content, extent_blocks_);
  ByteView generated;
  if (source.kind == InodeKind::kSymlink) generated = as_bytes(source.target);
  if (inode.content != nullptr) generated = *inode.content;
  if (!generated.empty()) disk_.write(uint64_t{runs_.front().physical} * kBlockSize, generated);
}

void Writer::write_lost_and_found() {
  const uint32_t seed = inode_seed(seed_, kFirstInode);
  const MutableByteView record = inode_record(disk_, geometry_, kFirstInode);
  const Run run{0, generated_block(plan_.lost_and_found_block), 1};
  write_extents({&run, 1}, seed, 0, record.subspan(kContentOffset, kContentSize), {});
  InodeFields fields;
  fields.number = kFirstInode;
  fields.kind = InodeKind::kDirectory;
  fields.mode = 0700;
  fields.size = kBlockSize;
  fields.link_count = 2;
  fields.block_count = 1;
  fields.mtime_s = options_.time_s;
  fields.has_extents = true;
  write_inode(fields, record);
  seal_inode(record, seed);
  count_directory(kFirstInode);
}

void Writer::open_directory(OpenDirectory& open, uint32_t number, uint32_t first_block,
                            uint32_t parent_number) {
  open.seed = inode_seed(seed_, number);
  open.block = first_block;
  add_entry(open, number, entry_type(InodeKind::kDirectory), ".");
  add_entry(open, parent_number, entry_type(InodeKind::kDirectory), "..");
}

// As Planner::plan_directories counts.
void Writer::add_entry(OpenDirectory& open, uint32_t number, uint8_t type, std::string_view name) {
  const uint32_t size = entry_size(name.size());
  if (open.used + size > kDirectoryCapacity) {
    seal(open);
    ++open.block;
    open.used = 0;
  }
  write_entry(block(open.block).subspan(open.used), number, type, name);
  open.last_entry = open.used;
  open.used += size;
}

void Writer::write_directories() {
  std::vector<OpenDirectory> open(plan_.directories.size());
  for (size_t i = 0; i < open.size(); ++i) {
    const PlannedDirectory& directory = plan_.directories[i];
    open_directory(open[i], number_of(directory.inode), generated_block(directory.first_block),
                   number_of(plan_.directories[directory.parent].inode));
  }
  for (uint32_t i = 1; i < tree_.names.size(); ++i) {
    const MergedName& name = tree_.names[i];
    const uint32_t parent = plan_.inodes[tree_.names[name.parent].inode].directory;
    add_entry(open[parent], number_of(name.inode),
              entry_type(tree_.inodes[name.inode].source->kind), name.name);
  }
  if (!plan_.has_lost_and_found) {
    add_entry(open[0], kFirstInode, entry_type(InodeKind::kDirectory), kLostAndFound);
    OpenDirectory made;
    open_directory(made, kFirstInode, generated_block(plan_.lost_and_found_block), kRootInode);
    seal(made);
  }
  for (const OpenDirectory& directory : open) seal(directory);
}

// One extent for each component, from its first used block to its last, and one for each copy.
std::vector<DataExtent> Writer::data_extents() {
  std::vector<DataExtent> extents;
  const auto add = [&](uint64_t disk_block, uint32_t component, uint64_t block, uint64_t count) {
    const uint64_t offset = block * kBlockSize;
    const uint64_t length = std::min(count * kBlockSize, sizes_[component] - offset);
    const uint64_t at = disk_block * kBlockSize;
    if (!extents.empty()) {
      DataExtent& last = extents.back();
      if (last.component == component && last.range.end() == at &&
          last.component_offset + last.range.length == offset) {
        last.range.length += length;
        return;
      }
    }
    extents.push_back({{at, length}, component, offset});
  };
  for (uint32_t i = 0; i < plan_.used.size(); ++i) {
    const BlockSet& used = plan_.used[i];
    const auto is_used = [](uint64_t word) { return word != 0; };
    const auto first = std::ranges::find_if(used, is_used);
    if (first == used.end()) continue;
    const auto last = std::find_if(used.rbegin(), used.rend(), is_used);
    const uint64_t begin = static_cast<uint64_t>(first - used.begin()) * 64 +
                           static_cast<uint64_t>(std::countr_zero(*first));
    const uint64_t end = static_cast<uint64_t>(used.rend() - last) * 64 -
                         static_cast<uint64_t>(std::countl_zero(*last));
    add(geometry_.places[plan_.places.of_component(i)] + begin, i, begin, end - begin);
  }
  for (const CopiedRun& copy : plan_.copies) {
    add(geometry_.places[plan_.places.copies()] + copy.first_block, copy.component,
        copy.component_block, copy.count);
  }
  return extents;
}

Ext4Statistics Writer::statistics(uint64_t free_blocks) const {
  Ext4Statistics statistics;
  statistics.inodes = tree_.inodes.size();
  statistics.directories = plan_.directories.size();
  statistics.generated_bytes = plan_.blocks[plan_.places.generated()] * kBlockSize;
  statistics.copied_bytes = plan_.blocks[plan_.places.copies()] * kBlockSize;
  statistics.free_bytes = free_blocks * kBlockSize;
  for (const BlockSet& used : plan_.used) {
    uint64_t blocks = 0;
    for (const uint64_t word : used) blocks += static_cast<uint64_t>(std::popcount(word));
    statistics.component_bytes.push_back(blocks * kBlockSize);
  }
  return statistics;
}

}  // namespace
}  // namespace ext4

Result<Ext4Image> write_ext4(const MergedTree& tree, std::span<const uint64_t> component_sizes,
                             const Ext4Options& options) {
  FR_TRY(const ext4::Plan plan, ext4::plan_tree(tree, component_sizes));
  const uint64_t free_blocks =
      options.writable_bytes / ext4::kBlockSize + (options.writable_bytes % ext4::kBlockSize != 0);
  FR_TRY(const ext4::Geometry geometry,
         ext4::lay_out(plan.last_inode, plan.blocks, free_blocks, options.can_grow));
  return ext4::Writer(tree, component_sizes, plan, geometry, options).run();
}

}  // namespace forerun::image
