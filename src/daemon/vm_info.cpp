#include "daemon/vm_info.h"

#include "daemon/prefetch_words.h"

namespace forerun::daemon {

// A disk only has no program of its own.
bool is_disk_only(const vmm::VmRecord& record) { return record.qemu.program.empty(); }

api::VmInfo describe_vm(const vmm::VmRecord& record, const Config& config) {
  api::VmInfo info;
  info.name = record.name;
  info.image = record.image;
  info.image_digest = record.image_digest;
  info.tenant = record.tenant;
  info.export_uri = fmt::format("nbd+unix:///{}?socket={}", record.name, config.nbd_socket());
  info.disk_only = is_disk_only(record);
  if (!info.disk_only) {
    info.console_path = record.qemu.console_socket;
    info.log_path = record.qemu.console_log;
    info.accelerator = vmm::accelerator_name(record.qemu.accelerator);
    info.memory_bytes = record.qemu.memory_bytes;
    info.cpus = record.qemu.cpus;
    info.bridge = record.qemu.bridge;
    info.mac = record.qemu.mac;
  }
  for (const vmm::Forward& forward : record.qemu.forwards)
    info.forwards.push_back({forward.host_address, forward.host_port, forward.guest_port});
  for (const vmm::PmemDevice& device : record.qemu.pmem) info.pmem_images.push_back(device.image);
  info.prefetch = prefetch_mode(record);
  info.share = record.share;
  info.created_unix_seconds = record.created_unix_seconds;
  info.started_unix_seconds = record.started_unix_seconds;
  return info;
}

}  // namespace forerun::daemon
