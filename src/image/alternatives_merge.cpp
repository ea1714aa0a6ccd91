#include "image/alternatives_merge.h"

#include <fmt/format.h>

#include <charconv>
#include <set>

#include "image/text_lines.h"

namespace forerun::image {
namespace {

// Reads the lines of an admin file, one by one.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : lines_(lines_of(text)) {}

  std::unexpected<Error> wrong(std::string_view what) const {
    return fail(ErrorCode::kInvalid, fmt::format("line {}: {}", at_, what));
  }
  // `what`: for errors.
  Result<std::string> next(std::string_view what) {
    if (at_ >= lines_.size()) {
      ++at_;
      return wrong(fmt::format("{} is missing", what));
    }
    return std::string(lines_[at_++]);
  }
  Result<std::string> next_path(std::string_view what) {
    FR_TRY(std::string line, next(what));
    if (!line.starts_with('/')) return wrong(fmt::format("{} must be an absolute path", what));
    return line;
  }

 private:
  const std::vector<std::string_view> lines_;
  size_t at_ = 0;
};

Status read_slaves(LineReader& reader, LinkGroup& group, std::vector<std::string>& order) {
  while (true) {
    FR_TRY(std::string name, reader.next("a slave's name"));
    if (name.empty()) return {};
    if (name.find('/') != name.npos) return reader.wrong("a name has no '/'");
    FR_TRY(std::string link, reader.next_path("a slave's link"));
    if (!group.slaves.emplace(name, std::move(link)).second)
      return reader.wrong(fmt::format("slave {} stands twice", name));
    order.push_back(std::move(name));
  }
}

// The value that a sibling's change leaves: three ways, and two changes must agree.
template <typename Value>
struct Merged {
  std::optional<Value> value;
  std::string changed_by;  // empty: as the base has it
};

template <typename Value>
class MapMerge {
 public:
  explicit MapMerge(const std::map<std::string, Value>& base) : base_(base) {
    for (const auto& [name, value] : base) merged_[name].value = value;
  }

  // Returns the names on which the sibling differs from one before it.
  Status add(const std::string& component, const std::map<std::string, Value>& theirs,
             std::string_view what) {
    std::set<std::string> names;
    for (const auto& entry : theirs) names.insert(entry.first);
    for (const auto& entry : base_) names.insert(entry.first);
    for (const std::string& name : names) {
      const auto old = find(base_, name), now = find(theirs, name);
      if (old == now) continue;
      Merged<Value>& merged = merged_[name];
      if (!merged.changed_by.empty() && merged.value != now)
        return fail(ErrorCode::kInvalid, fmt::format("{} and {} differ on {} {}", merged.changed_by,
                                                     component, what, name));
      merged = {now, component};
    }
    return {};
  }

  std::map<std::string, Value> finish() const {
    std::map<std::string, Value> out;
    for (const auto& [name, merged] : merged_) {
      if (merged.value) out.emplace(name, *merged.value);
    }
    return out;
  }

 private:
  static std::optional<Value> find(const std::map<std::string, Value>& values,
                                   const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  }

  const std::map<std::string, Value>& base_;
  std::map<std::string, Merged<Value>> merged_;
};

// As update-alternatives: the highest priority, of several the first.
std::string best_of(const LinkGroup& group) {
  auto best = group.choices.begin();
  for (auto choice = group.choices.begin(); choice != group.choices.end(); ++choice) {
    if (choice->second.priority > best->second.priority) best = choice;
  }
  return best->first;
}

}  // namespace

