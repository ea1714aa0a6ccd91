// Fuzzes the merge of component trees: two to four trees of all kinds of entries, built on each
// other or not, links in the way. The result must be in order, and the same again.
#include <fuzzer/FuzzedDataProvider.h>

#include "image/tree_builder.h"
#include "image/tree_merge.h"

using namespace forerun;
using namespace forerun::image;

namespace {

constexpr int kEntriesMax = 14;
constexpr std::string_view kPaths[] = {"a",     "a/b",   "a/b/c",   "a-",   "b",       "b/c",
                                       "lib",   "lib/a", "lib/b",   "usr",  "usr/lib", "usr/lib/a",
                                       "usr/b", "lib64", "lib64/a", "x/y/z"};
constexpr std::string_view kTargets[] = {"usr/lib", "/usr",    "../b",          ".",     "/", "lib",
                                         "/lib64",  "nowhere", "a/../usr/lib/", "lib/.."};

void require(bool condition) {
  if (!condition) __builtin_trap();
}

TreeInode build_inode(FuzzedDataProvider& input) {
  TreeInode inode;
  inode.kind = static_cast<InodeKind>(input.ConsumeIntegralInRange<int>(1, 6));
  inode.mode = input.PickValueInArray<uint16_t>({0755, 0644, 0700});
  inode.uid = input.ConsumeIntegralInRange<uint32_t>(0, 2);
  if (inode.kind == InodeKind::kSymlink) inode.target = input.PickValueInArray(kTargets);
  if (inode.kind == InodeKind::kDirectory) {
    inode.is_opaque = input.ConsumeProbability<float>() < 0.2f;
    inode.gives_way = input.ConsumeBool();
  }
  if (inode.kind == InodeKind::kRegular)
    inode.content = sha256(as_bytes(input.ConsumeBool() ? "one" : "two"));
  return inode;
}

FileTree build_tree(FuzzedDataProvider& input) {
  TreeBuilder tree;
  for (int i = input.ConsumeIntegralInRange<int>(0, kEntriesMax); i > 0; --i) {
    const std::string_view path = input.PickValueInArray(kPaths);
    Status added;
    switch (input.ConsumeIntegralInRange<int>(0, 7)) {
      case 0:
        added = tree.add_whiteout(path);
        break;
      case 1:
        added = tree.add_link(path, input.PickValueInArray(kPaths));
        break;
      case 2:
        added = tree.set_opaque(path);
        break;
      default:
        added = tree.add(path, build_inode(input));
    }
    require(added || !added.error().message.empty());
  }
  return tree.take();
}

// Names depth first and sorted, below directories; inodes numbered by their first name, each named
// as often as it says; nothing that only says what to remove.
void check(const MergedTree& tree) {
  require(!tree.names.empty() && tree.names[0].parent == 0 && tree.names[0].inode == 0);
  uint32_t inodes = 0;
  std::vector<uint32_t> links(tree.inodes.size()), line{0};
  for (uint32_t i = 0; i < tree.names.size(); ++i) {
    const MergedName& name = tree.names[i];
    require(name.inode <= inodes && name.inode < tree.inodes.size());
    inodes += name.inode == inodes;
    ++links[name.inode];
    const TreeInode* source = tree.inodes[name.inode].source;
    require(source != nullptr && source->kind != InodeKind::kWhiteout);
    if (i == 0) continue;
    require(is_valid_tree_name(name.name));
    // The way down to the name before holds this one's directory.
    std::optional<uint32_t> sibling;
    while (line.back() != name.parent) {
      sibling = line.back();
      line.pop_back();
      require(!line.empty());
    }
    require(!sibling || tree.names[*sibling].name < name.name);
    const TreeInode* parent = tree.inodes[tree.names[name.parent].inode].source;
    require(parent->kind == InodeKind::kDirectory);
    line.push_back(i);
  }
  require(inodes == tree.inodes.size());
  for (size_t i = 0; i < links.size(); ++i) {
    const bool is_directory = tree.inodes[i].source->kind == InodeKind::kDirectory;
    require(tree.inodes[i].link_count == links[i] && (!is_directory || links[i] == 1));
  }
}

std::string text_of(const MergedTree& tree) {
  std::string text;
  for (uint32_t i = 0; i < tree.names.size(); ++i) {
    const MergedInode& inode = tree.inodes[tree.names[i].inode];
    text += fmt::format("{} {} {} {} {}\n", tree.path_of(i), tree.names[i].inode, inode.component,
                        inode.source_inode, inode.source->mode);
  }
  for (const MergeConflict& conflict : tree.conflicts)
    text += fmt::format("{} {} {} {}\n", conflict.path, conflict.first, conflict.second,
                        conflict.reason);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  const size_t count = input.ConsumeIntegralInRange<size_t>(2, 4);
  const bool is_chain = input.ConsumeBool();  // each built on all before it
  std::vector<FileTree> trees;
  for (size_t i = 0; i < count; ++i) trees.push_back(build_tree(input));
  std::vector<MergeInput> inputs;
  for (uint32_t i = 0; i < count; ++i) {
    MergeInput one{&trees[i], fmt::format("c{}", i), is_chain || i == 0, {}, {}};
    for (uint32_t below = 0; below < i && !is_chain; ++below) {
      if (input.ConsumeBool()) one.built_on.push_back(below);
    }
    inputs.push_back(std::move(one));
  }
  MergeOptions options;
  options.last_always_wins = input.ConsumeBool();
  if (input.ConsumeBool()) {
    GeneratedFile file;
    file.path = "/" + std::string(input.PickValueInArray(kPaths));
    file.inode.kind = input.ConsumeBool() ? InodeKind::kWhiteout : InodeKind::kRegular;
    options.generated.push_back(std::move(file));
  }
  const auto tree = merge_trees(inputs, options);
  if (!tree) {
    require(!tree.error().message.empty());
    return 0;
  }
  check(*tree);
  // Whoever sees all that it collides with never conflicts, but over a link that leads nowhere.
  for (const MergeConflict& conflict : tree->conflicts) {
    require(conflict.first < conflict.second && conflict.second < count);
    const bool is_link = conflict.reason.find("leads to no directory") != std::string::npos;
    require(is_link || (!is_chain && !options.last_always_wins));
  }
  const auto again = merge_trees(inputs, options);
  require(again && text_of(*again) == text_of(*tree));
  return 0;
}
