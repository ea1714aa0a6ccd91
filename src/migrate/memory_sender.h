// The source's half of a proxy between two unmodified QEMUs: takes what the source's QEMU writes,
// and tells the receiver (memory_receiver.h) the same in fewer bytes; hands the target's requests
// to the source's QEMU, with requests of its own among them.
//
// Two things make the guest wait less at the target than QEMU alone:
// - A page that will be written again (WorkingSet) is kept by both sides as it was first sent, so
//   that after the switch only its difference travels. Or, where differences are no smaller than
//   pages, it is held back here until the switch, and travels once instead of twice.
// - From the switch on, the pages that the guest will touch are asked for before it does
//   (page_injector.h).
#pragma once

#include <string>
#include <unordered_set>

#include "migrate/batch_codec.h"
#include "migrate/memory_frames.h"
#include "migrate/memory_profile.h"
#include "migrate/page_injector.h"
#include "migrate/return_path.h"
#include "migrate/working_set.h"

namespace forerun::migrate {

// What to do with pages that will be written again.
enum class HotPages : uint8_t {
  kSend,  // as any other
  kKeep,  // sent, and kept by both sides for differences
  kHold,  // held back until the switch; for migrations that switch to post-copy. Should the guest
          // fall idle, QEMU ends in pre-copy, and what is held is sent while the guest stands still
};

// Returns what the profile speaks for, in a migration that switches to post-copy.
HotPages hot_pages_for(const MemoryProfile& profile);

struct SenderRound {
  uint64_t pages = 0;       // from QEMU
  uint64_t peer_bytes = 0;  // to the receiver
  Nanos took{};
  bool operator==(const SenderRound&) const = default;
};

struct SenderStats {
  enum class Phase : uint8_t { kBegin, kPreCopy, kPostCopy, kEnded };
  Phase phase = Phase::kBegin;
  uint64_t pages_total = 0;  // of the guest
  uint64_t pages_seen = 0;   // of them, those that QEMU sent at least once
  uint64_t pages = 0;        // from QEMU, each time
  uint64_t filled = 0, recent = 0, deltas = 0, whole = 0;  // as what they went to the receiver
  uint64_t known = 0;                                      // by reference to what the target has
  uint64_t known_failed = 0;  // of them, those that it had not after all: sent again, otherwise
  uint64_t delta_bytes = 0;
  uint64_t held = 0;        // held back just now
  uint64_t held_stale = 0;  // that were held back and written again: sent once, not twice
  uint64_t kept = 0;        // just now, for differences
  uint64_t qemu_bytes = 0, peer_bytes = 0;
  uint64_t batches = 0, plain_bytes = 0, packed_bytes = 0;
  std::array<uint64_t, kBatchCodecs> batches_by_codec{};
  double link_bytes_per_s = 0;      // as it is reckoned with
  std::vector<SenderRound> rounds;  // of pre-copy, those that ended; the first kRoundsMax
  InjectorStats injector;
  static constexpr size_t kRoundsMax = 64;
};

struct SenderOutput {
  Buffer to_peer;  // frames, in order
  Buffer to_qemu;  // return path of the source's QEMU, in order
};

// One thread, or a mutex around each call. Memory: the tables of TableLimits, pages held back,
// those of KnownReferences, and 4 bits and a byte a page of the guest. After an error nothing more
// may be fed but resume().
class MemorySender {
 public:
  struct Options {
    TableLimits tables;  // at most the receiver's
    HotPages hot = HotPages::kSend;
    // It will switch to post-copy when first_pass_is_done(). Then a page that comes again before is
    // not sent, but held back: it will be written once more, and what is under way, small as it is
    // on the link, the target must take in before it can run.
    bool switches = false;
    size_t held_pages_max = 65536;  // 256 MiB
    bool compress = true;
    bool inject = true;
    double link_bytes_per_s = 0;  // if known; otherwise it is told from how fast output is taken
    PageInjector::Options injector;
    // What the target said that it has. Pages of the first pass are told by reference to it. A
    // stream that goes over with references that are not settled ends with an error: is_settled().
    std::vector<PageHash> known;
  };
  // `clock` times codecs. `profile`: may be empty.
  MemorySender(Options options, MemoryProfile profile, const Clock& clock);
  ~MemorySender();

  // No page is told by reference from now on; by itself so once the first pass is done.
  void stop_references();
  // Returns whether none will be, and the target has what was: the guest may go over.
  bool is_settled() const;

  // Appends what the receiver hears first. Call once, before all else.
  void begin(SenderOutput& out);
  // Takes the next bytes of QEMU's forward stream; those before were taken by the link. ERRORS: of
  // StreamReader::feed: then nothing of it was sent.
  Status from_qemu(ByteView stream, SenderOutput& out);
  // Takes the next bytes of the return path from the receiver. ERRORS: of ReturnPathReader::feed.
  Status from_peer(ByteView return_path, SenderOutput& out);
  // Call every few milliseconds from the switch on.
  Status tick(SenderOutput& out);
  // QEMU's stream has ended. ERRORS: kCorrupt: amid something.
  Status finish() const;

  // The link was cut, both QEMUs paused, and a new stream of QEMU's begins over a new connection,
  // whose receiver is the same or has been resumed, too. REQUIRES: the switch had happened.
  Status resume(SenderOutput& out);

  // What the link carries, where the caller knows better.
  void set_link_rate(double bytes_per_s);
  // Returns whether now is the time to switch to post-copy: every page was sent once, and those
  // that were told by reference are there. A guest that writes next to nothing may end in pre-copy
  // before.
  bool first_pass_is_done() const;
  bool is_postcopy() const;
  SenderStats stats() const;
  // Returns the pages that the guest asked for, in order, the first 65536: what a later migration
  // of it may begin with.
  const std::vector<PageKey>& fault_log() const;
  const std::vector<RamBlock>& blocks() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::migrate
