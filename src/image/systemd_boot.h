// The units that systemd will load and start, and what starting them reads.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image/boot_modules.h"
#include "image/boot_reads.h"
#include "image/python_imports.h"
#include "image/script_programs.h"
#include "image/systemd_unit.h"

namespace forerun::image {

// Not thread-safe; one boot.
class SystemdBoot {
 public:
  SystemdBoot(BootReads& reads, KernelModules& modules, size_t units_max)
      : reads_(reads), modules_(modules), python_(reads), scripts_(reads), units_max_(units_max) {}

  // systemd itself, its configuration and its generators.
  void add_manager(std::string_view init, float probability);
  // The files of all units that are loaded.
  void add_unit_files(float probability);
  // What the units started read; sysinit.target's first, then the hardware's modules, then the
  // rest.
  void add_services();
  size_t started_count() const { return started_.size(); }

 private:
  struct Loaded {
    SystemdUnit unit;
    std::vector<std::string> files;   // fragment and drop-ins
    std::vector<std::string> wanted;  // by .wants and .requires folders
    bool is_masked = false;
  };
  const Loaded& load(const std::string& name);
  bool is_there(const std::string& path, bool must_have_entries);
  float share_of(const UnitCondition& condition);
  float share_of(const SystemdUnit& unit);
  void start(const std::string& root, float probability);
  void add_started(const std::string& name, const Loaded& loaded, float probability);
  void add_command(const UnitCommand& command, float probability);
  void add_script(const std::string& path, std::string_view text, float probability);
  void add_generated(const std::string& generator, float probability);
  void add_what_it_reads(std::string_view program, float probability);
  void add_hardware_database(float probability);
  void add_named_configuration(std::string_view stem, float probability);
  void add_paths_in(std::string_view text, std::string_view stem, float probability);

  BootReads& reads_;
  KernelModules& modules_;
  PythonImports python_;
  ScriptPrograms scripts_;
  const size_t units_max_;
  std::map<std::string, Loaded, std::less<>> loaded_;
  std::map<std::string, float, std::less<>> started_;
  std::set<std::string, std::less<>> configured_;
};

}  // namespace forerun::image
