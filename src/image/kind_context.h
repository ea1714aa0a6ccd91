// What the merges by kind work with: the versions that components have of a file, and the files
// they generate in their place.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "image/component_files.h"
#include "image/merge_by_kind.h"
#include "image/text_merge.h"

namespace forerun::image {

class KindContext {
 public:
  // As merge_by_kind's; all outlive this object.
  KindContext(std::span<const ComponentFiles> components,
              std::span<const std::vector<uint32_t>> sees, KindMerge& merge)
      : components_(components), sees_(sees), merge_(merge) {}

  std::span<const ComponentFiles> components() const { return components_; }
  std::span<const std::vector<uint32_t>> sees() const { return sees_; }
  KindMerge& merge() { return merge_; }

  bool has(size_t component, std::string_view path) const {
    return components_[component].find(path) != nullptr;
  }
  // Returns the components, without the base, that have something at `path` and that none which has
  // was built on: whose word counts.
  std::vector<uint32_t> siblings_with(std::string_view path) const;
  // Returns the text as each component has it: its own file, that of the last one it was built on,
  // or the base's; empty if it removed it. ERRORS: as ComponentFiles::text.
  Result<std::vector<TextVersion>> versions_of(std::string_view path, uint64_t bytes_max) const;
  // Returns the last one that was built on `component` and for which test() holds, else itself.
  template <typename Test>
  size_t topmost(size_t component, const Test& test) const {
    for (size_t above = components_.size(); --above > component;) {
      if (is_seen_by(component, above) && test(above)) return above;
    }
    return component;
  }
  // Returns the names that any component has in a directory, sorted, each once.
  std::vector<std::string> names_in(std::string_view folder) const;

  // Puts a file in the place of all versions, with the attributes that the first component has
  // there, on the disk. Does nothing if none has a file there.
  void generate(std::string_view path, std::string text);
  void link(std::string_view path, std::string target);
  // Removes what any component has at `path`.
  void drop(std::string_view path);

 private:
  bool is_seen_by(size_t earlier, size_t later) const;
  GeneratedFile& put(std::string_view path);

  const std::span<const ComponentFiles> components_;
  const std::span<const std::vector<uint32_t>> sees_;
  KindMerge& merge_;
};

// Merge what is at the paths of their kind. ERRORS: kInvalid, naming the path and both sides.
Status merge_alternatives(KindContext& context);
Status merge_certificates(KindContext& context);

// Append the paths of what they read.
void add_alternatives(const KindContext& context, std::vector<std::string>& paths);
void add_certificates(const KindContext& context, std::vector<std::string>& paths);

}  // namespace forerun::image
