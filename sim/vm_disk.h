// A VM's disk as its guest sees it in a simulation: the virtual disk, and around it what the
// daemon's served disk does: wait for what is missing, tell the models what was read.
#pragma once

#include <memory>
#include <string>

#include "disk/virtual_disk.h"
#include "sim/host.h"

namespace forerun::sim {

struct VmDiskOptions {
  std::string name;
  uint64_t owner_token = 0;
  uint64_t boot_token = 0;
  uint64_t journal_bytes_max = 8 * kKiB;  // small, so that rewriting it is part of every run
};

// One thread; calls suspend the calling fiber while chunks are fetched.
class VmDisk {
 public:
  static Result<std::unique_ptr<VmDisk>> open(Host& host, SimFolder& folder,
                                              image::ComponentPtr component, VmDiskOptions options);

  // From now on, reads are observed as this VM's.
  void set_vm(VmId vm) { vm_ = vm; }
  uint64_t size_bytes() const { return disk_->size_bytes(); }

  Result<Buffer> read(ByteRange range);
  Status write(uint64_t offset, ByteView data, bool fua);
  Status write_zeroes(ByteRange range, bool may_punch, bool fua);
  Status flush() { return disk_->flush(); }
  void block_status(ByteRange range, std::vector<disk::StatusExtent>& out) const;

 private:
  VmDisk(Host& host, std::unique_ptr<disk::VirtualDisk> disk);
  // More would mean that chunks vanish while they are pinned.
  static constexpr int kAttemptsMax = 4;

  void observe(const std::vector<disk::Touch>& touches);
  Status wait_for(const std::vector<disk::Missing>& missing, disk::Pins& pins);
  Status prepare(ByteRange range, disk::Pins& pins);

  Host& host_;
  std::unique_ptr<disk::VirtualDisk> disk_;
  VmId vm_{};
};

}  // namespace forerun::sim
