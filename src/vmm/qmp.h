// QEMU's control protocol over its unix socket. SOURCE: QEMU docs/interop/qmp-spec.txt.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "os/socket.h"

namespace forerun::vmm {

struct QmpLimits {
  size_t line_bytes_max = 1 << 20;
  size_t events_skipped_max = 10'000;  // while one answer is awaited
  size_t events_kept_max = 256;        // the newest, until they are taken
};

struct QmpEvent {
  std::string name;    // "STOP", "MIGRATION", …
  std::string status;  // of those that tell one
  Nanos at{};          // when it happened, as QEMU says: since 1970; 0: it does not say
  bool operator==(const QmpEvent&) const = default;
};

struct QmpBlockDevice {
  std::string qdev;  // path or id of the guest's device
  std::string node_name;
  bool io_error = false;  // the guest was told of an I/O error, or waits because of one
};

// One thread. QEMU serves one client of a socket at a time: keep a client only while it is needed.
class QmpClient {
 public:
  // Returns whether it is worth while to wait on for an answer.
  using MayWait = std::function<bool()>;

  // Connects and leaves the negotiation mode. `timeout` then bounds each wait for QEMU to send
  // something; with `may_wait`, which is asked every few milliseconds, a wait ends earlier.
  static Result<std::unique_ptr<QmpClient>> connect(const std::string& path, Nanos timeout,
                                                    MayWait may_wait = {});
  static Result<std::unique_ptr<QmpClient>> start(std::unique_ptr<os::ByteStream> stream,
                                                  QmpLimits limits = {});
  // Of a monitor that an earlier client has negotiated with, and that has had no end since.
  static std::unique_ptr<QmpClient> go_on(std::unique_ptr<os::ByteStream> stream,
                                          QmpLimits limits = {});

  // Returns the answer's "return" member as JSON text; events in between are kept, and answers to
  // what others asked skipped. `arguments` is a JSON object or empty. ERRORS: kInvalid with QEMU's
  // own words if it refuses; kCorrupt, kTooLarge if it does not speak QMP; kTimedOut, kUnavailable.
  // After any but kInvalid the client is of no further use.
  Result<std::string> execute(std::string_view command, std::string_view arguments = {});
  // Has QEMU do it even while its main loop stands still. REQUIRES: a command that can be (they are
  // few: migrate-recover, migrate-pause), and allow_out_of_band() in the monitor's life.
  Result<std::string> execute_out_of_band(std::string_view command, std::string_view arguments);
  // Negotiates with a monitor on which QEMU has just said its greeting.
  Status allow_out_of_band();
  // Waits until there is an event that was not taken, at most so long. Returns whether there is.
  Result<bool> wait_for_event(Nanos timeout);
  // Returns what QEMU has told so far and was not taken, in order; waits for nothing. ERRORS: as
  // execute().
  Result<std::vector<QmpEvent>> take_events();

  Result<std::string> run_state();  // "running", "paused", "prelaunch", "shutdown", …
  Result<std::vector<QmpBlockDevice>> block_devices();
  Status resume();      // cont
  Status power_down();  // presses the ACPI button; returns at once
  Status quit();        // QEMU may be gone before it answers: that is success

 private:
  QmpClient(std::unique_ptr<os::ByteStream> stream, QmpLimits limits);
  // Negotiates; `arguments` as of qmp_capabilities.
  Status greet(std::string_view arguments);
  Result<std::string> ask(std::string_view verb, std::string_view command,
                          std::string_view arguments);
  Result<std::string> read_line();
  // Takes in the whole lines that were received.
  Status read_pending();
  void keep(QmpEvent event);
  Result<size_t> read_some(MutableByteView out);

  std::unique_ptr<os::ByteStream> stream_;
  QmpLimits limits_;
  MayWait may_wait_;
  Nanos timeout_{};
  std::string pending_;  // received, not yet consumed
  std::deque<QmpEvent> events_;
  // Tells this client's commands from those of others: QEMU may still answer who went away.
  std::string name_;
  uint64_t asked_ = 0;
};

}  // namespace forerun::vmm
