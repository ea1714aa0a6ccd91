#include "daemon/gated_folder.h"

#include <algorithm>

namespace forerun::daemon {
namespace {

using iosched::IoClass;

// What a flush counts as, beside what it writes: the disk works on nothing else meanwhile.
constexpr uint64_t kFlushBytes = 64 * kKiB;

}  // namespace

template <class View>
Status GatedFile::in_turns(IoClass io_class, View bytes, auto&& act) {
  const DiskGate::Purpose* const purpose = DiskGate::Purpose::current();
  const VmId vm = vm_ == VmId{} && purpose ? purpose->vm : vm_;
  if (purpose) io_class = purpose->io_class;
  for (uint64_t done = 0;;) {
    const uint64_t length = std::min<uint64_t>(bytes.size() - done, gate_.turn_bytes_max(vm));
    const DiskGate::Turn turn(gate_, {vm, io_class, length});
    FR_CHECK(act(done, bytes.subspan(done, length)));
    done += length;
    if (done == bytes.size()) return {};
  }
}

Status GatedFile::read(uint64_t offset, MutableByteView out) {
  return in_turns(IoClass::kCritical, out, [&](uint64_t from, MutableByteView part) {
    return file_->read(offset + from, part);
  });
}

Status GatedFile::write(uint64_t offset, ByteView data) {
  const IoClass io_class = DiskGate::Purpose::current() ? IoClass::kPrefetch : flushes_.on_write();
  unflushed_bytes_.fetch_add(data.size(), std::memory_order_relaxed);
  return in_turns(io_class, data,
                  [&](uint64_t from, ByteView part) { return file_->write(offset + from, part); });
}

// The bytes that it makes durable have counted as the VM's rate when they were written.
Status GatedFile::flush() {
  const DiskGate::Purpose* const purpose = DiskGate::Purpose::current();
  if (!purpose) flushes_.on_flush();
  const uint64_t bytes = unflushed_bytes_.exchange(0, std::memory_order_relaxed) + kFlushBytes;
  const DiskGate::Turn turn(gate_,
                            {vm_, purpose ? purpose->io_class : IoClass::kCritical, bytes, 0});
  return file_->flush();
}

Result<std::unique_ptr<StorageFile>> GatedFolder::open(const std::string& name, bool create) {
  FR_TRY(auto file, folder_->open(name, create));
  if (!name.ends_with(".data")) return file;
  return std::make_unique<GatedFile>(std::move(file), gate_, vm_);
}

}  // namespace forerun::daemon
