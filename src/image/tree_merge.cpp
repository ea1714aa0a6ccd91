#include "image/tree_merge.h"

#include <fmt/format.h>

#include "image/generated_tree.h"
#include "image/link_follow.h"

namespace forerun::image {

namespace {

constexpr uint32_t kNone = UINT32_MAX;
constexpr size_t kConflictsDescribed = 5;
constexpr size_t kFollowRoundsMax = 8;  // links below links

// A component's tree, ready to be walked.
struct Source {
  const FileTree* tree = nullptr;
  std::vector<uint32_t> subtree_end;   // by name: the first name after all below it
  std::vector<uint32_t> merged_inode;  // by inode: its number in the result, or kNone
  std::vector<bool> sees;              // by source: whether this one was built on it
  const IdMap* ids = nullptr;
};

struct Entry {
  uint32_t source = 0;
  uint32_t name = 0;
};

std::vector<uint32_t> subtree_ends(const FileTree& tree) {
  std::vector<uint32_t> ends(tree.names.size());
  for (uint32_t i = 0; i < ends.size(); ++i) ends[i] = i + 1;
  for (size_t i = ends.size(); i-- > 1;) {
    uint32_t& parent_end = ends[tree.names[i].parent];
    parent_end = std::max(parent_end, ends[i]);
  }
  return ends;
}

std::string_view kind_text(InodeKind kind) {
  switch (kind) {
    case InodeKind::kRegular:
      return "a file";
    case InodeKind::kDirectory:
      return "a directory";
    case InodeKind::kSymlink:
      return "a symbolic link";
    case InodeKind::kBlockDevice:
    case InodeKind::kCharDevice:
      return "a device";
    case InodeKind::kFifo:
      return "a pipe";
    case InodeKind::kWhiteout:
      return "a removal";
  }
  return "something unknown";
}

// A directory of an input over a link of what the input was built on.
struct LinkedDirectory {
  uint32_t input = 0, linked_by = 0;
  std::string path, target;
  bool gives_way = false;
};

class Merger {
 public:
  Merger(std::span<const MergeInput> inputs, const MergeOptions& options, MergeStorage& storage)
      : inputs_(inputs), options_(options), storage_(storage) {}

  Status run();
  MergedTree take() && { return std::move(tree_); }
  const std::vector<LinkedDirectory>& linked() const { return linked_; }

 private:
  struct Collision {
    Entry first, second;
  };

  void add_sources();
  bool is_generated(const Entry& entry) const { return entry.source == inputs_.size(); }
  const TreeName& name_of(const Entry& entry) const {
    return sources_[entry.source].tree->names[entry.name];
  }
  const TreeInode& inode_of(const Entry& entry) const {
    return sources_[entry.source].tree->inodes[name_of(entry).inode];
  }
  InodeKind kind_of(const Entry& entry) const { return inode_of(entry).kind; }
  bool sees(const Entry& later, const Entry& earlier) const {
    return sources_[later.source].sees[earlier.source];
  }
  uint32_t user_of(const Entry& entry) const {
    const IdMap& ids = *sources_[entry.source].ids;
    return ids.user ? ids.user(inode_of(entry).uid) : inode_of(entry).uid;
  }
  uint32_t group_of(const Entry& entry) const {
    const IdMap& ids = *sources_[entry.source].ids;
    return ids.group ? ids.group(inode_of(entry).gid) : inode_of(entry).gid;
  }

  bool same(const Entry& a, const Entry& b) const;
  bool is_ranked(const std::string& path) const;
  std::string path_in(uint32_t parent, std::string_view name) const;

  Status check_implied(const Entry& entry, uint32_t parent) const;
  void stack(const Entry& entry, uint32_t parent);
  bool settle_siblings(const Entry& entry, uint32_t parent);
  void report_collisions(uint32_t parent);
  void note_link(const Entry& directory, const Entry& below, uint32_t parent);

  Status merge_children(const std::vector<Entry>& directories, uint32_t parent, uint32_t depth);
  Status add_resolved(std::vector<Entry> live, uint32_t parent, uint32_t depth);
  Status copy_children(const Entry& directory, uint32_t parent);
  Result<uint32_t> add_name(const Entry& entry, uint32_t parent);
  uint32_t add_inode(const Entry& entry);
  const TreeInode* attributes(const Entry& entry);

  const std::span<const MergeInput> inputs_;
  const MergeOptions& options_;
  MergeStorage& storage_;
  std::vector<Source> sources_;  // the inputs, then the generated files
  const IdMap no_map_;
  MergedTree tree_;

