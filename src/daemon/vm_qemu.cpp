// What a VM's QEMU is asked for.
#include "daemon/vm_manager.h"
#include "vmm/bridge.h"

namespace forerun::daemon {

vmm::QemuOptions VmManager::qemu_options(const api::RunRequest& request) const {
  vmm::QemuOptions options;
  options.name = request.name;
  options.accelerator = accelerator_.accelerator;
  options.memory_bytes = request.memory_bytes;
  options.cpus = request.cpus;
  options.nbd_socket = parts_.config.nbd_socket();
  options.export_name = request.name;
  options.disk_bus =
      request.disk_bus == api::DiskBus::kNvme ? vmm::DiskBus::kNvme : vmm::DiskBus::kVirtio;
  options.kernel = request.kernel;
  options.initrd = request.initrd;
  options.append = request.append;
  for (const api::PortForward& forward : request.forwards)
    options.forwards.push_back({forward.host_address, forward.host_port, forward.guest_port});
  options.bridge = request.bridge;
  options.mac = request.mac;
  const std::string own = folder(request.name);
  options.qmp_socket = own + "/qmp.sock";
  options.console_socket = own + "/console.sock";
  options.console_log = own + "/console.log";
  options.agent_socket = own + "/agent.sock";
  if (request.disk_only) options.program.clear();
  return options;
}

Status VmManager::add_network(const api::RunRequest& request, vmm::QemuOptions& options) {
  // A VM keeps its address, wherever it runs, unless it is given another.
  if (options.mac.empty()) options.mac = mac_of(request.name);
  if (options.mac.empty() && !options.bridge.empty()) options.mac = vmm::random_mac();
  FR_CHECK(vmm::check_network(options));
  if (options.bridge.empty()) return {};
  if (request.disk_only)
    return fail(ErrorCode::kInvalid, "a network needs a guest, but disk_only starts none");
  return vmm::check_bridge(options.bridge);
}

Result<std::vector<PmemStore::FilePtr>> VmManager::add_pmem(const api::RunRequest& request,
                                                            vmm::QemuOptions& options) {
  std::vector<PmemStore::FilePtr> files;
  if (request.disk_only && !request.pmem_images.empty())
    return fail(ErrorCode::kInvalid, "pmem images need a guest, but disk_only starts none");
  for (const std::string& image : request.pmem_images) {
    FR_TRY(const auto file, parts_.pmem.plan(image));
    options.pmem.push_back({image, file.path, file.size_bytes});
  }
  // What QEMU would not take is refused before an image is fetched for it.
  if (!options.pmem.empty()) FR_CHECK(vmm::qemu_argv(options));
  for (vmm::PmemDevice& device : options.pmem) {
    FR_TRY(auto file, parts_.pmem.provide(device.image));
    device = {device.image, file->path, file->size_bytes};
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace forerun::daemon
