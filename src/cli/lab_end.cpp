// How a lab is taken down: what was recorded is ended, and nothing else.
#include <csignal>

#include "cli/lab_build.h"
#include "os/tap.h"
#include "os/walk.h"
#include "vmm/vm_record.h"

namespace forerun::cli {
namespace {

constexpr Nanos kTermTimeout = std::chrono::seconds(20);  // a daemon flushes what it holds
constexpr Nanos kKillTimeout = std::chrono::seconds(10);
constexpr Nanos kToolTimeout = std::chrono::seconds(30);

// Remembers the first error of several steps, all of which are taken.
class FirstError {
 public:
  void note(Status status) {
    if (!status && status_) status_ = std::move(status);
  }
  Status take() { return std::move(status_); }

 private:
  Status status_;
};

Status end_process(const LabRecord& record, const os::ProcessId& process, std::string_view what) {
  if (!is_running(record, process)) return {};
  [[maybe_unused]] const Status asked = os::send_signal(process, SIGTERM);
  if (os::wait_for_end(process, kTermTimeout)) return {};
  [[maybe_unused]] const Status killed = os::send_signal(process, SIGKILL);
  if (os::wait_for_end(process, kKillTimeout)) return {};
  return fail(ErrorCode::kTimedOut,
              fmt::format("{}, pid {}, did not end even when killed", what, process.pid));
}

// Ends the VMs of a host: their QEMUs outlive the daemon. What a record says is believed only as
// far as pid and start time name a process of this boot.
Status end_vms(const LabRecord& record, const lab::Host& host) {
  const std::string folder = host.folder + "/state/records";
  if (!os::path_exists(folder)) return {};
  FR_TRY(const auto names, vmm::list_vm_records(folder));
  FirstError error;
  for (const std::string& name : names) {
    const auto vm = vmm::load_vm_record(folder, name);
    if (!vm || vm->boot_id != record.boot_id) continue;
    error.note(end_process(record, vm->process, "QEMU of " + name));
  }
  return error.take();
}

Status remove_namespace(const std::string& name) {
  if (!os::path_exists(os::namespace_path(name))) return {};
  FR_TRY(const os::RunResult result, os::run({"ip", "netns", "del", name}, kToolTimeout));
  if (result.exit_code == 0) return {};
  return fail(ErrorCode::kIo,
              fmt::format("cannot remove network namespace {}: {}", name, result.errors));
}

Status remove_files(const lab::Plan& plan) {
  FirstError error;
  for (const lab::Host& host : plan.hosts) error.note(os::remove_tree(host.folder));
  for (const char* name : {"ca", "repository", "switch.log", "switch.sock"})
    error.note(os::remove_tree(plan.folder + "/" + name));
  return error.take();
}

}  // namespace

Status end_lab(const LabRecord& record, bool keep_files) {
  FirstError error;
  for (const os::ProcessId& process : record.hosts)
    if (is_running(record, process)) [[maybe_unused]]
      const Status asked = os::send_signal(process, SIGTERM);  // all at once
  for (size_t i = 0; i < record.hosts.size(); ++i)
    error.note(end_process(record, record.hosts[i], "forerund of " + record.plan.hosts[i].name));
  for (const lab::Host& host : record.plan.hosts) error.note(end_vms(record, host));
  error.note(end_process(record, record.network, "the switch"));
  for (const lab::Host& host : record.plan.hosts) error.note(remove_namespace(host.name_space));
  Status status = error.take();
  if (!status) return status;  // the record stays, so that it can be tried again
  if (!keep_files) FR_CHECK(remove_files(record.plan));
  return os::remove_tree(lab_record_path(record.plan.folder));
}

}  // namespace forerun::cli
