// The two halves of migrate/ as a pipe's filters.
#pragma once

#include <atomic>

#include "daemon/migration_pipe.h"
#include "migrate/memory_receiver.h"
#include "migrate/memory_sender.h"

namespace forerun::daemon {

// At the source.
class SenderFilter final : public MigrationFilter {
 public:
  SenderFilter(migrate::MemorySender::Options options, migrate::MemoryProfile profile,
               const Clock& clock)
      : sender_(std::move(options), std::move(profile), clock) {}

  Status begin(Output& out) override;
  Status from_qemu(ByteView bytes, Output& out) override;
  Status from_peer(ByteView bytes, Output& out) override;
  bool has_ticks() const override { return true; }
  Status tick(Output& out) override;

  // Thread-safe, unlike the rest. Returns whether every page was sent once.
  bool first_pass_is_done() const { return first_pass_is_done_.load(); }
  // Thread-safe: no page is told by reference from now on. Returns whether the target has those
  // that were; ask again until it is so, before the guest goes over.
  bool settle() {
    stops_references_ = true;
    return is_settled_.load();
  }
  // REQUIRES: nobody calls anything else meanwhile.
  migrate::SenderStats stats() const { return sender_.stats(); }

 private:
  void look();

  migrate::MemorySender sender_;
  std::atomic<bool> first_pass_is_done_{false}, stops_references_{false}, is_settled_{false};
};

// At the target.
class ReceiverFilter final : public MigrationFilter {
 public:
  // `known`: pages that are here already, may be null; outlives this.
  explicit ReceiverFilter(migrate::KnownPages* known) : receiver_({.known = known}) {}
  Status from_qemu(ByteView bytes, Output& out) override {
    return receiver_.from_qemu_return(bytes, out.to_peer);
  }
  Status from_peer(ByteView bytes, Output& out) override {
    FR_CHECK(receiver_.from_peer(bytes, out.to_qemu));
    receiver_.answer(out.to_peer);
    return {};
  }

 private:
  migrate::MemoryReceiver receiver_;
};

}  // namespace forerun::daemon
