// Files that several components legitimately change, merged three ways by what they are: stanzas
// (dpkg's status, apt's extended_states, debconf's databases) and sets of lines (services,
// statoverride, shells, ca-certificates.conf).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace forerun::image {

// One component's version of a file.
struct TextVersion {
  std::string component;  // for errors
  std::string text;
};

inline constexpr size_t kMergedTextBytesMax = 64 * 1024 * 1024;

// Returns `base` with what each sibling, built on it, changed: stanzas added, changed and removed.
// A stanza is a run of non-empty lines and is known by its `key` lines, joined: {"Package",
// "Architecture"}, {"Name"}. Two that change or add one stanza must agree, but for `ignored` lines
// ("Conffiles" order never, "Owners" yes), of which the first's count.
// ERRORS: kInvalid, naming both components and the stanza, or one without a key; kTooLarge.
Result<std::string> merge_stanzas(const TextVersion& base, std::span<const TextVersion> siblings,
                                  std::span<const std::string_view> key,
                                  std::span<const std::string_view> ignored = {});

// Returns `base` without the lines that a sibling removed and with those that siblings added, in
// their order, each once. ERRORS: kTooLarge.
Result<std::string> merge_lines(const TextVersion& base, std::span<const TextVersion> siblings);

}  // namespace forerun::image
