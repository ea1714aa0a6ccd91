#include "image/systemd_unit.h"

#include <algorithm>
#include <array>

namespace forerun::image {
namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (text = trim(text); !text.empty(); text = trim(text)) {
    const size_t end = std::min(text.find_first_of(kBlank), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return words;
}

// The specifiers that names of units and paths use in practice.
std::string expand(std::string_view word, std::string_view unit) {
  const size_t dot = std::min(unit.rfind('.'), unit.size());
  const size_t at = unit.find('@');
  const bool is_instance = at < dot;
  std::string out;
  for (size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '%' || i + 1 == word.size()) {
      out += word[i];
      continue;
    }
    switch (word[++i]) {
      case 'i':
      case 'I':
        out += is_instance ? unit.substr(at + 1, dot - at - 1) : "";
        break;
      case 'p':
      case 'P':
        out += unit.substr(0, is_instance ? at : dot);
        break;
      case 'n':
        out += unit;
        break;
      case 'N':
        out += unit.substr(0, dot);
        break;
      case '%':
        out += '%';
        break;
      default:
        out += '%', out += word[i];
    }
  }
  return out;
}

void add_units(std::string_view value, std::string_view unit, std::vector<std::string>& out) {
  for (const std::string_view word : words_of(value)) {
    std::string name = expand(word, unit);
    if (is_unit_name(name)) out.push_back(std::move(name));
  }
}

void add_command(std::string_view key, std::string_view value, SystemdUnit& unit,
                 std::string_view name) {
  auto words = words_of(value);
  if (words.empty()) {
    std::erase_if(unit.commands, [&](const UnitCommand& known) { return known.directive == key; });
    return;
  }
  const size_t flags = std::min(words[0].find_first_not_of("@-:+!|"), words[0].size());
  const bool names_argv0 = words[0].substr(0, flags).find('@') != std::string_view::npos;
  UnitCommand command{std::string(key), expand(words[0].substr(flags), name), {}};
  if (command.program.empty()) return;
  for (size_t i = names_argv0 ? 2 : 1; i < words.size(); ++i) {
    if (words[i].front() == '/') command.arguments.push_back(expand(words[i], name));
  }
  unit.commands.push_back(std::move(command));
}

void add_condition(std::string_view key, std::string_view value, SystemdUnit& unit) {
  UnitCondition condition;
  condition.kind = key;
  while (!value.empty() && (value.front() == '!' || value.front() == '|')) {
    condition.is_negated ^= value.front() == '!';
    condition.is_trigger |= value.front() == '|';
    value = trim(value.substr(1));
  }
  if (value.empty()) return;
  condition.argument = std::string(value);
  unit.conditions.push_back(std::move(condition));
}

void add_directive(std::string_view section, std::string_view key, std::string_view value,
                   std::string_view name, SystemdUnit& unit) {
  if (section == "Unit") {
    if (is_one_of(key, {"Wants", "Requires", "BindsTo", "Requisite", "Upholds"}))
      return add_units(value, name, unit.pulls_in);
    if (is_one_of(key, {"After", "Before", "Conflicts", "PartOf", "OnFailure", "OnSuccess",
                        "PropagatesStopTo", "JoinsNamespaceOf"}))
      return add_units(value, name, unit.mentions);
    if (key.starts_with("Condition")) return add_condition(key.substr(9), value, unit);
    if (key.starts_with("Assert")) return add_condition(key.substr(6), value, unit);
    return;
  }
  if (is_one_of(key, {"ExecCondition", "ExecStart", "ExecStartPre", "ExecStartPost"}))
    return add_command(key, value, unit, name);
  if (key == "Sockets") return add_units(value, name, unit.sockets);
  if (key == "EnvironmentFile") {
    if (value.starts_with('-')) value.remove_prefix(1);
    if (value.starts_with('/')) unit.files.push_back(expand(value, name));
  }
}

}  // namespace

bool is_unit_name(std::string_view name) {
  constexpr std::array<std::string_view, 11> kSuffixes{".service",   ".socket", ".target", ".mount",
                                                       ".automount", ".path",   ".timer",  ".slice",
                                                       ".swap",      ".scope",  ".device"};
  return name.size() <= 255 && name.find('/') == std::string_view::npos &&
         std::any_of(kSuffixes.begin(), kSuffixes.end(), [&](std::string_view suffix) {
           return name.size() > suffix.size() && name.ends_with(suffix);
         });
}

std::string template_of(std::string_view name) {
  const size_t at = name.find('@');
  const size_t dot = name.rfind('.');
  if (at == std::string_view::npos || dot == std::string_view::npos || dot <= at + 1) return {};
  return std::string(name.substr(0, at + 1)) + std::string(name.substr(dot));
}

void read_systemd_unit(std::string_view text, std::string_view name, SystemdUnit& unit) {
  std::string section, joined;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    // Comments may stand between the lines of a continued value.
    if (line.starts_with('#') || line.starts_with(';')) continue;
    if (line.ends_with('\\')) {
      joined += line.substr(0, line.size() - 1);
      joined += ' ';
      continue;
    }
    joined += line;
    const std::string whole = std::exchange(joined, {});
    const std::string_view directive = trim(whole);
    if (directive.starts_with('[') && directive.ends_with(']')) {
      section = directive.substr(1, directive.size() - 2);
      continue;
    }
    const size_t equals = directive.find('=');
    if (equals == std::string_view::npos) continue;
    add_directive(section, trim(directive.substr(0, equals)), trim(directive.substr(equals + 1)),
                  name, unit);
  }
}

}  // namespace forerun::image