  // Of the path that is being resolved.
  std::vector<Entry> live_;         // what stands there so far: directories, or one other entry
  std::optional<Entry> lower_;      // what the live ones replaced
  std::vector<Collision> pending_;  // until something that sees both sides replaces them
  std::vector<uint32_t> copied_names_;
  std::vector<LinkedDirectory> linked_;
};

void Merger::add_sources() {
  const size_t count = inputs_.size() + 1;
  for (size_t i = 0; i < count; ++i) {
    const bool is_last = i == inputs_.size();
    Source source;
    source.tree = is_last ? &storage_.generated : inputs_[i].tree;
    source.subtree_end = subtree_ends(*source.tree);
    source.merged_inode.assign(source.tree->inodes.size(), kNone);
    source.sees.assign(count, is_last);
    source.ids = is_last ? &no_map_ : &inputs_[i].ids;
    for (size_t below = 0; below < i && !is_last; ++below) {
      source.sees[below] = inputs_[below].is_base;
    }
    if (!is_last) {
      for (const uint32_t below : inputs_[i].built_on) {
        FR_ASSERT(below < i, "a component is built on an earlier one");
        source.sees[below] = true;
      }
    }
    sources_.push_back(std::move(source));
  }
}

Status Merger::run() {
  add_sources();
  size_t names = 0, inodes = 0;
  std::vector<Entry> roots;
  for (uint32_t i = 0; i < sources_.size(); ++i) {
    const FileTree& tree = *sources_[i].tree;
    if (tree.names.empty()) continue;
    names += tree.names.size();
    inodes += tree.inodes.size();
    roots.push_back({i, 0});
  }
  if (roots.empty()) return fail(ErrorCode::kInvalid, "there is nothing to merge");
  tree_.names.reserve(names);
  tree_.inodes.reserve(inodes);
  return add_resolved(std::move(roots), 0, 0);
}

bool Merger::same(const Entry& a, const Entry& b) const {
  const TreeInode& x = inode_of(a);
  const TreeInode& y = inode_of(b);
  if (x.kind != y.kind) return false;
  if (x.kind == InodeKind::kWhiteout) return true;
  // Two directories are never compared whole: they merge.
  if (x.kind == InodeKind::kDirectory) return false;
  if (x.mode != y.mode || user_of(a) != user_of(b) || group_of(a) != group_of(b)) return false;
  if (x.xattrs != y.xattrs) return false;
  if (x.kind == InodeKind::kRegular) return x.size == y.size && x.content == y.content;
  if (x.kind == InodeKind::kSymlink) return x.target == y.target;
  return x.device_major == y.device_major && x.device_minor == y.device_minor;
}

std::string Merger::path_in(uint32_t parent, std::string_view name) const {
  std::string path = tree_.path_of(parent);
  if (path.size() > 1) path += '/';
  return path.append(name);
}

bool Merger::is_ranked(const std::string& path) const {
  return options_.last_always_wins ||
         std::ranges::any_of(options_.last_wins, [&](const std::string& ranked) {
           return ranked.ends_with('/') ? path.starts_with(ranked) : path == ranked;
         });
}

// A directory above a generated file must not replace what a component has: often a link to one.
Status Merger::check_implied(const Entry& entry, uint32_t parent) const {
  if (!is_generated(entry) || !storage_.generated_is_implied[entry.name] || live_.empty())
    return {};
  const InodeKind below = kind_of(live_.back());
  if (below == InodeKind::kDirectory || below == InodeKind::kWhiteout) return {};
  return fail(ErrorCode::kInvalid,
              fmt::format("a generated file is below {}, which is {}",
                          path_in(parent, name_of(entry).name), kind_text(below)));
}

// Puts `entry` on top of what lives at its path.
void Merger::stack(const Entry& entry, uint32_t parent) {
  const TreeInode& inode = inode_of(entry);
  const bool hides = inode.kind != InodeKind::kDirectory || inode.is_opaque;
  std::erase_if(pending_, [&](const Collision& collision) {
    return sees(entry, collision.first) && sees(entry, collision.second);
  });
  std::erase_if(live_, [&](const Entry& below) {
    if (!sees(entry, below)) return false;
    if (!hides && kind_of(below) == InodeKind::kSymlink) note_link(entry, below, parent);
    if (!hides && kind_of(below) == InodeKind::kDirectory) return false;
    lower_ = below;
    if (kind_of(below) == InodeKind::kWhiteout) return true;
    ++(inode.kind == InodeKind::kWhiteout ? tree_.erased : tree_.overridden);
    return true;
  });
  if (settle_siblings(entry, parent)) live_.push_back(entry);
}

// Returns whether `entry` stays beside or instead of the siblings that live at its path.
bool Merger::settle_siblings(const Entry& entry, uint32_t parent) {
  const auto is_directory = [&](const Entry& e) { return kind_of(e) == InodeKind::kDirectory; };
  std::vector<Entry> kept;
  for (const Entry& sibling : live_) {
    if (is_directory(sibling) && is_directory(entry)) {
      kept.push_back(sibling);
      continue;
    }
    if (same(sibling, entry)) continue;
    const bool has_lower = lower_ && sees(entry, *lower_) && sees(sibling, *lower_);
    if (has_lower && same(entry, *lower_)) return false;
    if (has_lower && same(sibling, *lower_)) continue;
    if (!is_ranked(path_in(parent, name_of(entry).name))) pending_.push_back({sibling, entry});
  }
  live_ = std::move(kept);
  return true;
}

void Merger::note_link(const Entry& directory, const Entry& below, uint32_t parent) {
  if (is_generated(directory)) return;
  linked_.push_back({directory.source, below.source, path_in(parent, name_of(directory).name),
                     inode_of(below).target, inode_of(directory).gives_way});
}

void Merger::report_collisions(uint32_t parent) {
  for (const Collision& collision : pending_) {
    if (tree_.conflicts.size() >= kMergeConflictsMax) return;
    const InodeKind first = kind_of(collision.first);
    const InodeKind second = kind_of(collision.second);
    std::string reason;
    if (first != second) {
      reason = fmt::format("{} and {}", kind_text(first), kind_text(second));
    } else if (first == InodeKind::kRegular &&
               inode_of(collision.first).content == inode_of(collision.second).content) {
      reason = "equal files with different owners, modes or attributes";
    } else {
      reason = fmt::format("{} each, not equal", kind_text(first));
    }
    tree_.conflicts.push_back({path_in(parent, name_of(collision.first).name),
                               collision.first.source, collision.second.source, std::move(reason)});
  }
  pending_.clear();
}

const TreeInode* Merger::attributes(const Entry& entry) {
  const TreeInode& inode = inode_of(entry);
  const IdMap& ids = *sources_[entry.source].ids;
  if (inode.xattrs.empty() || (!ids.user && !ids.group)) return &inode;
  const auto is_acl = [](const Xattr& xattr) {
    return xattr.name.starts_with("system.posix_acl_");
  };
  if (std::ranges::none_of(inode.xattrs, is_acl)) return &inode;
  TreeInode& mapped = storage_.inodes.emplace_back(inode);
  for (Xattr& xattr : mapped.xattrs) {
    if (is_acl(xattr)) xattr.value = map_acl(xattr.value, ids);
  }
  return &mapped;
}

uint32_t Merger::add_inode(const Entry& entry) {
  const uint32_t number = name_of(entry).inode;
  uint32_t& merged = sources_[entry.source].merged_inode[number];
  if (merged == kNone) {
    merged = static_cast<uint32_t>(tree_.inodes.size());
    MergedInode& inode = tree_.inodes.emplace_back();
    inode.source = attributes(entry);
    inode.component = is_generated(entry) ? kGeneratedComponent : entry.source;
    if (is_generated(entry)) inode.content = storage_.generated_content[number];
    inode.source_inode = number;
    inode.uid = user_of(entry);
    inode.gid = group_of(entry);
  }
  ++tree_.inodes[merged].link_count;
  return merged;
}

Result<uint32_t> Merger::add_name(const Entry& entry, uint32_t parent) {
  if (tree_.names.size() >= UINT32_MAX - 1) {
    return fail(ErrorCode::kTooLarge, "the components have too many names");
  }
  const auto number = static_cast<uint32_t>(tree_.names.size());
  const uint32_t inode = add_inode(entry);
  tree_.names.push_back({parent, inode, name_of(entry).name});
  return number;
}

// Adds what `live` at one path comes to: nothing, one entry, or a directory merged from several.
Status Merger::add_resolved(std::vector<Entry> live, uint32_t parent, uint32_t depth) {
#ifdef FORERUN_PLANT_BUG_MERGE  // set by fuzz/merge/prove.sh only
  if (live.empty()) return {};
#else
  if (live.empty() || kind_of(live.back()) == InodeKind::kWhiteout) return {};
#endif
  // Of several directories, the last that does not give way; the first if all do.
  const auto says = std::find_if(live.rbegin(), live.rend(),
                                 [&](const Entry& entry) { return !inode_of(entry).gives_way; });
  const Entry winner = says == live.rend() ? live.front() : *says;
  FR_TRY(const uint32_t name, add_name(winner, parent));
  if (kind_of(winner) != InodeKind::kDirectory) return {};
  if (live.size() == 1) return copy_children(winner, name);
  if (depth >= kMergeDepthMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("there are over {} directories below one another", kMergeDepthMax));
  }
  return merge_children(live, name, depth + 1);
}

Status Merger::merge_children(const std::vector<Entry>& directories, uint32_t parent,
                              uint32_t depth) {
  std::vector<Entry> cursors;  // the next child of each
  for (const Entry& directory : directories)
    cursors.push_back({directory.source, directory.name + 1});
  const auto is_done = [&](size_t i) {
    const Source& source = sources_[directories[i].source];
    return cursors[i].name >= source.subtree_end[directories[i].name];
  };
  while (true) {
    std::optional<std::string_view> next;
    for (size_t i = 0; i < cursors.size(); ++i) {
      if (is_done(i)) continue;
      const std::string_view name = name_of(cursors[i]).name;
      if (!next || name < *next) next = name;
    }
    if (!next) return {};
    live_.clear();
    lower_.reset();
    pending_.clear();
    for (size_t i = 0; i < cursors.size(); ++i) {
      if (is_done(i) || name_of(cursors[i]).name != *next) continue;
      FR_CHECK(check_implied(cursors[i], parent));
      stack(cursors[i], parent);
      cursors[i].name = sources_[cursors[i].source].subtree_end[cursors[i].name];
    }
    report_collisions(parent);
    FR_CHECK(add_resolved(live_, parent, depth));
  }
}

// Adds all that stands below a directory which only one component has.
Status Merger::copy_children(const Entry& directory, uint32_t parent) {
  const Source& source = sources_[directory.source];
  const uint32_t end = source.subtree_end[directory.name];
  copied_names_.assign(end - directory.name, kNone);
  copied_names_[0] = parent;
  for (uint32_t i = directory.name + 1; i < end; ++i) {
    const Entry entry{directory.source, i};
    if (kind_of(entry) == InodeKind::kWhiteout) continue;
    FR_TRY(copied_names_[i - directory.name],
           add_name(entry, copied_names_[name_of(entry).parent - directory.name]));
  }
  return {};
}

}  // namespace

