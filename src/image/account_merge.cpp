#include "image/account_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

namespace forerun::image {
namespace {

constexpr size_t kEntriesMax = 20'000;
constexpr uint32_t kSystemFirst = 100, kSystemLast = 999, kUserFirst = 1000, kUserLast = 59'999;

using Fields = std::vector<std::string>;

// One of the four files: its entries by name, in the order of the file.
struct Table {
  std::vector<std::string> order;
  std::map<std::string, Fields> entries;

  void add(const std::string& name, Fields fields) {
    if (entries.emplace(name, std::move(fields)).second) order.push_back(name);
  }
  std::string text() const {
    std::string out;
    for (const std::string& name : order)
      out += fmt::format("{}\n", fmt::join(entries.at(name), ":"));
    return out;
  }
};

Fields split(std::string_view text, char separator) {
  Fields fields;
  while (true) {
    const size_t end = text.find(separator);
    fields.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

std::optional<uint32_t> id_of(const std::string& text) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return id;
}

// What one of the files is made of.
struct Format {
  std::string_view path;
  size_t field_count = 0;
  std::vector<size_t> id_fields;  // numbers
  std::optional<size_t> members;  // a list of names
};
const Format kPasswd{"/etc/passwd", 7, {2, 3}, std::nullopt};
const Format kGroup{"/etc/group", 4, {2}, 3};
const Format kShadow{"/etc/shadow", 9, {}, std::nullopt};
const Format kGshadow{"/etc/gshadow", 4, {}, 3};

Result<Table> parse(const std::string& text, const Format& format, const std::string& component) {
  if (text.size() > kAccountBytesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("{}: {} has {} bytes", component, format.path, text.size()));
  Table table;
  size_t number = 0;
  for (const std::string& line : split(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    Fields fields = split(line, ':');
    const auto wrong = [&](std::string_view what) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("{}: {}, line {}: {}", component, format.path, number, what));
    };
    if (fields.size() != format.field_count)
      return wrong(fmt::format("{} fields instead of {}", fields.size(), format.field_count));
    if (fields[0].empty()) return wrong("no name");
    for (const size_t field : format.id_fields) {
      if (!id_of(fields[field])) return wrong(fmt::format("'{}' is no id", fields[field]));
    }
    if (table.order.size() >= kEntriesMax)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("{}: over {} entries in {}", component, kEntriesMax, format.path));
    const std::string name = fields[0];
    table.add(name, std::move(fields));
  }
  return table;
}

struct Accounts {
  Table passwd, group, shadow, gshadow;
};

Result<Accounts> parse_all(const AccountFiles& files) {
  Accounts accounts;
  FR_TRY(accounts.passwd, parse(files.passwd, kPasswd, files.component));
  FR_TRY(accounts.group, parse(files.group, kGroup, files.component));
  FR_TRY(accounts.shadow, parse(files.shadow, kShadow, files.component));
  FR_TRY(accounts.gshadow, parse(files.gshadow, kGshadow, files.component));
  return accounts;
}

// Adds to `text`, a list of names, those that `more` has beyond `base`.
void unite_members(std::string& text, const std::string& base, const std::string& more) {
  const Fields known = split(base, ',');
  Fields members = split(text, ',');
  for (const std::string& name : split(more, ',')) {
    if (name.empty() || std::find(known.begin(), known.end(), name) != known.end() ||
        std::find(members.begin(), members.end(), name) != members.end())
      continue;
    text += (text.empty() ? "" : ",") + name;
    members.push_back(name);
  }
}

class Merger {
 public:
  Merger(const AccountFiles& base_files, Accounts base)
      : base_name_(base_files.component), base_(base), merged_(std::move(base)) {
    for (const auto& [name, fields] : base_.passwd.entries) users_.insert(*id_of(fields[2]));
    for (const auto& [name, fields] : base_.group.entries) groups_.insert(*id_of(fields[2]));
  }

