#include "image/script_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "image/text_lines.h"

namespace forerun::image {
namespace {

constexpr size_t kSourceBytesMax = kMiB;
constexpr int kDepthMax = 30;
// A module may be loaded under a condition that is not looked at.
constexpr float kModuleShare = 0.9f;
constexpr float kLeast = 0.3f;
// A wrapper names what it may start, not what it does start.
constexpr float kNamedShare = 0.7f;
constexpr size_t kPackageFoldersMax = 200;

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
}

std::string_view trim_left(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
}

std::string_view module_at(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) ||
                               text[end] == '_' || text[end] == ':'))
    ++end;
  return text.substr(0, end);
}

bool is_module(std::string_view name) {
  const bool is_version =
      name.size() > 1 && name[0] == 'v' && std::isdigit(static_cast<unsigned char>(name[1]));
  return !is_version && !name.empty() && !std::isdigit(static_cast<unsigned char>(name[0])) &&
         name[0] != ':' && !name.ends_with(':') && name.size() < 200;
}

}  // namespace

std::vector<std::string> perl_modules(std::string_view source) {
  std::vector<std::string> modules;
  bool is_manual = false;
  for (const std::string_view line : lines_of(source)) {
    if (line.starts_with("__END__") || line.starts_with("__DATA__")) break;
    if (line.starts_with("=")) is_manual = !line.starts_with("=cut");
    if (is_manual || line.starts_with("=")) continue;
    std::string_view code = trim_left(line);
    const bool is_use = code.starts_with("use ") || code.starts_with("no ");
    if (!is_use && !code.starts_with("require ")) continue;
    code = trim_left(code.substr(code.find(' ')));
    const std::string_view name = module_at(code);
    if (!is_module(name)) continue;
    modules.emplace_back(name);
    if (name != "base" && name != "parent") continue;
    for (std::string_view rest = code.substr(name.size()); !rest.empty();) {
      const std::string_view of = module_at(rest);
      if (is_module(of) && of != "qw" && of != "norequire") modules.emplace_back(of);
      rest.remove_prefix(std::max<size_t>(of.size(), 1));
    }
  }
  return modules;
}

std::set<std::string, std::less<>> quoted_words(std::string_view script) {
  std::set<std::string, std::less<>> words;
  for (size_t at = 0; at < script.size(); ++at) {
    if (script[at] != '\'' && script[at] != '"') continue;
    size_t end = at + 1;
    while (end < script.size() && is_word(script[end])) ++end;
    if (end < script.size() && script[end] == script[at] && end > at + 1 && end - at < 100)
      words.emplace(script.substr(at + 1, end - at - 1));
  }
  return words;
}

std::vector<std::string> named_units(std::string_view script) {
  constexpr std::string_view kService = ".service";
  std::vector<std::string> units;
  for (size_t at = script.find(kService); at != std::string_view::npos;
       at = script.find(kService, at + 1)) {
    size_t begin = at;
    while (begin > 0 && (is_word(script[begin - 1]) || script[begin - 1] == '@')) --begin;
    const size_t end = at + kService.size();
    if (begin == at || (end < script.size() && is_word(script[end]))) continue;
    std::string unit(script.substr(begin, end - begin));
    if (std::find(units.begin(), units.end(), unit) == units.end())
      units.push_back(std::move(unit));
  }
  return units;
}

// Debian's @INC. The version is the folder's that the library stands in.
void ScriptPrograms::find_folders() {
  if (!folders_.empty()) return;
  const auto share = reads_.finder().find("/usr/share/perl");
  if (!share || share->info.kind != FileKind::kDirectory) return;
  const auto entries = reads_.finder().list(share->file);
  if (!entries) return;
  for (const auto& [version, file] : **entries) {
    if (!version.starts_with("5.") || std::count(version.begin(), version.end(), '.') != 1)
      continue;
    for (const std::string& folder :
         {std::string("/etc/perl"), fmt::format("/usr/lib/x86_64-linux-gnu/perl5/{}", version),
          std::string("/usr/share/perl5"), std::string("/usr/lib/x86_64-linux-gnu/perl-base"),
          fmt::format("/usr/lib/x86_64-linux-gnu/perl/{}", version),
          fmt::format("/usr/share/perl/{}", version)})
      folders_.push_back(folder);
  }
}

void ScriptPrograms::add_perl(std::string_view path, float probability) {
  find_folders();
  const auto source = reads_.text_of(path, kSourceBytesMax);
  if (!source || folders_.empty()) return;
  reads_.add_file(path, probability);
  add_modules_of(*source, probability, 0);
}

void ScriptPrograms::add_modules_of(std::string_view source, float probability, int depth) {
  if (depth > kDepthMax || probability < kLeast) return;
  for (const std::string& module : perl_modules(source))
    add_module(module, depth == 0 ? probability : probability * kModuleShare, depth + 1);
}

void ScriptPrograms::add_module(const std::string& name, float probability, int depth) {
  if (known_.size() >= kModulesMax || !known_.insert(name).second) return;
  std::string relative = name;
  for (size_t at = relative.find("::"); at != std::string::npos; at = relative.find("::"))
    relative.replace(at, 2, "/");
  for (const std::string& folder : folders_) {
    const std::string path = fmt::format("{}/{}.pm", folder, relative);
    const auto source = reads_.text_of(path, kSourceBytesMax);
    if (!source) continue;
    reads_.add_file(path, probability, kSourceBytesMax);
    // XS modules have a library of their name.
    reads_.add_program(
        fmt::format("{}/auto/{}/{}.so", folder, relative, relative.substr(relative.rfind('/') + 1)),
        probability);
    add_modules_of(*source, probability, depth);
    return;
  }
}

void ScriptPrograms::add_named(std::string_view script, float probability) {
  const auto words = quoted_words(script);
  const auto lib = reads_.finder().find("/usr/lib");
  if (words.empty() || !lib || lib->info.kind != FileKind::kDirectory) return;
  const auto folder_at = [&](const std::string& path) -> const PathFinder::Listing* {
    const auto found = reads_.finder().find(path);
    if (!found || found->info.kind != FileKind::kDirectory) return nullptr;
    const auto entries = reads_.finder().list(found->file);
    return entries ? *entries : nullptr;
  };
  const auto* packages = folder_at("/usr/lib");
  size_t looked_at = 0;
  for (auto package = packages->begin(); packages && package != packages->end(); ++package) {
    // "lib" and the like stand in every script.
    if (package->first.size() < 4 || script.find(package->first) == std::string_view::npos)
      continue;
    const auto* versions = folder_at(fmt::format("/usr/lib/{}", package->first));
    if (!versions) continue;
    for (const auto& [version, file] : *versions) {
      if (++looked_at > kPackageFoldersMax) return;
      const std::string bin = fmt::format("/usr/lib/{}/{}/bin", package->first, version);
      const auto* programs = folder_at(bin);
      for (const std::string& word : words) {
        if (programs && programs->contains(word))
          reads_.add_program(fmt::format("{}/{}", bin, word), probability * kNamedShare);
      }
    }
  }
}

}  // namespace forerun::image
