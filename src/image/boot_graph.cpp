#include "image/boot_graph.h"

#include <fmt/format.h>

#include "image/boot_modules.h"
#include "image/systemd_boot.h"

namespace forerun::image {
namespace {

constexpr float kCertain = 0.97f;
constexpr float kManager = 0.95f;
constexpr uint64_t kBootFileMax = 256 * kMiB;

// What a boot loader in the disk reads: itself, the newest kernel and its initramfs.
void add_boot_loader(BootReads& reads) {
  reads.add_file("/boot/grub/grub.cfg", kManager);
  reads.add_folder("/boot/grub/x86_64-efi", 0.3f);
  reads.add_folder("/boot/grub/i386-pc", 0.3f);
  const auto folder = reads.finder().find("/boot");
  if (!folder || folder->info.kind != FileKind::kDirectory) return;
  const auto entries = reads.finder().list(folder->file);
  if (!entries) return;
  for (const std::string_view prefix : {"vmlinuz-", "initrd.img-", "initramfs-"}) {
    std::string newest;
    for (const auto& [name, file] : **entries) {
      if (name.starts_with(prefix) && (newest.empty() || version_less(newest, name))) newest = name;
    }
    if (!newest.empty()) reads.add_file("/boot/" + newest, 0.9f, kBootFileMax);
  }
}

}  // namespace

Result<BootGraph> read_boot_graph(FileSystem& files, const BootGraphOptions& options) {
  BootReads reads(files, options.reads);
  PathFinder::Found init;
  bool has_init = false;
  for (const std::string_view path :
       {"/sbin/init", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init"}) {
    if (auto found = reads.finder().find(path); found && found->info.kind == FileKind::kRegular) {
      init = std::move(*found);
      has_init = true;
      break;
    }
  }
  if (!has_init) return fail(ErrorCode::kNotFound, "no init stands in the file system");
  reads.add_mount(kCertain);
  if (options.has_boot_loader) add_boot_loader(reads);
  reads.add_file("/sbin/init", kCertain, 0);
  BootGraph graph;
  graph.init = init.path;
  if (init.path.ends_with("/systemd")) {
    KernelModules modules(reads);
    SystemdBoot systemd(reads, modules, options.units_max);
    systemd.add_manager(init.path, kManager);
    systemd.add_unit_files(kManager);
    systemd.add_services();
    graph.unit_count = systemd.started_count();
  } else {
    reads.add_program(init.path, kManager);
    reads.add_file("/etc/inittab", kManager);
    reads.add_folder("/etc/init.d", 0.6f);
  }
  graph.file_count = reads.file_count();
  graph.reads = reads.reads();
  return graph;
}

}  // namespace forerun::image
