// What a Python program loads before it does its work: the modules that it imports, that those
// import, and so on, as far as their source tells. SOURCE: the language reference, 5 (the import
// system) and 7.11 (the import statement); PEP 3147 (where bytecode stands).
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image/boot_reads.h"

namespace forerun::image {

// A module as an import statement names it, and how likely the statement runs.
struct PythonImport {
  std::string module;              // "a.b"; with a leading dot for each level of a relative import
  std::vector<std::string> names;  // after "from … import": may be modules too
  float share = 1;
};

// Returns the imports of a source that run when it is loaded: of its outermost level, and, less
// likely, those behind a condition there. Functions and classes are passed over, and so is what
// only type checkers see.
std::vector<PythonImport> python_imports(std::string_view source);

// Not thread-safe; one boot. What is missing, too large or too deep is left out.
class PythonImports {
 public:
  explicit PythonImports(BootReads& reads) : reads_(reads) {}

  // A program of this name is started with a script, or is one itself: `path`.
  void add_script(std::string_view path, float probability);

  static constexpr size_t kModulesMax = 3000;

 private:
  struct Module {
    std::string path;     // of its source or, without one, its extension
    std::string package;  // "a.b": whose relative imports it makes
  };
  void find_interpreter();
  void add_imports(std::string_view source, const std::string& package, float probability,
                   int depth);
  // Returns whether there is such a module.
  bool add_module(const std::string& name, float probability, int depth);
  bool add_source(const std::string& folder, const std::string& file, const std::string& package,
                  float probability, int depth);

  BootReads& reads_;
  std::string tag_;                   // "cpython-311"; empty: no interpreter was found
  std::vector<std::string> folders_;  // that modules are looked for in, in order
  std::set<std::string> known_;       // modules looked for
};

}  // namespace forerun::image
