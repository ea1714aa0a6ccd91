// Files whose I/O takes turns at a disk's gate: those of a VM's overlay, that of the tier.
#pragma once

#include <memory>
#include <string>

#include "core/id.h"
#include "core/storage_file.h"
#include "daemon/disk_gate.h"
#include "iosched/flush_watch.h"

namespace forerun::daemon {

// A file whose reads somebody waits for, and whose writes so far as flushes tell (flush_watch.h),
// unless the thread's DiskGate::Purpose says otherwise. As thread-safe as `file`.
class GatedFile final : public StorageFile {
 public:
  // `gate` outlives this. `vm`: whose file it is; none: whose the thread's purpose says.
  GatedFile(std::unique_ptr<StorageFile> file, DiskGate& gate, VmId vm)
      : file_(std::move(file)), gate_(gate), vm_(vm) {}

  Status read(uint64_t offset, MutableByteView out) override;
  Status write(uint64_t offset, ByteView data) override;
  Status flush() override;
  Status punch(ByteRange range) override { return file_->punch(range); }
  Status resize(uint64_t size) override { return file_->resize(size); }
  Result<uint64_t> size() override { return file_->size(); }

 private:
  // Calls act(from, part) for all of `bytes`, each part in a turn.
  template <class View>
  Status in_turns(iosched::IoClass io_class, View bytes, auto&& act);

  const std::unique_ptr<StorageFile> file_;
  DiskGate& gate_;
  const VmId vm_;
  iosched::FlushWatch flushes_;
  std::atomic<uint64_t> unflushed_bytes_{0};
};

// A folder whose data files (NAME.data) are gated; its journals, which are small and which a flush
// waits for, are not.
class GatedFolder final : public StorageFolder {
 public:
  GatedFolder(std::unique_ptr<StorageFolder> folder, DiskGate& gate, VmId vm)
      : folder_(std::move(folder)), gate_(gate), vm_(vm) {}

  Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) override;
  bool exists(const std::string& name) override { return folder_->exists(name); }
  Status replace(const std::string& from, const std::string& to) override {
    return folder_->replace(from, to);
  }
  Status remove(const std::string& name) override { return folder_->remove(name); }

 private:
  const std::unique_ptr<StorageFolder> folder_;
  DiskGate& gate_;
  const VmId vm_;
};

}  // namespace forerun::daemon
