// A VM's disk as an export serves it: the virtual disk, with the fetch service for what is missing,
// observed on the way.
#pragma once

#include <memory>

#include "api/service.h"
#include "core/time.h"
#include "daemon/disk_pull.h"
#include "daemon/fetch_service.h"
#include "daemon/foresight.h"
#include "daemon/image_catalog.h"
#include "daemon/pull_foresight.h"
#include "daemon/recorder.h"
#include "daemon/stall_meter.h"
#include "disk/block_device.h"
#include "disk/frozen_overlay.h"
#include "disk/request_log.h"
#include "disk/virtual_disk.h"
#include "disk/write_tracker.h"

namespace forerun::daemon {

// Thread-safe.
class ServedDisk final : public disk::BlockDevice, public std::enable_shared_from_this<ServedDisk> {
 public:
  struct What {
    ImageCatalog::LayoutPtr layout;
    std::unique_ptr<StorageFolder> folder;  // of the overlay; null: read-only
    uint64_t owner_token = 0;
    uint64_t boot_token = 0;  // names this boot of the host; see disk::Overlay::Options
    VmId vm{};
    bool is_observed = true;
    uint64_t size_bytes = 0;  // larger than the image; 0: as it is
    std::string tenant;       // empty: of its own
  };
  static Result<std::shared_ptr<ServedDisk>> open(What what, const Clock& clock, tier::Tier& tier,
                                                  FetchService& fetches, Foresight& foresight);

  ~ServedDisk() override;
  uint64_t size_bytes() const override;
  bool is_read_only() const override;
  void on_request(bool is_write, ByteRange range) noexcept override;
  Result<bool> try_read(ByteRange range, disk::ReadSlices& out) override;
  Status read(ByteRange range, disk::ReadSlices& out) override;
  Status write(uint64_t offset, ByteView data, bool fua) override;
  Status write_zeroes(ByteRange range, bool may_punch, bool fua) override;
  Status trim(ByteRange range, bool fua) override;
  Status flush() override;
  Status block_status(ByteRange range, size_t extents_max,
                      std::vector<disk::StatusExtent>& out) override;

  // Notes every request that comes from now on in `recording`, in the place of an earlier one,
  // until that ends; it ends with the disk.
  void record_to(std::shared_ptr<Recording> recording);

  // What was written since who makes checkpoints asked last; null: it cannot write.
  disk::WriteTracker* written() const { return written_.get(); }
  // The checkpoint since which that is; 0: none. For who makes them alone.
  uint64_t& checkpoint_known() { return checkpoint_known_; }

  // ---- A VM that moves. At the host that it leaves:
  // The VM has stopped. Makes its overlay durable, refuses writes from now on, and gives what the
  // other host reads it by, which holds this disk. `pull_id`, not 0, names this freeze. ERRORS:
  // kUnavailable: blocks are still at yet another host; kUnsupported: it is read-only; of a flush.
  Result<std::shared_ptr<disk::OverlaySource>> freeze(uint64_t pull_id);
  // The VM stays after all: writes are taken again. REQUIRES: no other host has begun to run it.
  void thaw() { is_frozen_ = false; }

  // At the host that it comes to, before it runs: the blocks in `contents` are still over there.
  // Durable on return. ERRORS: kInvalid: of another disk; as Overlay::begin_pull.
  Status begin_pull(const disk::OverlayContents& contents);
  // Where they come from, after begin_pull, or after this daemon was started again and found a pull
  // that had not ended, or instead of a source that is no use any more. `on_finished`:
  // see DiskPull::start.
  void start_pull(std::shared_ptr<disk::OverlaySource> source, std::function<void()> on_finished);
  // Returns the freeze that its blocks come from; 0: all are here.
  uint64_t pull_id() const;
  std::optional<DiskPull::Progress> pull_progress() const;  // nothing: it was never pulled
  // Ends the waits for blocks of the other host: the guest is gone.
  void abandon_pull();

  // The VM's own writes; null: it cannot write.
  disk::Overlay* overlay() const { return disk_->overlay(); }

  struct Figures {
    api::VmStats stats;  // what the disk itself and the tier know
  };
  Figures figures() const;

 private:
  ServedDisk(What what, std::unique_ptr<disk::VirtualDisk> virtual_disk, const Clock& clock,
             FetchService& fetches, Foresight& foresight);
  void observe(const std::vector<disk::Touch>& touches, trace::Op op, uint32_t waited_us);
  // Only where it begins: what is written is of no use to anyone, that it was tells of the guest.
  void observe_write(uint64_t offset, uint64_t size_bytes);
  // Waits for what `work` says is not here; `pins` then holds the chunks.
  Status wait_for(const disk::DiskWork& work, disk::Pins& pins);
  Status prepare_write(ByteRange range, disk::Pins& pins);
  DiskPull& make_pull();
  void foresee_pull(std::vector<disk::LoggedRequest> before);

  const What what_;
  const std::unique_ptr<disk::VirtualDisk> disk_;
  const Clock& clock_;
  FetchService& fetches_;
  Foresight& foresight_;
  const Time started_;
  StallMeter stalls_;
  std::atomic<bool> is_frozen_{false};
  std::atomic<DiskPull*> pull_{nullptr};
  std::unique_ptr<DiskPull> own_pull_;  // set once, before any block is remote
  std::atomic<PullForesight*> pull_foresight_{nullptr};
  std::unique_ptr<PullForesight> own_pull_foresight_;  // set once
  std::unique_ptr<disk::WriteTracker> written_;        // null: read-only
  uint64_t checkpoint_known_ = 0;
  std::unique_ptr<disk::RequestLog> requests_;  // null: read-only
  std::atomic<bool> is_recorded_{false};        // or was; spares the rest the other one
  std::atomic<std::shared_ptr<Recording>> recording_;
  std::atomic<uint64_t> reads_{0}, writes_{0}, read_bytes_{0}, written_bytes_{0}, demand_bytes_{0};
};

}  // namespace forerun::daemon
