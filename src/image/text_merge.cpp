#include "image/text_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "image/text_lines.h"

namespace forerun::image {
namespace {

Status check_size(const TextVersion& version) {
  if (version.text.size() <= kMergedTextBytesMax) return {};
  return fail(ErrorCode::kTooLarge, fmt::format("{}: {} bytes are too many to merge",
                                                version.component, version.text.size()));
}

bool has_key(std::string_view line, std::string_view key) {
  return line.size() > key.size() && line.starts_with(key) && line[key.size()] == ':';
}

// A file of stanzas, by key.
struct Stanzas {
  std::vector<std::string> order;
  std::map<std::string, std::string> by_key;
};

class StanzaReader {
 public:
  StanzaReader(std::span<const std::string_view> key, std::span<const std::string_view> ignored)
      : key_(key), ignored_(ignored) {}

  Result<Stanzas> read(const TextVersion& version) const {
    FR_CHECK(check_size(version));
    Stanzas stanzas;
    std::string stanza, name;
    size_t number = 0, first = 1;
    const auto end_stanza = [&]() -> Status {
      if (stanza.empty()) return {};
      if (name.empty())
        return fail(ErrorCode::kInvalid, fmt::format("{}: the stanza at line {} has no '{}'",
                                                     version.component, first, key_.front()));
      if (stanzas.by_key.emplace(name, stanza).second) stanzas.order.push_back(name);
      stanza.clear(), name.clear();
      return {};
    };
    for (const std::string_view line : lines_of(version.text)) {
      ++number;
      if (line.empty()) {
        FR_CHECK(end_stanza());
        first = number + 1;
        continue;
      }
      for (const std::string_view key : key_) {
        if (has_key(line, key)) name += fmt::format("{}\n", line);
      }
      stanza += line;
      stanza += '\n';
    }
    FR_CHECK(end_stanza());
    return stanzas;
  }

  bool agree(std::string_view a, std::string_view b) const {
    return a == b || (!ignored_.empty() && without_ignored(a) == without_ignored(b));
  }

 private:
  // An ignored field goes with the lines that continue it.
  std::string without_ignored(std::string_view stanza) const {
    std::string out;
    bool is_ignored = false;
    for (const std::string_view line : lines_of(stanza)) {
      if (!line.starts_with(' ') && !line.starts_with('\t')) {
        is_ignored = std::any_of(ignored_.begin(), ignored_.end(),
                                 [&](std::string_view key) { return has_key(line, key); });
      }
      if (!is_ignored) out += fmt::format("{}\n", line);
    }
    return out;
  }

  std::span<const std::string_view> key_, ignored_;
};

const std::string* find(const Stanzas& stanzas, const std::string& name) {
  const auto found = stanzas.by_key.find(name);
  return found == stanzas.by_key.end() ? nullptr : &found->second;
}

}  // namespace

Result<std::string> merge_stanzas(const TextVersion& base, std::span<const TextVersion> siblings,
                                  std::span<const std::string_view> key,
                                  std::span<const std::string_view> ignored) {
  FR_ASSERT(!key.empty());
  const StanzaReader reader(key, ignored);
  FR_TRY(const Stanzas old, reader.read(base));
  Stanzas merged = old;
  std::map<std::string, std::string> changed_by;  // stanza: the component whose word it is
  for (const TextVersion& sibling : siblings) {
    FR_TRY(const Stanzas theirs, reader.read(sibling));
    std::vector<std::string> names = theirs.order;
    for (const std::string& name : old.order) {
      if (!theirs.by_key.contains(name)) names.push_back(name);  // removed
    }
    for (const std::string& name : names) {
      const std::string* before = find(old, name);
      const std::string* now = find(theirs, name);
      if (before && now && *before == *now) continue;
      const std::string* ours = find(merged, name);
      const auto other = changed_by.find(name);
      const bool is_same = (!ours && !now) || (ours && now && reader.agree(*ours, *now));
      if (other != changed_by.end() && !is_same)
        return fail(ErrorCode::kInvalid,
                    fmt::format("{} and {} differ on '{}'", other->second, sibling.component,
                                name.substr(0, name.find('\n'))));
      if (other != changed_by.end()) continue;
      changed_by.emplace(name, sibling.component);
      if (!now) {
        merged.by_key.erase(name);
      } else if (merged.by_key.insert_or_assign(name, *now).second) {
        merged.order.push_back(name);
      }
    }
  }
  std::string out;
  for (const std::string& name : merged.order) {
    if (const std::string* stanza = find(merged, name)) out += fmt::format("{}\n", *stanza);
  }
  return out;
}

Result<std::string> merge_lines(const TextVersion& base, std::span<const TextVersion> siblings) {
  FR_CHECK(check_size(base));
  const auto old = lines_of(base.text);
  const std::set<std::string_view> old_set(old.begin(), old.end());
  std::set<std::string_view> removed;
  std::vector<std::string_view> added;
  std::set<std::string_view> added_set;
  for (const TextVersion& sibling : siblings) {
    FR_CHECK(check_size(sibling));
    const auto theirs = lines_of(sibling.text);
    const std::set<std::string_view> their_set(theirs.begin(), theirs.end());
    for (const std::string_view line : old) {
      if (!their_set.contains(line)) removed.insert(line);
    }
    for (const std::string_view line : theirs) {
      if (!old_set.contains(line) && added_set.insert(line).second) added.push_back(line);
    }
  }
  std::string out;
  for (const std::string_view line : old) {
    if (!removed.contains(line)) out += fmt::format("{}\n", line);
  }
  for (const std::string_view line : added) out += fmt::format("{}\n", line);
  return out;
}

}  // namespace forerun::image
