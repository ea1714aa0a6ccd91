#include "vmm/accelerator.h"

#include "core/bytes.h"
#include "os/file.h"

namespace forerun::vmm {
namespace {

// Returns whether a line "flags : a b c" holds the word vmx or svm. Other lines mention "vmx flags"
// with other words.
bool has_virtualization_flag(std::string_view cpuinfo) {
  while (!cpuinfo.empty()) {
    const size_t end = std::min(cpuinfo.find('\n'), cpuinfo.size());
    std::string_view line = cpuinfo.substr(0, end);
    cpuinfo.remove_prefix(std::min(end + 1, cpuinfo.size()));
    const size_t colon = line.find(':');
    if (!line.starts_with("flags") || colon == std::string_view::npos) continue;
    line.remove_prefix(colon + 1);
    while (!line.empty()) {
      const size_t word_end = std::min(line.find_first_of(" \t"), line.size());
      const std::string_view word = line.substr(0, word_end);
      if (word == "vmx" || word == "svm") return true;
      line.remove_prefix(std::min(word_end + 1, line.size()));
    }
  }
  return false;
}

}  // namespace

std::string_view accelerator_name(Accelerator accelerator) {
  return accelerator == Accelerator::kKvm ? "kvm" : "tcg";
}

AcceleratorProbe choose_accelerator(std::string_view cpuinfo, bool kvm_opens) {
  if (!has_virtualization_flag(cpuinfo)) {
    return {Accelerator::kTcg, "the CPU has no vmx or svm flag"};
  }
  if (!kvm_opens) return {Accelerator::kTcg, "/dev/kvm cannot be opened for writing"};
  return {Accelerator::kKvm, "the CPU has virtualization and /dev/kvm opens"};
}

AcceleratorProbe probe_accelerator(const std::string& cpuinfo_path, const std::string& kvm_path) {
  constexpr size_t kCpuinfoBytesMax = 16 << 20;  // about 2 KiB a CPU
  const auto cpuinfo = os::read_file(cpuinfo_path, kCpuinfoBytesMax);
  const bool kvm_opens = os::PosixFile::open(kvm_path, os::PosixFile::Mode::kReadWrite).has_value();
  return choose_accelerator(cpuinfo ? as_text(*cpuinfo) : std::string_view{}, kvm_opens);
}

}  // namespace forerun::vmm
