#include "image/ext4_plan.h"

#include <fmt/format.h>

namespace forerun::image::ext4 {
namespace {

constexpr uint64_t kBlocksMax = UINT32_MAX;
constexpr uint64_t kFileBlocksMax = UINT32_MAX;
constexpr uint32_t kDotEntriesSize = 24;

uint64_t block_count_of(uint64_t bytes) { return bytes / kBlockSize + (bytes % kBlockSize != 0); }

bool has(const BlockSet& set, uint64_t block) { return set[block / 64] >> (block % 64) & 1; }

// Returns the first block from `block` on, at most `end`, of which has() is not as of `block`.
uint64_t run_end(const BlockSet& set, uint64_t block, uint64_t end) {
  const uint64_t flip = has(set, block) ? ~uint64_t{0} : 0;
  while (block < end) {
    const uint64_t differs = (set[block / 64] ^ flip) >> (block % 64);
    if (differs != 0)
      return std::min(end, block + static_cast<uint64_t>(std::countr_zero(differs)));
    block = round_down(block, 64) + 64;
  }
  return end;
}

void add(BlockSet& set, uint64_t block, uint64_t end) {
  while (block < end) {
    const uint64_t count = std::min(end - block, 64 - block % 64);
    set[block / 64] |= (~uint64_t{0} >> (64 - count)) << (block % 64);
    block += count;
  }
}

class Planner {
 public:
  Planner(const MergedTree& tree, std::span<const uint64_t> component_sizes)
      : tree_(tree), sizes_(component_sizes) {}

  Result<Plan> run() {
    plan_.places.component_count = static_cast<uint32_t>(sizes_.size());
    plan_.blocks.assign(plan_.places.count(), 0);
    for (size_t i = 0; i < sizes_.size(); ++i) {
      const uint64_t blocks = block_count_of(sizes_[i]);
      if (blocks > kBlocksMax) return fail(ErrorCode::kTooLarge, "a component is too large");
      plan_.blocks[i] = blocks;
      plan_.used.emplace_back((blocks + 63) / 64);
    }
    plan_.inodes.resize(tree_.inodes.size());
    plan_.runs.reserve(tree_.inodes.size());
    FR_CHECK(number_inodes());
    plan_directories();
    for (uint32_t i = 0; i < tree_.inodes.size(); ++i) {
      if (auto status = plan_inode(i); !status) {
        return std::unexpected(std::move(status.error()).within(path_of_inode(i)));
      }
    }
    if (std::ranges::any_of(plan_.blocks, [](uint64_t count) { return count > kBlocksMax; })) {
      return fail(ErrorCode::kTooLarge, "the components need more than 2^32 blocks");
    }
    return std::move(plan_);
  }

 private:
  std::string path_of_inode(uint32_t inode) const {
    const auto name = std::ranges::find(tree_.names, inode, &MergedName::inode);
    return tree_.path_of(static_cast<uint32_t>(name - tree_.names.begin()));
  }

  // Takes `count` blocks of the generated place.
  uint32_t take_generated(uint64_t count) {
    uint64_t& taken = plan_.blocks[plan_.places.generated()];
    const uint64_t first = taken;
    taken += count;
    return static_cast<uint32_t>(first);  // plan_tree() fails if they are too many
  }

  Status number_inodes();
  void plan_directories();
  Status plan_inode(uint32_t number);
  void plan_link(uint32_t number);
  Status plan_content(uint32_t number);
  Status add_extent(const MergedInode& inode, const FileExtent& extent, uint32_t first_run);
  void add_run(uint32_t first_run, uint32_t place, uint64_t logical, uint64_t block,
               uint64_t count);

