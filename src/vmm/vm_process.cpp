#include "vmm/vm_process.h"

#include <csignal>

#include "core/bytes.h"
#include "os/clock.h"
#include "os/file.h"
#include "vmm/bridge.h"
#include "vmm/recovery_monitor.h"

namespace forerun::vmm {
namespace {

constexpr Nanos kQmpTimeout = std::chrono::seconds(10);

}  // namespace

std::string last_words(const std::string& output_path) {
  constexpr size_t kShownMax = 500;
  const auto file = os::PosixFile::open(output_path, os::PosixFile::Mode::kReadOnly);
  if (!file) return "(no output)";
  const auto size = (*file)->size();
  if (!size || *size == 0) return "(no output)";
  Buffer tail(std::min<uint64_t>(*size, kShownMax));
  if (!(*file)->read(*size - tail.size(), tail)) return "(no output)";
  std::string text(as_text(tail));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string_view stopped_by_name(StoppedBy how) {
  switch (how) {
    case StoppedBy::kItself:
      return "itself";
    case StoppedBy::kPowerDown:
      return "power_down";
    case StoppedBy::kQuit:
      return "quit";
    case StoppedBy::kTerminate:
      return "terminate";
    case StoppedBy::kKill:
      return "kill";
  }
  return "kill";
}

Result<VmProcess> VmProcess::launch(const QemuOptions& options, const std::string& output_path,
                                    Nanos timeout) {
  FR_TRY(std::vector<std::string> argv, qemu_argv(options));
  if (options.is_incoming) FR_CHECK(make_recovery_monitor(options.qmp_socket));
  FR_TRY(const os::ProcessId id, os::spawn_detached({std::move(argv), output_path, "/"}));
  const VmProcess vm(id, options.qmp_socket);
  const os::SystemClock clock;
  const Time deadline = clock.now() + timeout;
  while (true) {
    // Waiting for its end is how we sleep: an early death is seen at once.
    if (os::wait_for_end(id, 20ms)) {
      return fail(ErrorCode::kUnavailable, fmt::format("QEMU for VM '{}' ended at its start: {}",
                                                       options.name, last_words(output_path)));
    }
    if (QmpClient::connect(options.qmp_socket, kQmpTimeout)) {
      Status attached = options.bridge.empty() ? Status() : attach_to_bridge(options);
      if (attached) return vm;
      if (os::send_signal(id, SIGKILL)) os::wait_for_end(id, 5s);
      return std::unexpected(std::move(attached.error()));
    }
    if (clock.now() < deadline) continue;
    if (os::send_signal(id, SIGKILL)) os::wait_for_end(id, 5s);
    return fail(ErrorCode::kTimedOut,
                fmt::format("QEMU for VM '{}' did not answer within {} s: {}", options.name,
                            to_seconds(timeout), last_words(output_path)));
  }
}

Result<VmProcess> VmProcess::adopt(const os::ProcessId& process, const std::string& qmp_socket,
                                   Nanos timeout) {
  if (!os::is_alive(process)) {
    return fail(ErrorCode::kNotFound, fmt::format("process {} is gone", process.pid));
  }
  FR_TRY(const auto client, QmpClient::connect(qmp_socket, timeout));
  FR_CHECK(client->run_state());
  return VmProcess(process, qmp_socket);
}

Result<std::string> VmProcess::run_state() const {
  FR_TRY(const auto client, QmpClient::connect(qmp_socket_, kQmpTimeout));
  return client->run_state();
}

Status VmProcess::resume() const {
  FR_TRY(const auto client, QmpClient::connect(qmp_socket_, kQmpTimeout));
  return client->resume();
}

Result<std::vector<QmpBlockDevice>> VmProcess::block_devices() const {
  FR_TRY(const auto client, QmpClient::connect(qmp_socket_, kQmpTimeout));
  return client->block_devices();
}

bool VmProcess::power_down(const StopOptions& options) const {
  const os::SystemClock clock;
  const Time deadline = clock.now() + options.power_down_timeout;
  while (clock.now() < deadline) {
    const auto client = QmpClient::connect(qmp_socket_, options.qmp_timeout);
    if (!client || !(*client)->power_down()) return os::wait_for_end(id_, 100ms);
    if (os::wait_for_end(id_, std::min(options.press_interval, deadline - clock.now())))
      return true;
  }
  return false;
}

Result<StoppedBy> VmProcess::stop(const StopOptions& options) const {
  if (!is_alive()) return StoppedBy::kItself;
  if (options.ask_guest && power_down(options)) return StoppedBy::kPowerDown;
  if (const auto client = QmpClient::connect(qmp_socket_, options.qmp_timeout); client) {
    if ((*client)->quit() && os::wait_for_end(id_, options.quit_timeout)) return StoppedBy::kQuit;
  }
  for (const auto& [signal, how] :
       {std::pair{SIGTERM, StoppedBy::kTerminate}, std::pair{SIGKILL, StoppedBy::kKill}}) {
    const Status sent = os::send_signal(id_, signal);
    if (!sent && sent.error().code != ErrorCode::kNotFound) return std::unexpected(sent.error());
    if (os::wait_for_end(id_, options.quit_timeout)) return how;
  }
  return fail(ErrorCode::kTimedOut, fmt::format("process {} outlives SIGKILL", id_.pid));
}

Result<std::string> host_boot_id() {
  FR_TRY(const Buffer bytes, os::read_file("/proc/sys/kernel/random/boot_id", 128));
  std::string text(as_text(bytes));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace forerun::vmm