  Status add(const std::string& component, Accounts sibling) {
    AccountMerge::Ids ids;
    FR_CHECK(renumber(component, sibling.group, base_.group, merged_.group, groups_, ids.groups));
    FR_CHECK(renumber(component, sibling.passwd, base_.passwd, merged_.passwd, users_, ids.users));
    // A user's primary group follows its group.
    for (auto& [name, fields] : sibling.passwd.entries) {
      if (const auto moved = ids.groups.find(*id_of(fields[3])); moved != ids.groups.end())
        fields[3] = std::to_string(moved->second);
    }
    FR_CHECK(unite(component, kGroup, sibling.group, base_.group, merged_.group));
    FR_CHECK(unite(component, kPasswd, sibling.passwd, base_.passwd, merged_.passwd));
    FR_CHECK(unite(component, kShadow, sibling.shadow, base_.shadow, merged_.shadow));
    FR_CHECK(unite(component, kGshadow, sibling.gshadow, base_.gshadow, merged_.gshadow));
    ids_.push_back(std::move(ids));
    return {};
  }

  AccountMerge finish() {
    return {merged_.passwd.text(), merged_.group.text(), merged_.shadow.text(),
            merged_.gshadow.text(), std::move(ids_)};
  }

 private:
  // Gives the sibling's new entries ids that are free on the disk, or those the disk already has
  // under the same names; notes what changed.
  static Status renumber(const std::string& component, Table& sibling, const Table& base,
                         const Table& merged, std::set<uint32_t>& taken,
                         std::map<uint32_t, uint32_t>& moved) {
    for (const std::string& name : sibling.order) {
      if (base.entries.contains(name)) continue;
      Fields& fields = sibling.entries.at(name);
      const uint32_t own = *id_of(fields[2]);
      uint32_t id = own;
      if (const auto known = merged.entries.find(name); known != merged.entries.end()) {
        id = *id_of(known->second[2]);
      } else if (taken.contains(own)) {
        const uint32_t first = own <= kSystemLast ? kSystemFirst : kUserFirst;
        const uint32_t last = own <= kSystemLast ? kSystemLast : kUserLast;
        for (id = first; id <= last && taken.contains(id);) ++id;
        if (id > last)
          return fail(ErrorCode::kTooLarge, fmt::format("{}: no id from {} to {} is free for '{}'",
                                                        component, first, last, name));
      }
      taken.insert(id);
      if (id == own) continue;
      moved.emplace(own, id);
      fields[2] = std::to_string(id);
    }
    return {};
  }

  // Three ways, entry by entry: what the sibling changed of the base, and what it added.
  Status unite(const std::string& component, const Format& format, const Table& sibling,
               const Table& base, Table& merged) {
    for (const std::string& name : sibling.order) {
      const Fields& theirs = sibling.entries.at(name);
      const auto known = merged.entries.find(name);
      if (known == merged.entries.end()) {
        merged.add(name, theirs);
        continue;
      }
      Fields& ours = known->second;
      const auto before = base.entries.find(name);
      static const Fields kNone;
      const Fields& old = before == base.entries.end() ? kNone : before->second;
      for (size_t i = 1; i < ours.size(); ++i) {
        if (format.members == i) {
          unite_members(ours[i], old.empty() ? "" : old[i], theirs[i]);
        } else if (ours[i] != theirs[i] && (old.empty() || theirs[i] != old[i])) {
          // Two that add one user agree on it as far as it matters: the first's word counts.
          if (old.empty()) continue;
          if (ours[i] != old[i])
            return fail(ErrorCode::kInvalid,
                        fmt::format("{} changes '{}' of {} in {} to '{}', another component to "
                                    "'{}'",
                                    component, name, base_name_, format.path, theirs[i], ours[i]));
          ours[i] = theirs[i];
        }
      }
    }
    return {};
  }

  const std::string base_name_;
  const Accounts base_;
  Accounts merged_;
  std::set<uint32_t> users_, groups_;  // ids that are taken
  std::vector<AccountMerge::Ids> ids_;
};

}  // namespace

Result<AccountMerge> merge_accounts(const AccountFiles& base,
                                    std::span<const AccountFiles> siblings) {
  FR_TRY(Accounts accounts, parse_all(base));
  Merger merger(base, std::move(accounts));
  for (const AccountFiles& files : siblings) {
    FR_TRY(Accounts sibling, parse_all(files));
    FR_CHECK(merger.add(files.component, std::move(sibling)));
  }
  return merger.finish();
}

}  // namespace forerun::image
