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

// A file's records, by key.
struct Records {
  std::vector<std::string> order;
  std::map<std::string, std::string> by_key;

  void add(const std::string& key, std::string record) {
    if (by_key.emplace(key, std::move(record)).second) order.push_back(key);
  }
  const std::string* find(const std::string& key) const {
    const auto found = by_key.find(key);
    return found == by_key.end() ? nullptr : &found->second;
  }
};

class RecordReader {
 public:
  explicit RecordReader(const RecordRules& rules) : rules_(rules) {}

  Result<Records> read(const TextVersion& version) const {
    FR_CHECK(check_size(version));
    switch (rules_.kind) {
      case RecordKind::kStanza:
        return read_stanzas(version);
      case RecordKind::kTriple:
        return read_triples(version);
      case RecordKind::kPem:
        return read_pem(version);
      default:
        return read_keyed_lines(version);
    }
  }

  bool agree(std::string_view a, std::string_view b) const {
    if (a == b || rules_.first_wins) return true;
    const bool is_stanza = rules_.kind == RecordKind::kStanza;
    return is_stanza && without_ignored(a) == without_ignored(b);
  }

  // Returns `ours` with the items of lists that only `theirs` has.
  std::string united(std::string ours, std::string_view theirs) const {
    for (const std::string_view field : rules_.united) {
      const std::string_view more = value_of(theirs, field);
      const std::string_view known = value_of(ours, field);
      if (known.empty()) continue;
      std::string list(known);
      for (const std::string_view item : items_of(more)) {
        const auto items = items_of(list);
        if (std::ranges::find(items, item) == items.end()) list += fmt::format(", {}", item);
      }
      ours.replace(static_cast<size_t>(known.data() - ours.data()), known.size(), list);
    }
    return ours;
  }

 private:
  Result<Records> read_stanzas(const TextVersion& version) const {
    Records stanzas;
    std::string stanza, key;
    size_t number = 0, first = 1;
    const auto end_stanza = [&]() -> Status {
      if (stanza.empty()) return {};
      if (key.empty())
        return fail(ErrorCode::kInvalid, fmt::format("{}: the stanza at line {} has no '{}'",
                                                     version.component, first, rules_.key.front()));
      stanzas.add(key, stanza + "\n");
      stanza.clear(), key.clear();
      return {};
    };
    for (const std::string_view line : lines_of(version.text)) {
      ++number;
      if (line.empty()) {
        FR_CHECK(end_stanza());
        first = number + 1;
        continue;
      }
      for (const std::string_view field : rules_.key) {
        if (has_key(line, field)) key += fmt::format("{}\n", line);
      }
      stanza += line;
      stanza += '\n';
    }
    FR_CHECK(end_stanza());
    return stanzas;
  }

  static Result<Records> read_triples(const TextVersion& version) {
    Records triples;
    const auto lines = lines_of(version.text);
    if (lines.size() % 3 != 0)
      return fail(ErrorCode::kInvalid, fmt::format("{}: {} lines are not three for each record",
                                                   version.component, lines.size()));
    for (size_t i = 0; i < lines.size(); i += 3)
      triples.add(std::string(lines[i]),
                  fmt::format("{}\n{}\n{}\n", lines[i], lines[i + 1], lines[i + 2]));
    return triples;
  }

  static Result<Records> read_pem(const TextVersion& version) {
    Records blocks;
    std::string block;
    for (const std::string_view line : lines_of(version.text)) {
      const bool begins = line.starts_with("-----BEGIN ");
      if (begins && !block.empty()) break;
      if (!begins && block.empty()) continue;
      block += fmt::format("{}\n", line);
      if (!line.starts_with("-----END ")) continue;
      blocks.add(block, block);
      block.clear();
    }
    if (!block.empty())
      return fail(ErrorCode::kInvalid,
                  fmt::format("{}: a PEM block does not end", version.component));
    return blocks;
  }

  Records read_keyed_lines(const TextVersion& version) const {
    constexpr std::string_view kBlank = " \t";
    Records records;
    for (const std::string_view line : lines_of(version.text)) {
      const size_t begin = line.find_first_not_of(kBlank);
      if (begin == line.npos) continue;
      const size_t end = line.find_last_not_of(kBlank) + 1;
      std::string_view key = line.substr(begin, end - begin);
      if (!key.starts_with('#')) {  // a comment is known by all of it
        key = rules_.kind == RecordKind::kFirstWord ? key.substr(0, key.find_first_of(kBlank))
                                                    : key.substr(key.find_last_of(kBlank) + 1);
      }
      records.add(std::string(key), fmt::format("{}\n", line));
    }
    return records;
  }

