// What a VM's QEMU is asked for.
#include "daemon/vm_manager.h"

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
  const std::string own = folder(request.name);
  options.qmp_socket = own + "/qmp.sock";
  options.console_socket = own + "/console.sock";
  options.console_log = own + "/console.log";
  options.agent_socket = own + "/agent.sock";
  if (request.disk_only) options.program.clear();
  return options;
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
