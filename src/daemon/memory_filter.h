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
      : sender_(options, std::move(profile), clock) {}

  Status begin(Output& out) override;
  Status from_qemu(ByteView bytes, Output& out) override;
  Status from_peer(ByteView bytes, Output& out) override;
  bool has_ticks() const override { return true; }
  Status tick(Output& out) override;

  // Thread-safe, unlike the rest. Returns whether every page was sent once.
  bool first_pass_is_done() const { return first_pass_is_done_.load(); }
  // REQUIRES: nobody calls anything else meanwhile.
  migrate::SenderStats stats() const { return sender_.stats(); }

 private:
  migrate::MemorySender sender_;
  std::atomic<bool> first_pass_is_done_{false};
};

// At the target.
class ReceiverFilter final : public MigrationFilter {
 public:
  ReceiverFilter() : receiver_({}) {}
  Status from_qemu(ByteView bytes, Output& out) override {
    return receiver_.from_qemu_return(bytes, out.to_peer);
  }
  Status from_peer(ByteView bytes, Output& out) override {
    return receiver_.from_peer(bytes, out.to_qemu);
  }

 private:
  migrate::MemoryReceiver receiver_;
};

}  // namespace forerun::daemon
