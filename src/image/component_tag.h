// What a repository says of components: tags by name, indexes by digest.
//   components/<sha256>            a component's index (docs/format_component.md)
//   component-tags/<name>.json     the tag that names one
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/id.h"
#include "core/result.h"
#include "image/component_index.h"
#include "repository/object_kind.h"
#include "repository/signature.h"
#include "repository/source.h"

namespace forerun::image {

std::string component_path(const Digest& index);
// REQUIRES: is_valid_name(name).
std::string component_tag_path(std::string_view name);

struct ComponentTag {
  std::string name;  // usually the component's own; a second version may have a tag of its own
  Digest index;
  std::string component_version;  // as ComponentInfo::version and ::function
  std::string function;
  uint64_t names = 0;         // in its file tree
  uint64_t data_bytes = 0;    // of its chunks, unpacked
  uint64_t stored_bytes = 0;  // of its distinct chunks in the repository
  std::string created;        // RFC 3339, UTC
  // Of tag_statement(component_tag_path(name), index, created). Parsed, not checked.
  std::optional<repository::Signature> signature;

  bool operator==(const ComponentTag&) const = default;
};

std::string serialize(const ComponentTag& tag);
// ERRORS: kCorrupt, kUnsupported (a newer version).
Result<ComponentTag> parse_component_tag(std::string_view json);

// Returns the tag of component `name`. ERRORS: as Source::fetch and parse_component_tag; kInvalid
// for a name that cannot be one; kCorrupt if the tag is another component's.
Result<ComponentTag> fetch_component_tag(repository::Source& source, std::string_view name);
// Returns the index that `digest` names. ERRORS: as Source::fetch and parse_component_index;
// kCorrupt if the bytes have another digest.
Result<ComponentIndex> fetch_component_index(repository::Source& source, const Digest& digest);

// Returns component tags (roots) and component indexes, for verification and garbage collection.
repository::ObjectKinds component_kinds();

}  // namespace forerun::image
