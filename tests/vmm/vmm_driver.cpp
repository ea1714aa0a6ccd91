// One step of a VM's life per call, so that a test can let the launcher end between the steps.
//   vmm_driver launch FOLDER [NBD_SOCKET]   start QEMU paused, write FOLDER/t.json, print its pid
//   vmm_driver state|resume|disks FOLDER    adopt it and ask
//   vmm_driver stop FOLDER ask|force        stop it, print what did it
#include <cstdio>

#include "core/bytes.h"
#include "vmm/vm_process.h"
#include "vmm/vm_record.h"

namespace forerun::vmm {
namespace {

Result<std::string> launch(const std::string& folder, const std::string& nbd_socket) {
  VmRecord record;
  record.name = "t";
  record.qemu.name = "t";
  record.qemu.memory_bytes = 64 * kMiB;
  record.qemu.qmp_socket = folder + "/qmp.sock";
  record.qemu.console_socket = folder + "/console.sock";
  record.qemu.console_log = folder + "/console.log";
  record.qemu.start_paused = true;
  if (!nbd_socket.empty()) {
    record.qemu.nbd_socket = nbd_socket;
    record.qemu.export_name = "t";
  }
  FR_TRY(const VmProcess vm, VmProcess::launch(record.qemu, folder + "/qemu.log"));
  record.process = vm.id();
  FR_TRY(record.boot_id, host_boot_id());
  FR_CHECK(save_vm_record(folder, record));
  return fmt::to_string(vm.id().pid);
}

Result<VmProcess> adopt(const std::string& folder) {
  FR_TRY(const VmRecord record, load_vm_record(folder, "t"));
  return VmProcess::adopt(record.process, record.qemu.qmp_socket, 2s);
}

Result<std::string> stop(const std::string& folder, bool ask) {
  FR_TRY(const VmRecord record, load_vm_record(folder, "t"));
  const VmProcess vm = VmProcess::of(record.process, record.qemu.qmp_socket);
  const StopOptions options{
      .ask_guest = ask, .power_down_timeout = 1s, .quit_timeout = 1s, .qmp_timeout = 1s};
  FR_TRY(const StoppedBy how, vm.stop(options));
  return std::string(stopped_by_name(how));
}

Result<std::string> step(const std::vector<std::string>& words) {
  if (words.size() < 2) return fail(ErrorCode::kInvalid, "usage: vmm_driver STEP FOLDER …");
  const std::string& folder = words[1];
  const std::string third = words.size() > 2 ? words[2] : "";
  if (words[0] == "launch") return launch(folder, third);
  if (words[0] == "stop") return stop(folder, third == "ask");
  FR_TRY(const VmProcess vm, adopt(folder));
  if (words[0] == "state") return vm.run_state();
  if (words[0] == "resume") {
    FR_CHECK(vm.resume());
    return vm.run_state();
  }
  if (words[0] == "disks") {
    FR_TRY(const auto devices, vm.block_devices());
    std::string names;
    for (const QmpBlockDevice& device : devices) names += device.node_name;
    return names;
  }
  return fail(ErrorCode::kInvalid, fmt::format("unknown step '{}'", words[0]));
}

}  // namespace
}  // namespace forerun::vmm

int main(int argc, char** argv) {
  const auto answer = forerun::vmm::step({argv + 1, argv + argc});
  if (!answer) {
    fmt::print(stderr, "{}: {}\n", error_code_name(answer.error().code), answer.error().message);
    return 1;
  }
  fmt::print("{}\n", *answer);
  return 0;
}
