// Users and groups of components that were built apart: /etc/passwd, group, shadow and gshadow
// merged by name, with ids made unique. Two packages installed apart both take the first free
// system id; composed, each user has one, and the files it owns follow (IdMap).
// SOURCE: passwd(5), group(5), shadow(5), gshadow(5); Debian Policy 9.2.2 (id ranges).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"

namespace forerun::image {

// The four files of one component, as text; empty where it has none.
struct AccountFiles {
  std::string component;  // for errors
  std::string passwd, group, shadow, gshadow;
};

struct AccountMerge {
  std::string passwd, group, shadow, gshadow;
  // Of each sibling, in their order: its ids that became others. What is not there stays.
  struct Ids {
    std::map<uint32_t, uint32_t> users, groups;
  };
  std::vector<Ids> ids;
};

inline constexpr size_t kAccountBytesMax = 4 * 1024 * 1024;  // of one file

// Returns the accounts of a disk of `base` and `siblings`, which were each built on it. A line that
// one of them changed counts; members of a group are united; a user or group that two of them add
// is one, and keeps the first's id. New ids that collide are given anew: system ids from the range
// they came from (100-999, others from 1000), the first free one.
// ERRORS: kInvalid, naming component, file and line: not the format's fields, no number where an id
// stands, the base's entry changed in two ways; kTooLarge: over the limits, or no id is free.
Result<AccountMerge> merge_accounts(const AccountFiles& base,
                                    std::span<const AccountFiles> siblings);

}  // namespace forerun::image
