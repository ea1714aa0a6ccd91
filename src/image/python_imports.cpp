#include "image/python_imports.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "image/text_lines.h"

namespace forerun::image {
namespace {

constexpr size_t kSourceBytesMax = kMiB;
constexpr int kDepthMax = 100;
constexpr float kConditional = 0.6f;  // of an import in a branch of the outermost level
constexpr float kLeast = 0.3f;        // below it is not followed
// An import may be behind a statement that leaves the module, or of a name that is no module.
constexpr float kImportShare = 0.97f;

// Compiled into the interpreter since 3.11, which looks for no file (Lib/importlib, freeze.py).
constexpr std::array<std::string_view, 14> kFrozen{
    "abc",       "codecs", "io",   "_collections_abc", "_sitebuiltins",  "genericpath",
    "ntpath",    "os",     "site", "posixpath",        "importlib.util", "importlib.machinery",
    "zipimport", "stat"};
// What every start loads.
constexpr std::array<std::string_view, 4> kAtStart{"encodings", "encodings.aliases",
                                                   "encodings.utf_8", "sitecustomize"};

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Returns the first word of "name as other".
std::string_view first_word(std::string_view text) {
  text = trim(text);
  return text.substr(0, text.find_first_of(" \t;"));
}

std::vector<std::string> names_in(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty() && names.size() < 256) {
    const size_t end = std::min(list.find(','), list.size());
    const std::string_view name = first_word(list.substr(0, end));
    if (!name.empty()) names.emplace_back(name);
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return names;
}

// `statement`: "import a.b, c" or "from .a import b, c", without line breaks and brackets.
void add_statement(std::string_view statement, float share, std::vector<PythonImport>& imports) {
  if (statement.starts_with("import ")) {
    for (std::string& module : names_in(statement.substr(7)))
      imports.push_back({std::move(module), {}, share});
    return;
  }
  statement.remove_prefix(5);
  const size_t middle = statement.find(" import ");
  if (middle == std::string_view::npos) return;
  const std::string_view module = trim(statement.substr(0, middle));
  if (!module.empty())
    imports.push_back({std::string(module), names_in(statement.substr(middle + 8)), share});
}

// How likely the lines below a line of the outermost level run.
float share_below(std::string_view line) {
  for (const std::string_view never : {"def ", "class ", "async ", "if TYPE_CHECKING",
                                       "if typing.TYPE_CHECKING", "if t.TYPE_CHECKING"}) {
    if (line.starts_with(never)) return 0;
  }
  return line.starts_with("try") ? 0.95f : kConditional;
}

// Follows where texts of three quotes begin and end. Returns whether the line begins in one.
bool pass_texts(std::string_view line, std::string_view& open) {
  const bool begins_in_text = !open.empty();
  for (size_t at = 0; at < line.size();) {
    if (open.empty()) {
      const size_t first = line.find_first_of("\"'#", at);
      if (first == std::string_view::npos || line[first] == '#') break;
      const std::string_view three = line.substr(first, 3);
      if (three == "\"\"\"" || three == "'''") {
        open = three[0] == '"' ? "\"\"\"" : "'''";
        at = first + 3;
        continue;
      }
      const size_t close = line.find(line[first], first + 1);
      if (close == std::string_view::npos) break;
      at = close + 1;
    } else {
      const size_t close = line.find(open, at);
      if (close == std::string_view::npos) break;
      at = close + 3;
      open = {};
    }
  }
  return begins_in_text;
}

}  // namespace

std::vector<PythonImport> python_imports(std::string_view source) {
  std::vector<PythonImport> imports;
  std::string_view text;  // the quotes of a text that goes on over lines
  std::string statement;  // that goes on
  float statement_share = 0, below = 0;
  for (const std::string_view line : lines_of(source)) {
    if (statement.empty()) {
      if (pass_texts(line, text)) continue;
      const std::string_view trimmed = trim(line);
      if (trimmed.empty() || trimmed[0] == '#') continue;
      const bool is_outermost = line[0] != ' ' && line[0] != '\t';
      const bool is_import = trimmed.starts_with("import ") || trimmed.starts_with("from ");
      if (is_outermost && !is_import) below = share_below(line);
      if (!is_import) continue;
      statement_share = is_outermost ? 1 : below;
    }
    const std::string_view code = trim(line.substr(0, line.find('#')));
    statement += code.ends_with('\\') ? code.substr(0, code.size() - 1) : code;
    statement += ' ';
    const bool is_open =
        statement.find('(') != std::string::npos && statement.find(')') == std::string::npos;
    if ((is_open || code.ends_with('\\')) && statement.size() < 16 * kKiB) continue;
    std::erase_if(statement, [](char c) { return c == '(' || c == ')'; });
    if (statement_share > 0) add_statement(statement, statement_share, imports);
    statement.clear();
  }
  return imports;
}

void PythonImports::find_interpreter() {
  if (!tag_.empty()) return;
  const auto found = reads_.finder().find("/usr/bin/python3");
  if (!found) return;
  const std::string name = found->path.substr(found->path.rfind('/') + 1);  // "python3.11"
  const size_t dot = name.find('.');
  if (!name.starts_with("python3") || dot == std::string::npos) return;
  tag_ = fmt::format("cpython-3{}", name.substr(dot + 1));
  for (const std::string_view folder :
       {"/usr/lib/{}", "/usr/lib/{}/lib-dynload", "/usr/local/lib/{}/dist-packages",
        "/usr/lib/python3/dist-packages", "/usr/lib/{}/site-packages"})
    folders_.push_back(fmt::format(fmt::runtime(folder), name));
}

void PythonImports::add_script(std::string_view path, float probability) {
  find_interpreter();
  const auto source = reads_.text_of(path, kSourceBytesMax);
  if (tag_.empty() || !source) return;
  for (const std::string& folder : folders_) reads_.add_file(folder, probability, kMiB);
  for (const std::string_view module : kAtStart) add_module(std::string(module), probability, 0);
  reads_.add_file(path, probability);
  folders_.insert(folders_.begin(), std::string(path.substr(0, path.rfind('/'))));
  add_imports(*source, "", probability, 0);
  folders_.erase(folders_.begin());
}

void PythonImports::add_imports(std::string_view source, const std::string& package,
                                float probability, int depth) {
  if (depth > kDepthMax) return;
  for (const PythonImport& import : python_imports(source)) {
    const float share = probability * import.share * kImportShare;
    if (share < kLeast) continue;
    std::string module = import.module;
    if (module.starts_with('.')) {
      const size_t levels = std::min(module.find_first_not_of('.'), module.size());
      std::string base = package;
      for (size_t i = 1; i < levels; ++i)
        base.resize(base.rfind('.') == std::string::npos ? 0 : base.rfind('.'));
      if (base.empty()) continue;
      const std::string rest = module.substr(levels);
      module = rest.empty() ? base : fmt::format("{}.{}", base, rest);
    }
    // A package is loaded before what is in it.
    bool is_there = true;
    for (size_t dot = module.find('.'); is_there && dot != std::string::npos;
         dot = module.find('.', dot + 1))
      is_there = add_module(module.substr(0, dot), share, depth + 1);
    if (!is_there || !add_module(module, share, depth + 1)) continue;
    for (const std::string& name : import.names)
      add_module(fmt::format("{}.{}", module, name), share, depth + 1);
  }
}

bool PythonImports::add_module(const std::string& name, float probability, int depth) {
  if (known_.contains(name)) return true;
  if (known_.size() >= kModulesMax || name.size() > 255 || name.find('/') != std::string::npos)
    return false;
  if (std::find(kFrozen.begin(), kFrozen.end(), name) != kFrozen.end()) return true;
  std::string relative = name;
  std::replace(relative.begin(), relative.end(), '.', '/');
  const size_t dot = name.rfind('.');
  const std::string parent = dot == std::string::npos ? "" : name.substr(0, dot);
  for (const std::string& folder : folders_) {
    const std::string at = fmt::format("{}/{}", folder, relative);
    const std::string inside = at.substr(0, at.rfind('/'));
    const auto where = reads_.finder().find(inside);
    if (!where || where->info.kind != FileKind::kDirectory) continue;
    const auto entries = reads_.finder().list(where->file);
    if (!entries) continue;
    const std::string last = at.substr(inside.size() + 1);
    if ((*entries)->contains(last) && add_source(at, "__init__", name, probability, depth))
      return true;
    if ((*entries)->contains(last + ".py") && add_source(inside, last, parent, probability, depth))
      return true;
    for (auto entry = (*entries)->lower_bound(last + ".");
         entry != (*entries)->end() && entry->first.starts_with(last + "."); ++entry) {
      if (!entry->first.ends_with(".so")) continue;
      known_.insert(name);
      reads_.add_program(fmt::format("{}/{}", inside, entry->first), probability);
      return true;
    }
  }
  return false;
}

bool PythonImports::add_source(const std::string& folder, const std::string& file,
                               const std::string& package, float probability, int depth) {
  const std::string path = fmt::format("{}/{}.py", folder, file);
  const auto source = reads_.text_of(path, kSourceBytesMax);
  if (!source) return false;
  known_.insert(file == "__init__" ? package
                : package.empty()  ? file
                                   : fmt::format("{}.{}", package, file));
  // Its time is compared with the bytecode's; its content is read if there is none.
  const bool has_bytecode =
      reads_.add_file(fmt::format("{}/__pycache__/{}.{}.pyc", folder, file, tag_), probability)
          .has_value();
  reads_.add_file(folder, probability, kMiB);
  reads_.add_file(path, probability, has_bytecode ? 0 : kSourceBytesMax);
  add_imports(*source, package, probability, depth);
  return true;
}

}  // namespace forerun::image