  const MergedTree& tree_;
  const std::span<const uint64_t> sizes_;
  Plan plan_;
};

Status Planner::number_inodes() {
  // Room for the reserved ones and those that one more group than needed would add.
  if (tree_.inodes.size() > (1ull << 31)) {
    return fail(ErrorCode::kTooLarge, "the components have too many files");
  }
  const auto found = std::ranges::find_if(tree_.names, [](const MergedName& name) {
    return name.parent == 0 && name.name == kLostAndFound;
  });
  uint32_t lost_and_found = kAbsent;
  if (found != tree_.names.end()) {
    lost_and_found = found->inode;
    plan_.has_lost_and_found = true;
    if (tree_.inodes[lost_and_found].source->kind != InodeKind::kDirectory) {
      return fail(ErrorCode::kInvalid, "/lost+found is not a directory");
    }
  }
  plan_.inodes[0].number = kRootInode;
  for (uint32_t i = 1; i < plan_.inodes.size(); ++i) {
    plan_.inodes[i].number = i == lost_and_found ? kFirstInode : ++plan_.last_inode;
  }
  return {};
}

void Planner::plan_directories() {
  const auto add_entry = [](PlannedDirectory& directory, size_t name_size) {
    const uint32_t size = entry_size(name_size);
    if (directory.last_block_used + size > kDirectoryCapacity) {
      ++directory.block_count;
      directory.last_block_used = 0;
    }
    directory.last_block_used += size;
  };
  auto& directories = plan_.directories;
  for (uint32_t i = 0; i < tree_.names.size(); ++i) {
    const MergedName& name = tree_.names[i];
    const uint32_t parent = plan_.inodes[tree_.names[name.parent].inode].directory;
    if (i > 0) add_entry(directories[parent], name.name.size());
    if (tree_.inodes[name.inode].source->kind != InodeKind::kDirectory) continue;
    plan_.inodes[name.inode].directory = static_cast<uint32_t>(directories.size());
    PlannedDirectory directory;
    directory.inode = name.inode;
    directory.parent = i > 0 ? parent : 0;
    directory.last_block_used = kDotEntriesSize;
    if (i > 0) ++directories[parent].subdirectory_count;
    directories.push_back(directory);
  }
  if (!plan_.has_lost_and_found) {
    add_entry(directories[0], kLostAndFound.size());
    ++directories[0].subdirectory_count;
  }
  for (PlannedDirectory& directory : directories) {
    directory.first_block = take_generated(directory.block_count);
  }
  if (!plan_.has_lost_and_found) plan_.lost_and_found_block = take_generated(1);
}

Status Planner::plan_inode(uint32_t number) {
  const MergedInode& inode = tree_.inodes[number];
  PlannedInode& planned = plan_.inodes[number];
  planned.first_run = static_cast<uint32_t>(plan_.runs.size());
  if (inode.link_count > kLinksMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("it has {} names; ext4 allows {}", inode.link_count, kLinksMax));
  }
  switch (inode.source->kind) {
    case InodeKind::kRegular:
      FR_CHECK(plan_content(number));
      break;
    case InodeKind::kSymlink:
      plan_link(number);
      break;
    case InodeKind::kDirectory: {
      const PlannedDirectory& directory = plan_.directories[planned.directory];
      add_run(planned.first_run, plan_.places.generated(), 0, directory.first_block,
              directory.block_count);
      break;
    }
    default:
      break;
  }
  planned.run_count = static_cast<uint32_t>(plan_.runs.size()) - planned.first_run;
  for (uint32_t i = 0; i < planned.run_count; ++i) {
    planned.content_blocks += plan_.runs[planned.first_run + i].run.count;
  }
  planned.extent_block_count = extent_blocks(planned.run_count);
  if (planned.extent_block_count > 0) {
    planned.first_extent_block = take_generated(planned.extent_block_count);
  }
  if (inode.source->xattrs.empty()) return {};
  FR_TRY(XattrRecords xattrs, encode_xattrs(inode.source->xattrs));
  planned.xattrs = static_cast<uint32_t>(plan_.xattrs.size());
  if (!xattrs.block.empty()) planned.xattr_block = take_generated(1);
  plan_.xattrs.push_back(std::move(xattrs));
  return {};
}

void Planner::plan_link(uint32_t number) {
  if (tree_.inodes[number].source->target.size() <= kSymlinkInlineMax) return;
  add_run(plan_.inodes[number].first_run, plan_.places.generated(), 0, take_generated(1), 1);
}

Status Planner::plan_content(uint32_t number) {
  const MergedInode& inode = tree_.inodes[number];
  const uint32_t first_run = plan_.inodes[number].first_run;
  const uint64_t size = inode.source->size;
  if (block_count_of(size) > kFileBlocksMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("it has {} bytes", size));
  }
  if (inode.component == kGeneratedComponent) {
    if (size == 0) return {};
    const uint64_t blocks = block_count_of(size);
    add_run(first_run, plan_.places.generated(), 0, take_generated(blocks), blocks);
    return {};
  }
  if (inode.component >= sizes_.size())
    return fail(ErrorCode::kInvalid, "its component is unknown");
  uint64_t previous_end = 0;
  for (const FileExtent& extent : inode.source->extents) {
    const bool is_aligned =
        extent.file_offset % kBlockSize == 0 && extent.data_offset % kBlockSize == 0;
    if (!is_aligned || extent.length == 0 || extent.file_offset < previous_end ||
        !fits({extent.file_offset, extent.length}, size) ||
        !fits({extent.data_offset, extent.length}, sizes_[inode.component])) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("its extent of {} bytes at {} in the file and {} in the component is "
                              "wrong",
                              extent.length, extent.file_offset, extent.data_offset));
    }
    previous_end = round_up(extent.file_offset + extent.length, kBlockSize);
    FR_CHECK(add_extent(inode, extent, first_run));
  }
  return {};
}