Result<LinkGroup> parse_link_group(std::string_view text) {
  LineReader reader(text);
  LinkGroup group;
  FR_TRY(const std::string status, reader.next("the status"));
  if (status != "auto" && status != "manual") return reader.wrong("neither 'auto' nor 'manual'");
  group.is_auto = status == "auto";
  FR_TRY(group.link, reader.next_path("the link"));
  std::vector<std::string> slaves;
  FR_CHECK(read_slaves(reader, group, slaves));
  while (true) {
    FR_TRY(const std::string file, reader.next("a choice, or an empty line,"));
    if (file.empty()) return group;
    if (!file.starts_with('/')) return reader.wrong("a choice must be an absolute path");
    FR_TRY(const std::string priority, reader.next("the priority"));
    LinkGroup::Choice choice;
    const char* end = priority.data() + priority.size();
    const auto [parsed_end, error] = std::from_chars(priority.data(), end, choice.priority);
    if (error != std::errc{} || parsed_end != end)
      return reader.wrong(fmt::format("'{}' is no priority", priority));
    for (const std::string& slave : slaves) {
      FR_TRY(std::string slave_file, reader.next("a slave's file"));
      if (!slave_file.empty()) choice.slaves.emplace(slave, std::move(slave_file));
    }
    if (!group.choices.emplace(file, std::move(choice)).second)
      return reader.wrong(fmt::format("choice {} stands twice", file));
  }
}

std::string serialize(const LinkGroup& group) {
  std::string out = fmt::format("{}\n{}\n", group.is_auto ? "auto" : "manual", group.link);
  for (const auto& [name, link] : group.slaves) out += fmt::format("{}\n{}\n", name, link);
  out += '\n';
  for (const auto& [file, choice] : group.choices) {
    out += fmt::format("{}\n{}\n", file, choice.priority);
    for (const auto& slave : group.slaves) {
      const auto slave_file = choice.slaves.find(slave.first);
      out += fmt::format("{}\n", slave_file == choice.slaves.end() ? "" : slave_file->second);
    }
  }
  return out + "\n";
}

Result<MergedLinkGroup> merge_link_groups(const LinkGroupVersion& base,
                                          std::span<const LinkGroupVersion> siblings) {
  static const LinkGroup kNone;
  const LinkGroup& old = base.group ? *base.group : kNone;
  MapMerge slaves(old.slaves);
  MapMerge choices(old.choices);
  std::string link = old.link, link_by;  // the latter: who changed it
  const LinkGroupVersion* by_hand = base.group && !old.is_auto ? &base : nullptr;
  for (const LinkGroupVersion& sibling : siblings) {
    const LinkGroup& theirs = sibling.group ? *sibling.group : kNone;
    FR_CHECK(slaves.add(sibling.component, theirs.slaves, "the link of slave"));
    FR_CHECK(choices.add(sibling.component, theirs.choices, "the choice"));
    if (!sibling.group) continue;
    if (theirs.link != old.link) {
      if (!link_by.empty() && link != theirs.link)
        return fail(ErrorCode::kInvalid, fmt::format("the link is {} in {} and {} in {}", link,
                                                     link_by, theirs.link, sibling.component));
      link = theirs.link, link_by = sibling.component;
    }
    const bool changed = !base.group || theirs.is_auto != old.is_auto ||
                         (!theirs.is_auto && sibling.chosen != base.chosen);
    if (!changed) continue;
    if (theirs.is_auto) {
      if (by_hand == &base) by_hand = nullptr;
      continue;
    }
    if (by_hand != nullptr && by_hand != &base && by_hand->chosen != sibling.chosen)
      return fail(ErrorCode::kInvalid,
                  fmt::format("{} chooses {} by hand and {} {}", by_hand->component,
                              by_hand->chosen, sibling.component, sibling.chosen));
    by_hand = &sibling;
  }
  LinkGroup merged{true, link, slaves.finish(), choices.finish()};
  if (merged.choices.empty()) return MergedLinkGroup{};
  // A slave that no choice has any more goes, as update-alternatives has it.
  std::erase_if(merged.slaves, [&](const auto& slave) {
    return std::none_of(merged.choices.begin(), merged.choices.end(), [&](const auto& choice) {
      return choice.second.slaves.contains(slave.first);
    });
  });
  // What was chosen by hand may have gone since.
  merged.is_auto = by_hand == nullptr || !merged.choices.contains(by_hand->chosen);
  const std::string chosen = merged.is_auto ? best_of(merged) : by_hand->chosen;
  return MergedLinkGroup{std::move(merged), chosen};
}

}  // namespace forerun::image
