// Directories over links to directories. A package built for /lib lands on a base whose /lib is a
// link to usr/lib (merged /usr): what is in it belongs where the link leads, as dpkg has it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "image/file_tree.h"
#include "image/tree_merge.h"

namespace forerun::image {

// Returns the path of the directory that the link `link`, an absolute path, leads to in `tree` if
// its target is `target`; nothing if it leads nowhere, to no directory, or below itself.
std::optional<std::string> follow_link(const MergedTree& tree, std::string_view link,
                                       std::string_view target);

// Returns `tree` with all that is below `from` moved below `to`, both absolute paths, and `from`
// gone. Inodes keep their numbers; names are in order. Directories that are missing above `to` are
// made and give way. ERRORS: kInvalid: both places have something of one name that differs.
Result<FileTree> move_directory(const FileTree& tree, std::string_view from, std::string_view to);

}  // namespace forerun::image
