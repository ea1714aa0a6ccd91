#include "image/boot_modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "image/text_lines.h"

namespace forerun::image {
namespace {

constexpr size_t kTableBytesMax = 8 * kMiB;
constexpr size_t kModuleBytesMax = 16 * kMiB;

// What /sys/devices shows as modalias on QEMU's machines. PCI: 82441FX, PIIX3, PIIX4, ICH9, the
// virtio devices in both their ids; ACPI; input; x86 features of its CPU model "max".
// SOURCE: hw/i386/, docs/specs/pci-ids.rst of QEMU.
constexpr std::array<std::string_view, 26> kHardware{
    "acpi:LNXPWRBN:",
    "acpi:LNXCPU:",
    "acpi:ACPI0007:",
    "acpi:PNP0103:",
    "acpi:PNP0303:",
    "acpi:PNP0F13:",
    "acpi:QEMU0002:",
    "acpi:QEMUVGID:",
    "pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00",
    "pci:v00008086d00007000sv00001AF4sd00001100bc06sc01i00",
    "pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80",
    "pci:v00008086d00007113sv00001AF4sd00001100bc06sc80i00",
    "pci:v00008086d000029C0sv00001AF4sd00001100bc06sc00i00",
    "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
    "pci:v00008086d00002930sv00001AF4sd00001100bc0Csc05i00",
    "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00",
    "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00",
    "virtio:d00000001v00001AF4",
    "serio:ty06pr00id00ex00",
    "serio:ty01pr00id00ex00",
    "input:b0019v0000p0001e0000-e0,1,k74,ramlsfw",
    "input:b0011v0001p0001eAB41-e0,1,4,11,14,k71,ramlsfw",
    "platform:pcspkr",
    "platform:rtc_cmos",
    // ACPI, PCLMULQDQ, SSSE3, SSE4.2, AES, AVX, SVM, AVX2: what a host passes on or TCG has.
    "cpu:type:x86,ven0002fam000Fmod006B:feature:,0016,0081,0089,0094,0099,009C,00C2,0125,",
    "acpi:PNP0C0C:",
};

// Whoever reads the disk has these already: from the initramfs, or built in.
constexpr std::array<std::string_view, 10> kBeforeRoot{"virtio",
                                                       "virtio_ring",
                                                       "virtio_pci",
                                                       "virtio_pci_modern_dev",
                                                       "virtio_pci_legacy_dev",
                                                       "virtio_blk",
                                                       "ext4",
                                                       "jbd2",
                                                       "mbcache",
                                                       "crc16"};

// What systemd loads by itself before anything is started (src/core/kmod-setup.c), where a kernel
// has it as a module.
constexpr std::array<std::string_view, 6> kEarly{"autofs4",   "ipv6",        "unix",
                                                 "ip_tables", "qemu_fw_cfg", "virtio_rng"};

constexpr std::array<std::string_view, 6> kIndexes{
    "modules.softdep",     "modules.dep.bin",           "modules.alias.bin",
    "modules.builtin.bin", "modules.builtin.alias.bin", "modules.devname"};

std::string name_of_module(std::string_view path) {
  std::string_view file = path.substr(path.rfind('/') + 1);
  std::string name(file.substr(0, file.find(".ko")));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// Returns the pattern past a bracket expression if `c` is in it, else an empty view.
bool take_bracket(std::string_view& pattern, char c) {
  const size_t end = pattern.find(']');
  if (end == std::string_view::npos) return false;
  bool is_in = false;
  for (size_t i = 1; i < end; ++i) {
    if (i + 2 < end && pattern[i + 1] == '-') {
      is_in |= c >= pattern[i] && c <= pattern[i + 2];
      i += 2;
    } else {
      is_in |= c == pattern[i];
    }
  }
  pattern.remove_prefix(end + 1);
  return is_in;
}

}  // namespace

// Greedy with one place to come back to, as glob matchers do: linear in practice.
bool matches_alias(std::string_view pattern, std::string_view text) {
  std::string_view after_star, text_at_star;
  bool has_star = false;
  while (true) {
    if (!pattern.empty() && pattern[0] == '*') {
      pattern.remove_prefix(1);
      after_star = pattern, text_at_star = text, has_star = true;
      continue;
    }
    if (text.empty()) return pattern.empty();
    bool is_same = false;
    if (!pattern.empty()) {
      if (pattern[0] == '[') {
        is_same = take_bracket(pattern, text[0]);
      } else {
        is_same = pattern[0] == '?' || pattern[0] == text[0];
        pattern.remove_prefix(1);
      }
    }
    text.remove_prefix(1);
    if (is_same) continue;
    if (!has_star || text_at_star.empty()) return false;
    text_at_star.remove_prefix(1);
    pattern = after_star, text = text_at_star;
  }
}

bool version_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  while (!a.empty() && !b.empty()) {
    if (is_digit(a[0]) && is_digit(b[0])) {
      const auto take_number = [&](std::string_view& text) {
        size_t end = 0;
        while (end < text.size() && is_digit(text[end])) ++end;
        std::string_view number = text.substr(0, end);
        text.remove_prefix(end);
        number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
        return number;
      };
      const std::string_view x = take_number(a), y = take_number(b);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
      continue;
    }
    if (a[0] != b[0]) return a[0] < b[0];
    a.remove_prefix(1), b.remove_prefix(1);
  }
  return a.size() < b.size();
}

KernelModules::KernelModules(BootReads& reads) : reads_(reads) {
  const auto folder = reads_.finder().find("/lib/modules");
  if (!folder || folder->info.kind != FileKind::kDirectory) return;
  const auto releases = reads_.finder().list(folder->file);
  if (!releases) return;
  for (const auto& [name, file] : **releases) {
    if (release_.empty() || version_less(release_, name)) release_ = name;
  }
  read_dependencies();
  read_aliases();
}

// Lines "kernel/fs/fuse/fuse.ko: kernel/a.ko kernel/b.ko".
void KernelModules::read_dependencies() {
  const auto text =
      reads_.text_of(fmt::format("/lib/modules/{}/modules.dep", release_), kTableBytesMax);
  if (!text) return;
  for (const std::string_view line : lines_of(*text)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    auto& paths = paths_[name_of_module(line.substr(0, colon))];
    paths.assign(1, std::string(line.substr(0, colon)));
    std::string_view rest = line.substr(colon + 1);
    while (!rest.empty() && paths.size() < 64) {
      rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
      const size_t end = std::min(rest.find(' '), rest.size());
      if (end > 0) paths.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end);
    }
  }
}

