// The target's half of a proxy between two unmodified QEMUs: turns what a sender (memory_sender.h)
// tells back into QEMU's stream, and passes on what the target's QEMU asks for. Nothing reaches
// QEMU that a reader of its stream does not accept, whoever the peer is.
#pragma once

#include <memory>

#include "migrate/memory_frames.h"
#include "migrate/return_path.h"
#include "migrate/stream_reader.h"

namespace forerun::migrate {

struct ReceiverStats {
  uint64_t peer_bytes = 0;    // from the sender
  uint64_t qemu_bytes = 0;    // to QEMU
  uint64_t pages = 0;         // to QEMU
  uint64_t requests = 0;      // of the target's QEMU: pages its guest waited for
  uint64_t known = 0;         // pages that were here already
  uint64_t known_failed = 0;  // that were said to be, but could not be read
  bool is_postcopy = false;
  bool is_complete = false;  // QEMU's stream has come to its end
  bool operator==(const ReceiverStats&) const = default;
};

// One thread, or a mutex around each call. Memory: the tables of TableLimits as the sender asks for
// them, at most Options::tables, and 4 MiB. After an error nothing more may be fed.
class MemoryReceiver {
 public:
  struct Options {
    TableLimits tables;  // at most; a sender that wants more is refused
    // The pages that the sender was told are here; null: none. Outlives the receiver.
    KnownPages* known = nullptr;
  };
  explicit MemoryReceiver(Options options);
  ~MemoryReceiver();

  // Takes the next bytes from the sender, and appends those for the target's QEMU. ERRORS:
  // kCorrupt, kUnsupported, kTooLarge: the peer is no sender, or another version's; the guest at
  // the source is unharmed unless it had switched.
  Status from_peer(ByteView frames, Buffer& to_qemu);
  // Takes the next bytes of the return path from the target's QEMU, and appends those for the
  // sender: the same, but every request names its block.
  Status from_qemu_return(ByteView return_path, Buffer& to_peer);
  // Appends what the sender is to hear of what came: where the last call's bytes, or those before,
  // had pages by reference.
  void answer(Buffer& to_peer);
  // A new connection after a cut, and the sender's resume(): what comes begins with a hello.
  void resume();

  ReceiverStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::migrate
