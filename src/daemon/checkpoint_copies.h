// How copies of checkpoints get to other hosts: what the other one lacks of a checkpoint's chunks
// goes over a connection of its own. docs/format_peer.md, docs/checkpoints.md.
#pragma once

#include <functional>
#include <string>

#include "core/time.h"
#include "daemon/checkpoint_store.h"
#include "daemon/migration_messages.h"

namespace forerun::daemon {

struct CopyFigures {
  uint64_t chunks = 0, chunks_sent = 0;
  uint64_t sent_bytes = 0;  // of chunks
};

struct CopyControl {
  uint64_t rate_bytes_per_s = 0;  // at most; 0: as fast as the link is
  std::function<bool()> should_stop;
  std::function<bool(Nanos)> wait;  // false: the daemon is stopping
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> report;
};

// Sends a checkpoint of ours. ERRORS: what the other host says; of the connection, of the store.
Result<CopyFigures> send_checkpoint(net::PeerConnection& connection, CheckpointStore& store,
                                    const std::string& vm, uint64_t number,
                                    const CopyControl& control, const Clock& clock);

// Takes one in that `host` asks this host to keep, with `asked`.
Status receive_checkpoint(net::PeerConnection& connection, CheckpointStore& store,
                          const std::string& host, const PeerMessage& asked);

}  // namespace forerun::daemon
