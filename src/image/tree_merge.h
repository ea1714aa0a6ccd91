// The union of component trees: what one disk of several components holds. Overlay semantics where
// a component was built on another, conflicts with both sides named where it was not.
//
// A component sees what it was built on: every base, and what its input says. It may replace and
// remove that. Of any other component, its sibling, it knows nothing: directories of both merge and
// the later one's attributes win, but for one that gives way; equal entries are one; a side that
// equals what both were built on gives way to the other; everything else is a conflict, unless
// ranked. An opaque directory hides what its component was built on, never a sibling's files:
// overlayfs marks every directory that is new in a merged parent. A directory that is not opaque,
// over a link to a directory of what its component was built on, does not replace the link: what is
// in it goes where the link leads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "image/file_tree.h"

namespace forerun::image {

// A component's user and group ids, as they are on the disk it becomes part of.
struct IdMap {
  std::function<uint32_t(uint32_t)> user;   // empty: as it is
  std::function<uint32_t(uint32_t)> group;  // empty: as it is
};

struct MergeInput {
  const FileTree* tree = nullptr;  // canonical; stays the caller's for as long as the result lives
  std::string name;                // for conflicts
  bool is_base = false;            // every later input was built on it
  std::vector<uint32_t> built_on;  // earlier inputs besides: an archive's lower layers
  IdMap ids;
};

// A file the caller made for this disk. It replaces what stands at its path, and adds the
// directories that are missing above it. A whiteout removes.
struct GeneratedFile {
  std::string path;  // absolute, without "." and ".."
  TreeInode inode;   // without extents; a regular file's size is its content's
  Buffer content;
};

struct MergeOptions {
  std::vector<GeneratedFile> generated;
  // Conflicts at these paths, and below those that end in '/', are won by the last component.
  std::vector<std::string> last_wins;
  bool last_always_wins = false;
};

inline constexpr uint32_t kGeneratedComponent = UINT32_MAX;

struct MergedInode {
  const TreeInode* source = nullptr;  // its attributes, but for the owner
  const Buffer* content = nullptr;    // a generated file's
  uint32_t component = 0;             // index into the inputs, or kGeneratedComponent
  uint32_t source_inode = 0;          // in that component's tree
  uint32_t uid = 0, gid = 0;
  uint32_t link_count = 0;  // names; of a directory always 1
};

// As TreeName, with names that stay the inputs'.
struct MergedName {
  uint32_t parent = 0;
  uint32_t inode = 0;
  std::string_view name;
};

struct MergeConflict {
  std::string path;
  uint32_t first = 0, second = 0;  // inputs
  std::string reason;              // "different files", "a file and a directory"
};

// What a merge had to make itself. Neither copied nor moved: the rest points into it.
struct MergeStorage;

struct MergedTree {
  std::vector<MergedInode> inodes;  // numbered by their first name
  std::vector<MergedName> names;    // depth first, those of a directory sorted; [0] is the root
  std::vector<MergeConflict> conflicts;
  uint64_t overridden = 0;  // entries that something later replaced
  uint64_t erased = 0;      // entries, with all below them, that a whiteout removed
  std::shared_ptr<const MergeStorage> storage;

  std::string path_of(uint32_t name) const;
};

inline constexpr uint32_t kMergeDepthMax = 2048;    // directories below one another
inline constexpr size_t kMergeConflictsMax = 1000;  // more are not listed

// Returns the union of `inputs` in their order, with the options' generated files on top.
// ERRORS: kInvalid: a generated path is not absolute or given twice; kTooLarge: over
// kMergeDepthMax or 2^32 - 1 names.
Result<MergedTree> merge_trees(std::span<const MergeInput> inputs, const MergeOptions& options);

// Returns conflicts as one sentence, the first few with both sides named.
std::string describe(std::span<const MergeConflict> conflicts, std::span<const MergeInput> inputs);

// Returns a POSIX ACL in the form of system.posix_acl_*'s value with its owners mapped; a value
// that is none comes back as it is.
Buffer map_acl(ByteView value, const IdMap& ids);

}  // namespace forerun::image
