#include "daemon/take_back.h"

#include <unistd.h>

#include "migrate/stand_in_target.h"
#include "os/socket.h"

namespace forerun::daemon {
namespace {

constexpr Nanos kPatience = std::chrono::seconds(20);  // without any progress
constexpr Nanos kSocketTimeout = std::chrono::seconds(10);

// The stream was cut: QEMU asks over another one what the target has, and is told: all.
Status stand_in(const TakeBack& with) {
  FR_TRY(const auto known, with.qemu.memory_blocks());
  std::vector<migrate::RamBlock> blocks;
  for (const vmm::MemoryBlock& block : known) blocks.push_back({block.name, block.used_bytes});
  migrate::StandInTarget target(std::move(blocks));
  FR_TRY(const os::Fd listener, os::listen_unix(with.socket_path));
  const auto talk = [&]() -> Status {
    FR_CHECK(with.qemu.start(with.socket_path, true));
    FR_TRY(os::Fd fd, os::accept_connection(listener.get(), kSocketTimeout));
    os::SocketStream stream(std::move(fd));
    FR_CHECK(stream.set_timeout(kSocketTimeout));
    Buffer chunk(64 * kKiB), answer;
    while (!target.is_at_end()) {
      FR_TRY(const size_t got, stream.read_some(chunk));
      if (got == 0) return fail(ErrorCode::kUnavailable, "QEMU ended its stream");
      answer.clear();
      FR_CHECK(target.feed(ByteView(chunk).first(got), answer));
      if (!answer.empty()) FR_CHECK(stream.write_bytes(answer));
    }
    answer.clear();
    migrate::write_all_arrived(answer);
    FR_CHECK(stream.write_bytes(answer));
    // QEMU closes it once it has read that.
    [[maybe_unused]] const auto closed = stream.read_some(chunk);
    return {};
  };
  Status talked = talk();
  ::unlink(with.socket_path.c_str());
  if (!talked) return std::unexpected(std::move(talked.error()).within("QEMU cannot be resumed"));
  return {};
}

}  // namespace

Status take_back(const TakeBack& with) {
  if (!with.may_cancel && with.pipe) with.pipe->throw_away();
  if (with.may_cancel) FR_CHECK(with.qemu.cancel());
  Time deadline = with.clock.now() + kPatience;
  bool has_stood_in = false;
  uint64_t left = 0;
  for (;;) {
    FR_TRY(const auto status,
           with.may_cancel ? with.qemu.status_of_cancelled() : with.qemu.status());
    if (status.is_over() || status.state == "none") break;
    if (with.clock.now() > deadline)
      return fail(ErrorCode::kTimedOut,
                  fmt::format("QEMU does not end its migration: {}", status.state));
    if (std::exchange(left, status.remaining_bytes) != status.remaining_bytes)
      deadline = with.clock.now() + kPatience;
    if (status.state == "postcopy-paused" && !has_stood_in) {
      has_stood_in = true;
      FR_CHECK(stand_in(with));
    } else if (!with.may_cancel && with.pipe) {
      with.pipe->say_if_all_arrived();
    }
    with.wait();
  }
  return with.qemu.run_on([&] { return with.clock.now() < deadline; });
}

}  // namespace forerun::daemon
