// What an open overlay is made of; for overlay*.cpp only.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "disk/block_map.h"
#include "disk/live_map.h"
#include "disk/overlay.h"
#include "disk/overlay_journal.h"
#include "disk/range_lock.h"

namespace forerun::disk {

struct Overlay::Impl {
  Impl(StorageFolder& folder_in, std::string name_in, Options options_in)
      : folder(folder_in),
        name(std::move(name_in)),
        options(options_in),
        map(round_up(options_in.size_bytes, kOverlayBlockSize) / kOverlayBlockSize) {}

  Status open();
  Status begin_pull(uint64_t id, std::span<const BlockRun> runs);
  OverlayJournal::Options journal_options() const;
  Status end_pull();
  Status put_remote(uint64_t offset, ByteView arrived);
  Status open_data(bool map_is_new);
  Status open_live();
  Status rewrite_data();
  Status rewrite_run(const BlockRun& run);

  ByteRange bytes_of(uint64_t block) const {
    return intersect({block * kOverlayBlockSize, kOverlayBlockSize}, {0, options.size_bytes});
  }
  Status put(uint64_t offset, ByteView data, const ReadBase& read_base);
  Status put_zeroes(ByteRange range, const ReadBase& read_base);
  Status fill_around(uint64_t block, ByteRange written, const ReadBase& read_base);
  Status write_data(uint64_t offset, ByteView data);
  Status change(uint64_t first, uint64_t end, BlockState state);
  Status punch(ByteRange blocks);

  // Has the journal to itself, as a flush has, while it lives.
  class Turn {
   public:
    explicit Turn(Impl& impl);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Impl& impl_;
  };
  Status flush();
  Status flush_files();
  Status flush_data();
  Status commit(std::span<const BlockRun> changed, ByteView snapshot, bool rewrite);
  Status give_up(Error error, std::string_view attempted);

  StorageFolder& folder;
  const std::string name;
  const Options options;
  BlockMap map;
  RangeLock locks;
  std::unique_ptr<StorageFile> data;
  std::unique_ptr<LiveMap> live;            // null without a boot token
  std::unique_ptr<OverlayJournal> journal;  // used by the one running flush
  // From the beginning: what a killed predecessor wrote has yet to be flushed.
  std::atomic<bool> is_data_dirty{true};
  std::atomic<uint64_t> journal_bytes{0};
  std::atomic<uint64_t> pull_id{0};
  std::atomic<bool> ends_pull{false};  // by the next flush
  std::atomic<uint64_t> rewrites{0};

  mutable std::mutex flush_mutex;  // guards what follows; not held while a flush runs
  std::condition_variable flush_ended;
  bool is_flushing = false;
  uint64_t flushes_begun = 0;
  uint64_t flushes_ended = 0;
  uint64_t last_good_flush = 0;
  uint64_t flush_calls = 0;
  std::optional<Error> last_error;  // of the last flush that failed
  std::optional<Error> given_up;    // set once: no flush is acknowledged any more
};

}  // namespace forerun::disk
