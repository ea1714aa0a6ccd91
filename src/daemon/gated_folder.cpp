#include "daemon/gated_folder.h"

#include <algorithm>

namespace forerun::daemon {
namespace {

using iosched::IoClass;

// What a flush counts as, beside what it writes: the disk works on nothing else meanwhile.
constexpr uint64_t kFlushBytes = 64 * kKiB;

}  // namespace

Status GatedFile::read(uint64_t offset, MutableByteView out) {
  const DiskGate::Purpose* const purpose = DiskGate::Purpose::current();
  const DiskGate::Turn turn(gate_, vm_ == VmId{} && purpose ? purpose->vm : vm_,
                            purpose ? purpose->io_class : IoClass::kCritical, out.size());
  return file_->read(offset, out);
}

Status GatedFile::write(uint64_t offset, ByteView data) {
  const DiskGate::Purpose* const purpose = DiskGate::Purpose::current();
  unflushed_bytes_.fetch_add(data.size(), std::memory_order_relaxed);
  const DiskGate::Turn turn(gate_, vm_ == VmId{} && purpose ? purpose->vm : vm_,
                            purpose ? purpose->io_class : flushes_.on_write(), data.size());
  return file_->write(offset, data);
}

Status GatedFile::flush() {
  const DiskGate::Purpose* const purpose = DiskGate::Purpose::current();
  if (!purpose) flushes_.on_flush();
  const uint64_t bytes = unflushed_bytes_.exchange(0, std::memory_order_relaxed) + kFlushBytes;
  const DiskGate::Turn turn(gate_, vm_, purpose ? purpose->io_class : IoClass::kCritical, bytes);
  return file_->flush();
}

Result<std::unique_ptr<StorageFile>> GatedFolder::open(const std::string& name, bool create) {
  FR_TRY(auto file, folder_->open(name, create));
  if (!name.ends_with(".data")) return file;
  return std::make_unique<GatedFile>(std::move(file), gate_, vm_);
}

}  // namespace forerun::daemon
