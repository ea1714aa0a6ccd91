#include "daemon/memory_dry_run.h"

#include <unistd.h>

#include "os/socket.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kCancelTimeout = std::chrono::seconds(20);
// Far above links: so that a round is short, and does not see as written what is not hot.
constexpr uint64_t kBytesPerSecond = 400'000'000;

// Reads what QEMU sends to `listener` into `sink` until that is enough.
Status read_into(migrate::ProfileSink& sink, const os::Fd& listener, Time deadline,
                 const Clock& clock, os::Fd& connection) {
  FR_TRY(connection, os::accept_connection(listener.get(), deadline - clock.now()));
  os::SocketStream stream(os::Fd(::dup(connection.get())));
  FR_CHECK(stream.set_timeout(deadline - clock.now()));
  Buffer chunk(256 * kKiB);
  while (!sink.is_enough() && clock.now() < deadline) {
    const auto got = stream.read_some(chunk);
    if (!got && got.error().code == ErrorCode::kTimedOut) return {};
    if (!got) return std::unexpected(got.error());
    if (*got == 0) return {};
    FR_CHECK(sink.feed(clock.now(), ByteView(chunk).first(*got)));
  }
  return {};
}

// Ends QEMU's migration, however it stands, with the guest running.
Status call_off(vmm::MigrationControl& qemu, const Clock& clock) {
  FR_CHECK(qemu.cancel());
  const Time deadline = clock.now() + kCancelTimeout;
  FR_TRY(auto status, qemu.status());
  while (!status.is_over() && status.state != "none" && clock.now() < deadline) {
    FR_TRY(status, qemu.status());
  }
  FR_TRY(const std::string state, qemu.run_state());
  return state == "running" ? Status() : qemu.resume();  // it had completed
}

}  // namespace

Result<migrate::MemoryProfile> dry_run(vmm::MigrationControl& qemu, const std::string& socket_path,
                                       Nanos patience, const Clock& clock) {
  FR_TRY(const os::Fd listener, os::listen_unix(socket_path));
  FR_CHECK(qemu.set_capabilities({"events"}));
  FR_CHECK(qemu.set_parameters({kBytesPerSecond, 1}));
  FR_CHECK(qemu.start(socket_path));
  migrate::ProfileSink sink;
  os::Fd connection;  // open until QEMU is told: it must not see its stream end
  const Status read = read_into(sink, listener, clock.now() + patience, clock, connection);
  ::unlink(socket_path.c_str());
  FR_CHECK(call_off(qemu, clock));
  FR_CHECK(read);
  return sink.take();
}

}  // namespace forerun::daemon