// Adds the runs of one extent: in the component's place what no file has yet, and in the copies'
// what one has.
Status Planner::add_extent(const MergedInode& inode, const FileExtent& extent, uint32_t first_run) {
  BlockSet& used = plan_.used[inode.component];
  uint64_t logical = extent.file_offset / kBlockSize;
  uint64_t block = extent.data_offset / kBlockSize;
  const uint64_t end = block + block_count_of(extent.length);
  while (block < end) {
    const uint64_t first = block;
    block = run_end(used, first, end);
    const uint64_t count = block - first;
    if (!has(used, first)) {
      add(used, first, block);
      add_run(first_run, plan_.places.of_component(inode.component), logical, first, count);
    } else {
      uint64_t& copied = plan_.blocks[plan_.places.copies()];
      if (copied + count > kBlocksMax) {
        return fail(ErrorCode::kTooLarge, "copies need more than 2^32 blocks");
      }
      plan_.copies.push_back({inode.component, static_cast<uint32_t>(first),
                              static_cast<uint32_t>(copied), static_cast<uint32_t>(count)});
      add_run(first_run, plan_.places.copies(), logical, copied, count);
      copied += count;
    }
    logical += count;
  }
  return {};
}

// Adds a run to the file whose runs begin at `first_run`, joined to its last one where possible.
void Planner::add_run(uint32_t first_run, uint32_t place, uint64_t logical, uint64_t block,
                      uint64_t count) {
  if (plan_.runs.size() > first_run) {
    PlannedRun& last = plan_.runs.back();
    if (last.place == place && last.run.logical + uint64_t{last.run.count} == logical &&
        last.run.physical + uint64_t{last.run.count} == block) {
      const uint64_t joined = std::min<uint64_t>(count, kExtentBlocksMax - last.run.count);
      last.run.count += static_cast<uint32_t>(joined);
      logical += joined;
      block += joined;
      count -= joined;
    }
  }
  while (count > 0) {
    const uint64_t part = std::min<uint64_t>(count, kExtentBlocksMax);
    plan_.runs.push_back({{static_cast<uint32_t>(logical), static_cast<uint32_t>(block),
                           static_cast<uint32_t>(part)},
                          place});
    logical += part;
    block += part;
    count -= part;
  }
}

}  // namespace

Result<Plan> plan_tree(const MergedTree& tree, std::span<const uint64_t> component_sizes) {
  FR_ASSERT(!tree.names.empty() && tree.inodes[0].source->kind == InodeKind::kDirectory,
            "a tree has a root");
  return Planner(tree, component_sizes).run();
}

}  // namespace forerun::image::ext4
