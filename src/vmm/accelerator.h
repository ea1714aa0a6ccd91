// Which accelerator QEMU can really use here. /dev/kvm may exist on a host whose CPU offers no
// virtualization (a nested guest, a container image); QEMU then fails at start. So the CPU's flag
// decides together with the device.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace forerun::vmm {

enum class Accelerator : uint8_t { kTcg, kKvm };

std::string_view accelerator_name(Accelerator accelerator);  // as QEMU says it: "tcg", "kvm"

struct AcceleratorProbe {
  Accelerator accelerator = Accelerator::kTcg;
  std::string reason;  // for people: "the CPU has no vmx or svm flag"
};

// Returns the choice for a host whose /proc/cpuinfo reads `cpuinfo` and whose /dev/kvm opens or
// not.
AcceleratorProbe choose_accelerator(std::string_view cpuinfo, bool kvm_opens);

// Returns the choice for this host. A file that cannot be read counts as "no".
AcceleratorProbe probe_accelerator(const std::string& cpuinfo_path = "/proc/cpuinfo",
                                   const std::string& kvm_path = "/dev/kvm");

}  // namespace forerun::vmm
