// What two daemons say to each other about a VM that moves: JSON objects in the control channel.
// Which members a kind has: docs/format_peer.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"
#include "net/peer_connection.h"

namespace forerun::daemon {

inline constexpr int kPeerVersion = 1;
// What was learned of a VM travels with it up to so much; more stays behind.
inline constexpr uint64_t kHistoryBytesMax = 32 << 20;

enum class PeerMessageKind : uint8_t {
  kPing,       // → is anybody there
  kPong,       // ← yes
  kPrepare,    // → this VM comes: can it
  kPrepared,   // ← its QEMU waits
  kFrozen,     // → the guest has stopped: its own writes can be read
  kReady,      // ← all that is needed to run it is here
  kCommit,     // → it is yours: run it
  kRunning,    // ← it runs
  kProgress,   // ← so much of the disk is still to come
  kComplete,   // ← nothing is needed of the source any more
  kAbort,      // → it stays where it was
  kFailed,     // ↔ what was asked cannot be done, or the migration is over
  kResume,     // → the connection was cut after the commit: go on
  kResumed,    // ← this is what is missing
  kAsk,        // ← whose is the VM of this migration
  kOutcome,    // → this is
  kRelay,      // → what follows goes to a forwarded port of the VM
  kRelayed,    // ← it does
  kFleet,      // → how is your host used, and its VMs
  kFleetTold,  // ← so
  kOrder,      // → move a VM of yours, as the plan says
  kOrdered,    // ← it was
  kMeasure,    // → what does the link carry: pong, then data comes
  kMeasured,   // ← so much
  kReturned,   // ← it never ran here, and never will: it is the source's again
  kKeep,       // → keep this checkpoint of a VM of mine
  kLacks,      // ← these of its chunks are not here
  kKept,       // ← it is here, durably
  kDrop,       // → the VM is no more: keep none of it
  kDropped,    // ← none is kept
  kForesee,    // → a VM of yours is likely to move soon; pong is the answer
};
std::string_view peer_message_name(PeerMessageKind kind);

struct PeerMessage {
  PeerMessageKind kind = PeerMessageKind::kPing;
  int version = kPeerVersion;
  std::string id;      // of the migration
  std::string vm;      // its name
  std::string code;    // kFailed: error_code_name
  std::string text;    // for people
  std::string record;  // kPrepare: the VM's, as vmm::encode_vm_record writes it
  std::string qemu_version, machine;
  std::string kernel_digest, initrd_digest;  // of files that QEMU was started with
  uint64_t ownership = 0;
  uint64_t disk_bytes = 0;  // that have to travel
  uint64_t blocktime_ms = 0;
  uint64_t port = 0;              // of the host, that is forwarded
  uint64_t rate_bytes_per_s = 0;  // kMeasured; 0: too little came
  uint64_t history_bytes = 0;     // kPrepare: of what was learned of the VM, which follows
  // How long it took there: kReady: from kFrozen until the devices were loaded, and until it was
  // known what of the disk is missing; kRunning: from kCommit.
  uint64_t loaded_us = 0, disk_known_us = 0, took_us = 0;
  bool is_postcopy = false, is_decided = false, is_complete = false, has_memory = false;
  bool without_forwards = false;
  bool is_plain = false;          // QEMU's stream comes as it is
  bool takes_known = false;       // kPrepare: pages may be told by what the target has
  uint64_t known_pages = 0;       // kPrepared: whose hashes follow
  uint64_t checkpoint = 0;        // kKeep: its number
  uint64_t checkpoint_bytes = 0;  // kKeep: of its index, which follows

  bool operator==(const PeerMessage&) const = default;
};

std::string encode(const PeerMessage& message);
// ERRORS: kCorrupt: it is none; kUnsupported: of a version that is not known here.
Result<PeerMessage> parse_peer_message(std::string_view text);

Status send(net::PeerConnection& to, const PeerMessage& message);
// Returns the next message. ERRORS: also what a kFailed says; kCorrupt: it is of none of these
// kinds.
Result<PeerMessage> receive(net::PeerConnection& from, std::initializer_list<PeerMessageKind> kinds,
                            Nanos timeout);
// The same of one that was received.
Result<PeerMessage> expect(std::string_view text, std::initializer_list<PeerMessageKind> kinds);
PeerMessage failure_message(const Error& error);

}  // namespace forerun::daemon
