#include "daemon/tier_store.h"

#include "core/log.h"
#include "core/time.h"
#include "daemon/gated_folder.h"
#include "os/file.h"

namespace forerun::daemon {

namespace {
constexpr size_t kChunksPerTurn = 32;
constexpr Nanos kIdlePause = 50ms;
}  // namespace

Result<std::unique_ptr<TierStore>> TierStore::open(tier::TierOptions options,
                                                   const std::string& folder, DiskGate& gate) {
  std::unique_ptr<StorageFile> data;
  std::unique_ptr<StorageFile> index;
  if (options.file_bytes_max > 0) {
    FR_CHECK(os::make_folders(folder));
    FR_TRY(auto file, os::PosixFile::open(folder + "/data", os::PosixFile::Mode::kCreate));
    data = std::make_unique<GatedFile>(std::move(file), gate, VmId{});
    FR_TRY(index, os::PosixFile::open(folder + "/index", os::PosixFile::Mode::kCreate));
  }
  FR_TRY(auto tier, tier::Tier::open(options, std::move(data), std::move(index)));
  return std::unique_ptr<TierStore>(new TierStore(std::move(tier)));
}

TierStore::TierStore(std::unique_ptr<tier::Tier> tier)
    : tier_(std::move(tier)), writer_([this] { write_back(); }) {}

TierStore::~TierStore() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stop_changed_.notify_all();
  writer_.join();
  if (const auto synced = tier_->sync(); !synced)
    log::warn("the tier's file is not complete; the next start is less warm: {}",
              synced.error().message);
}

void TierStore::write_back() {
  const DiskGate::Purpose purpose(VmId{}, iosched::IoClass::kBackground);
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    lock.unlock();
    // A failure is the tier's to report and to live with: it goes on in memory.
    const auto written = tier_->write_back(kChunksPerTurn);
    lock.lock();
    if (!written || *written == 0)
      stop_changed_.wait_for(lock, kIdlePause, [&] { return is_stopping_; });
  }
}

}  // namespace forerun::daemon