std::string MergedTree::path_of(uint32_t name) const {
  std::string path;
  for (; name != 0; name = names[name].parent) {
    path.insert(0, names[name].name);
    path.insert(0, 1, '/');
  }
  return path.empty() ? "/" : path;
}

namespace {

// Moves what lies in directories over links to where these lead. Returns whether anything moved.
Result<bool> follow_links(const std::vector<LinkedDirectory>& linked,
                          std::vector<MergeInput>& inputs, MergedTree& tree,
                          MergeStorage& storage) {
  bool has_moved = false;
  for (const LinkedDirectory& one : linked) {
    MergeInput& input = inputs[one.input];
    const auto target = follow_link(tree, one.path, one.target);
    if (!target) {
      // Whoever says what a directory is may put it in place of a link; others ask for one.
      if (one.gives_way && tree.conflicts.size() < kMergeConflictsMax)
        tree.conflicts.push_back({one.path, one.linked_by, one.input,
                                  "a symbolic link that leads to no directory, and a directory"});
      continue;
    }
    if (!input.tree->find(one.path)) continue;  // was below another that moved
    auto moved = move_directory(*input.tree, one.path, *target);
    if (!moved) return std::unexpected(std::move(moved.error()).within("component " + input.name));
    storage.followed.push_back(std::move(*moved));
    input.tree = &storage.followed.back();
    has_moved = true;
  }
  return has_moved;
}

}  // namespace