  // An ignored field goes with the lines that continue it.
  std::string without_ignored(std::string_view stanza) const {
    std::string out;
    bool is_ignored = false;
    for (const std::string_view line : lines_of(stanza)) {
      if (!line.starts_with(' ') && !line.starts_with('\t')) {
        const auto matches = [&](std::string_view key) { return has_key(line, key); };
        is_ignored = std::ranges::any_of(rules_.ignored, matches) ||
                     std::ranges::any_of(rules_.united, matches);
      }
      if (!is_ignored) out += fmt::format("{}\n", line);
    }
    return out;
  }

  // Returns a view into `stanza`: what stands behind "field: " on its line.
  static std::string_view value_of(std::string_view stanza, std::string_view field) {
    for (std::string_view line : lines_of(stanza)) {
      if (!has_key(line, field)) continue;
      line.remove_prefix(field.size() + 1);
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      return line;
    }
    return {};
  }

  static std::vector<std::string_view> items_of(std::string_view list) {
    std::vector<std::string_view> items;
    while (!list.empty()) {
      const size_t begin = std::min(list.find_first_not_of(", "), list.size());
      const size_t end = std::min(list.find_first_of(", ", begin), list.size());
      if (begin < end) items.push_back(list.substr(begin, end - begin));
      list.remove_prefix(end);
    }
    return items;
  }

  const RecordRules& rules_;
};

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const size_t begin = std::min(line.find_first_not_of(" \t\n"), line.size());
    const size_t end = std::min(line.find_first_of(" \t\n", begin), line.size());
    if (begin < end) words.emplace_back(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
  return words;
}

// Returns `ours` with the words that `theirs` has beyond `old`, each behind the word it follows.
std::string with_words(std::string_view ours, std::string_view old, std::string_view theirs) {
  std::vector<std::string> words = words_of(ours);
  const std::vector<std::string> known = words_of(old), more = words_of(theirs);
  for (size_t i = 1; i < more.size(); ++i) {
    if (std::ranges::find(known, more[i]) != known.end() ||
        std::ranges::find(words, more[i]) != words.end())
      continue;
    auto place = std::ranges::find(words, more[i - 1]);
    words.insert(place == words.end() ? place : place + 1, more[i]);
  }
  return fmt::format("{}\n", fmt::join(words, " "));
}

}  // namespace

Result<std::string> merge_records(const TextVersion& base, std::span<const TextVersion> siblings,
                                  const RecordRules& rules) {
  FR_ASSERT(rules.kind != RecordKind::kStanza || !rules.key.empty());
  const RecordReader reader(rules);
  FR_TRY(const Records old, reader.read(base));
  Records merged = old;
  std::map<std::string, std::string> changed_by;  // key: the component whose word it is
  for (const TextVersion& sibling : siblings) {
    FR_TRY(const Records theirs, reader.read(sibling));
    std::vector<std::string> keys = theirs.order;
    for (const std::string& key : old.order) {
      if (!theirs.by_key.contains(key)) keys.push_back(key);  // removed
    }
    for (const std::string& key : keys) {
      const std::string* before = old.find(key);
      const std::string* now = theirs.find(key);
      if (before && now && *before == *now) continue;
      const std::string* ours = merged.find(key);
      const auto [other, is_first] = changed_by.try_emplace(key, sibling.component);
      if (!is_first && ours && now && rules.unites_words) {
        merged.by_key[key] = with_words(*ours, before ? *before : "", *now);
      } else if (!is_first && ours && now) {
        if (!reader.agree(*ours, *now))
          return fail(ErrorCode::kInvalid,
                      fmt::format("{} and {} differ on '{}'", other->second, sibling.component,
                                  key.substr(0, key.find('\n'))));
        merged.by_key[key] = reader.united(*ours, *now);
      } else if (!is_first && (ours || now) && !rules.first_wins) {
        return fail(ErrorCode::kInvalid,
                    fmt::format("of {} and {} one changes and one removes '{}'", other->second,
                                sibling.component, key.substr(0, key.find('\n'))));
      } else if (is_first && !now) {
        merged.by_key.erase(key);
      } else if (is_first && merged.by_key.insert_or_assign(key, *now).second) {
        merged.order.push_back(key);
      }
    }
  }
  std::string out;
  for (const std::string& key : merged.order) {
    if (const std::string* record = merged.find(key)) out += *record;
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
    // A comment may stand in one text several times.
    for (const std::string_view line : theirs) {
      if (!old_set.contains(line) && !added_set.contains(line)) added.push_back(line);
    }
    added_set.insert(theirs.begin(), theirs.end());
  }
  std::string out;
  for (const std::string_view line : old) {
    if (!removed.contains(line)) out += fmt::format("{}\n", line);
  }
  for (const std::string_view line : added) out += fmt::format("{}\n", line);
  return out;
}

}  // namespace forerun::image
