// The kernel modules that a guest of QEMU loads for its virtual hardware, and the indexes that
// modprobe reads for that.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/boot_reads.h"

namespace forerun::image {

// Of one kernel, from modules.dep and modules.alias.
class KernelModules {
 public:
  // The newest kernel in /lib/modules, or none: then nothing is ever added.
  explicit KernelModules(BootReads& reads);

  // modprobe's indexes and configuration.
  void add_indexes(float probability);
  // The module of this name ("ip_tables") and those it depends on.
  void add_module(std::string_view name, float probability);
  // The modules for what QEMU's machines "pc" and "q35" show and virtio devices.
  void add_virtual_hardware(float probability);

  // The aliases of those devices: "pci:v00008086d…".
  static std::span<const std::string_view> virtual_hardware();

  const std::string& release() const { return release_; }

 private:
  struct Alias {
    std::string pattern, module;
  };
  void read_dependencies();
  void read_aliases();

  BootReads& reads_;
  std::string release_;  // "6.1.0-28-cloud-amd64"; empty: no modules
  std::map<std::string, std::vector<std::string>, std::less<>> paths_;  // by name: itself first
  std::vector<Alias> aliases_;
};

// Returns whether `text` matches a pattern of '*', '?' and [..] as modules.alias has them.
bool matches_alias(std::string_view pattern, std::string_view text);
// Returns whether a's version is lower: numbers count as numbers.
bool version_less(std::string_view a, std::string_view b);

}  // namespace forerun::image
