// The alternatives system's admin files, /var/lib/dpkg/alternatives/<name>, of components that were
// built apart: their choices united, the best one chosen again, and the links that go with it.
// SOURCE: update-alternatives(1); the format is that of dpkg 1.21's utils/update-alternatives.c.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace forerun::image {

// One link group: a generic name, what it may lead to, and the slaves that follow it.
struct LinkGroup {
  struct Choice {
    int64_t priority = 0;
    std::map<std::string, std::string> slaves;  // by name: the file; never empty
    bool operator==(const Choice&) const = default;
  };
  bool is_auto = true;
  std::string link;                           // "/usr/bin/editor"
  std::map<std::string, std::string> slaves;  // by name: the link
  std::map<std::string, Choice> choices;      // by file
  bool operator==(const LinkGroup&) const = default;
};

// Returns the group in an admin file. ERRORS: kInvalid, with the line.
Result<LinkGroup> parse_link_group(std::string_view text);
// Returns the admin file as update-alternatives writes it.
std::string serialize(const LinkGroup& group);

// One component's version of a group.
struct LinkGroupVersion {
  std::string component;           // for errors
  std::optional<LinkGroup> group;  // nothing: it has none, or removed it
  std::string chosen;              // what /etc/alternatives/<name> leads to there
};

struct MergedLinkGroup {
  std::optional<LinkGroup> group;  // nothing: no choice is left
  std::string chosen;              // one of its choices
};

// Returns `base` with what each sibling, built on it, added, changed and removed. In automatic mode
// the highest priority is chosen (of several the first by name); manual mode of one side is kept.
// ERRORS: kInvalid, naming both sides: different links or priorities for one name, or two choices
// made by hand.
Result<MergedLinkGroup> merge_link_groups(const LinkGroupVersion& base,
                                          std::span<const LinkGroupVersion> siblings);

}  // namespace forerun::image
