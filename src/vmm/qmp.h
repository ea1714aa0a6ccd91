// QEMU's control protocol over its unix socket. SOURCE: QEMU docs/interop/qmp-spec.txt.
#pragma once

#include <memory>
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
};

struct QmpBlockDevice {
  std::string qdev;  // path or id of the guest's device
  std::string node_name;
  bool io_error = false;  // the guest was told of an I/O error, or waits because of one
};

// One thread. QEMU serves one client of a socket at a time: keep a client only while it is needed.
class QmpClient {
 public:
  // Connects and leaves the negotiation mode. `timeout` then bounds each wait for QEMU to send
  // something.
  static Result<std::unique_ptr<QmpClient>> connect(const std::string& path, Nanos timeout);
  static Result<std::unique_ptr<QmpClient>> start(std::unique_ptr<os::ByteStream> stream,
                                                  QmpLimits limits = {});

  // Returns the answer's "return" member as JSON text; events in between are skipped. `arguments`
  // is a JSON object or empty. ERRORS: kInvalid with QEMU's own words if it refuses; kCorrupt,
  // kTooLarge if it does not speak QMP; kTimedOut, kUnavailable. After any but kInvalid the client
  // is of no further use.
  Result<std::string> execute(std::string_view command, std::string_view arguments = {});

  Result<std::string> run_state();  // "running", "paused", "prelaunch", "shutdown", …
  Result<std::vector<QmpBlockDevice>> block_devices();
  Status resume();      // cont
  Status power_down();  // presses the ACPI button; returns at once
  Status quit();        // QEMU may be gone before it answers: that is success

 private:
  QmpClient(std::unique_ptr<os::ByteStream> stream, QmpLimits limits)
      : stream_(std::move(stream)), limits_(limits) {}
  Result<std::string> read_line();

  std::unique_ptr<os::ByteStream> stream_;
  QmpLimits limits_;
  std::string pending_;  // received, not yet consumed
};

}  // namespace forerun::vmm