Result<MergedTree> merge_trees(std::span<const MergeInput> given, const MergeOptions& options) {
  auto storage = std::make_shared<MergeStorage>();
  FR_CHECK(build_generated_tree(options.generated, *storage));
  std::vector<MergeInput> inputs(given.begin(), given.end());
  for (size_t round = 0; round < kFollowRoundsMax; ++round) {
    Merger merger(inputs, options, *storage);
    FR_CHECK(merger.run());
    const std::vector<LinkedDirectory> linked = merger.linked();
    MergedTree tree = std::move(merger).take();
    FR_TRY(const bool has_moved, follow_links(linked, inputs, tree, *storage));
    if (has_moved) continue;
    tree.storage = std::move(storage);
    return tree;
  }
  return fail(ErrorCode::kInvalid,
              "directories of the components lie over too many links below "
              "one another");
}

std::string describe(std::span<const MergeConflict> conflicts, std::span<const MergeInput> inputs) {
  std::string text = fmt::format("the components conflict at {} path{}: ", conflicts.size(),
                                 conflicts.size() == 1 ? "" : "s");
  for (size_t i = 0; i < conflicts.size() && i < kConflictsDescribed; ++i) {
    const MergeConflict& conflict = conflicts[i];
    if (i > 0) text += "; ";
    text += fmt::format("{} of '{}' and '{}' ({})", conflict.path, inputs[conflict.first].name,
                        inputs[conflict.second].name, conflict.reason);
  }
  if (conflicts.size() > kConflictsDescribed) text += "; …";
  return text;
}

}  // namespace forerun::image