// Lines "alias pci:v00008086d*sv*sd*bc*sc*i* name".
void KernelModules::read_aliases() {
  const auto text =
      reads_.text_of(fmt::format("/lib/modules/{}/modules.alias", release_), kTableBytesMax);
  if (!text) return;
  for (const std::string_view line : lines_of(*text)) {
    if (!line.starts_with("alias ")) continue;
    const size_t end = line.rfind(' ');
    if (end <= 6) continue;
    aliases_.push_back(
        {std::string(line.substr(6, end - 6)), name_of_module(line.substr(end + 1))});
  }
}

void KernelModules::add_indexes(float probability) {
  if (release_.empty()) return;
  for (const std::string_view folder : {"/etc/modprobe.d", "/lib/modprobe.d"})
    reads_.add_folder(folder, probability);
  for (const std::string_view index : kIndexes)
    reads_.add_file(fmt::format("/lib/modules/{}/{}", release_, index), probability, kMiB);
  // It is mapped, but nobody asks for a module by a symbol: its head, and what is read ahead of it.
  constexpr ByteRange kHead{0, 128 * kKiB};
  reads_.add_parts(fmt::format("/lib/modules/{}/modules.symbols.bin", release_), {&kHead, 1},
                   probability);
  for (const std::string_view name : kEarly) add_module(name, probability);
}

// modprobe loads dependencies first.
void KernelModules::add_module(std::string_view name, float probability) {
  const auto known = paths_.find(name);
  if (known == paths_.end()) return;
  for (size_t i = known->second.size(); i-- > 0;) {
    const std::string& path = known->second[i];
    if (std::find(kBeforeRoot.begin(), kBeforeRoot.end(), name_of_module(path)) !=
        kBeforeRoot.end())
      continue;
    reads_.add_file(
        path.starts_with('/') ? path : fmt::format("/lib/modules/{}/{}", release_, path),
        probability, kModuleBytesMax);
  }
}

std::span<const std::string_view> KernelModules::virtual_hardware() { return kHardware; }

void KernelModules::add_virtual_hardware(float probability) {
  for (const std::string_view device : kHardware) {
    for (const Alias& alias : aliases_) {
      if (matches_alias(alias.pattern, device)) add_module(alias.module, probability);
    }
  }
}

}  // namespace forerun::image
