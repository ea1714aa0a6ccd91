// What scripts that a boot starts load and start in turn, as far as their text tells: Perl programs
// their modules, and wrappers the programs that they name. SOURCE: perlfunc (use, require), perlrun
// and Debian's perl policy (@INC).
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image/boot_reads.h"

namespace forerun::image {

// Returns the modules that a Perl source loads when it is compiled ("A::B"): what `use`, `no` and
// `require` name at the beginning of a line, and base classes; not behind its end or in its manual.
std::vector<std::string> perl_modules(std::string_view source);

// Returns the words of a script that could name a program: quoted ones of letters, digits, '_', '-'
// and '.'.
std::set<std::string, std::less<>> quoted_words(std::string_view script);

// Returns the units that a generator's text names ("postgresql@.service").
std::vector<std::string> named_units(std::string_view script);

// Not thread-safe; one boot. What is missing, too large or too many is left out.
class ScriptPrograms {
 public:
  explicit ScriptPrograms(BootReads& reads) : reads_(reads) {}

  // A Perl program is started: its modules, those that they load, and their libraries.
  void add_perl(std::string_view path, float probability);
  // A script is started that may start programs of a package's own: those in
  // /usr/lib/PACKAGE/VERSION/bin that it quotes, if it names PACKAGE.
  void add_named(std::string_view script, float probability);

  static constexpr size_t kModulesMax = 1000;

 private:
  void find_folders();
  void add_modules_of(std::string_view source, float probability, int depth);
  void add_module(const std::string& name, float probability, int depth);

  BootReads& reads_;
  std::vector<std::string> folders_;  // Perl's @INC
  std::set<std::string> known_;       // modules looked for
};

}  // namespace forerun::image
