// What a Linux guest will read while it boots, told from its file system before it ever did: init
// and its libraries, the units that its default target pulls in, their programs, the configuration
// these read, the kernel's modules for virtual hardware. A static prior for first boots.
#pragma once

#include <string>
#include <vector>

#include "image/boot_reads.h"
#include "image/file_system.h"

namespace forerun::image {

struct BootGraph {
  std::vector<BootRead> reads;  // in the order in which the boot will probably want them
  size_t file_count = 0;
  size_t unit_count = 0;  // units that will be started; 0: init is not systemd
  std::string init;       // "/usr/lib/systemd/systemd"
};

struct BootGraphOptions {
  bool has_boot_loader = false;  // the disk is booted by itself: kernel and initramfs are read too
  BootReads::Options reads;
  size_t units_max = 5000;
};

// Returns the graph of what `files` boots. ERRORS: kNotFound if no init is in it; those of the
// file system's root. What else is missing or damaged is left out.
Result<BootGraph> read_boot_graph(FileSystem& files, const BootGraphOptions& options);

}  // namespace forerun::image
