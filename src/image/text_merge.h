// Files that several components legitimately change, merged three ways by what they are: records
// that a key tells apart (stanzas of dpkg's and debconf's databases, lines, diversions) and sets of
// lines (shells, services, ca-certificates.conf).
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

enum class RecordKind {
  kStanza,     // a run of non-empty lines, known by its `key` lines, joined
  kPem,        // from -----BEGIN to -----END, known by all of it; other lines count for nothing
  kTriple,     // three lines, known by the first: dpkg's diversions
  kFirstWord,  // a line, known by its first word
  kLastWord,   // a line, known by its last word
};

struct RecordRules {
  RecordKind kind = RecordKind::kStanza;
  // Of stanzas: {"Package", "Architecture"}, {"Name"}.
  std::span<const std::string_view> key;
  std::span<const std::string_view> ignored;  // fields in which two may differ: the first's count
  std::span<const std::string_view> united;   // lists, "a, b", of which all items count
  // Lines of words in which the words that each adds are united, behind those they follow.
  bool unites_words = false;
  bool first_wins = false;  // two that differ are no conflict
};

// Returns `base` with what each sibling, built on it, changed: records added, changed and removed.
// Two that change or add one record must agree.
// ERRORS: kInvalid, naming both components and the record, or one that is incomplete; kTooLarge.
Result<std::string> merge_records(const TextVersion& base, std::span<const TextVersion> siblings,
                                  const RecordRules& rules);

// Returns `base` without the lines that a sibling removed and with those that siblings added, in
// their order, each once. ERRORS: kTooLarge.
Result<std::string> merge_lines(const TextVersion& base, std::span<const TextVersion> siblings);

}  // namespace forerun::image
