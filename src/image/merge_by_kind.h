// Files that components built apart all change, made one by what they are (account_merge.h,
// text_merge.h): so that independently built components combine into one consistent system.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/account_merge.h"
#include "image/component_files.h"
#include "image/tree_merge.h"

namespace forerun::image {

struct KindMerge {
  std::vector<GeneratedFile> generated;
  std::vector<AccountMerge::Ids> ids;  // by component; the base's stays empty
  std::vector<std::string> last_wins;  // paths at which order decides
  AccountMerge accounts;               // the texts, for who adds users
};

// Returns the chunks of the files that merge_by_kind will read, for who would rather fetch them
// beside one another than one after the other.
std::vector<repository::ChunkRef> chunks_to_merge(std::span<const ComponentFiles> components,
                                                  std::span<const std::vector<uint32_t>> sees = {});

// Returns what `components` (the base first, the others built on it) need beside their files.
// sees: by component, the earlier ones it was built on besides; none if empty. Whoever sees another
// has that one's changes in its own version of a file, so only the topmost versions are merged.
// ERRORS: kInvalid, naming both sides of a conflict; as ComponentFiles::text.
Result<KindMerge> merge_by_kind(std::span<const ComponentFiles> components,
                                std::span<const std::vector<uint32_t>> sees = {});

}  // namespace forerun::image
