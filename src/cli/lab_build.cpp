#include "cli/lab_build.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "cli/context.h"
#include "net/switch_control.h"
#include "os/clock.h"
#include "os/tap.h"
#include "os/walk.h"
#include "vmm/vm_process.h"

namespace forerun::cli {
namespace {

constexpr Nanos kToolTimeout = std::chrono::seconds(30);
constexpr Nanos kStartTimeout = std::chrono::seconds(60);
constexpr Nanos kPollPause = std::chrono::milliseconds(20);
constexpr size_t kLastWordsMax = 2000;

Status run_tool(const std::vector<std::string>& argv) {
  FR_TRY(const os::RunResult result, os::run(argv, kToolTimeout));
  if (result.exit_code == 0) return {};
  std::string words = result.errors.substr(0, kLastWordsMax);
  while (words.ends_with('\n')) words.pop_back();
  return fail(ErrorCode::kIo, fmt::format("'{}' failed: {}", fmt::join(argv, " "), words));
}

// Returns the end of a log.
std::string last_words(const std::string& path) {
  const auto text = os::read_file(path, 16 * kMiB);
  if (!text) return "";
  const std::string_view all = as_text(*text);
  return std::string(all.substr(all.size() - std::min(all.size(), kLastWordsMax)));
}

// Waits until a process that was started answers. ERRORS: kUnavailable with its last words.
Status wait_until(const os::ProcessId& process, std::string_view what, const std::string& log,
                  const std::function<bool()>& answers) {
  const os::SystemClock clock;
  const Time deadline = clock.now() + kStartTimeout;
  while (!answers()) {
    if (!os::is_alive(process))
      return fail(ErrorCode::kUnavailable,
                  fmt::format("{} ended at its start: {}", what, last_words(log)));
    if (clock.now() > deadline)
      return fail(ErrorCode::kTimedOut, fmt::format("{} does not answer; see {}", what, log));
    std::this_thread::sleep_for(kPollPause);
  }
  return {};
}

// Returns the forerund beside this program, else the one in PATH.
Result<std::string> daemon_program() {
  FR_TRY(const std::string own, os::own_program());
  const std::string beside = own.substr(0, own.rfind('/')) + "/forerund";
  return os::path_exists(beside) ? beside : "forerund";
}

Status make_certificate(const std::string& request, const std::string& folder,
                        const std::vector<std::string>& signer, const std::string& key,
                        const std::string& certificate) {
  FR_CHECK(os::make_folders(folder));
  const std::string path = folder + "/request.cnf";
  FR_CHECK(os::write_file_atomic(path, as_bytes(request)));
  std::vector<std::string> argv = {
      "openssl", "req",      "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
      "-nodes",  "-days",    "3650",  "-config", path, "-keyout",  key,
      "-out",    certificate};
  argv.insert(argv.end(), signer.begin(), signer.end());
  return run_tool(argv);
}

Status make_certificates(const lab::Plan& plan) {
  FR_CHECK(make_certificate(lab::authority_request(), plan.folder + "/ca", {}, plan.authority_key(),
                            plan.authority_certificate()));
  for (const lab::Host& host : plan.hosts)
    FR_CHECK(make_certificate(lab::certificate_request(host), host.folder + "/tls",
                              {"-CA", plan.authority_certificate(), "-CAkey", plan.authority_key()},
                              host.key_path(), host.certificate_path()));
  return {};
}

Status start_network(LabRecord& record, const lab::LinkSettings& link) {
  FR_TRY(const std::string program, os::own_program());
  const lab::Plan& plan = record.plan;
  const std::string log = plan.folder + "/switch.log";
  std::vector<std::string> argv = {program,
                                   "lab",
                                   "switch",
                                   "--control",
                                   plan.control_socket(),
                                   "--delay-ns",
                                   fmt::to_string(link.delay.count()),
                                   "--rate-bytes",
                                   fmt::to_string(link.rate_bytes_per_s),
                                   "--queue-bytes",
                                   fmt::to_string(link.queue_bytes_max)};
  for (const lab::Host& host : plan.hosts) argv.insert(argv.end(), {"--port", host.name_space});
  FR_TRY(record.network, os::spawn_detached({argv, log, "/"}));
  FR_CHECK(save_lab(record));
  FR_CHECK(wait_until(record.network, "the switch", log,
                      [&] { return net::ask_switch(plan.control_socket(), {}).has_value(); }));
  for (const lab::Host& host : plan.hosts) {
    const std::string batch = host.folder + "/network.ip";
    FR_CHECK(os::write_file_atomic(batch, as_bytes(lab::network_commands(plan, host))));
    FR_CHECK(run_tool({"ip", "-netns", host.name_space, "-batch", batch}));
  }
  return {};
}

// In its namespace; a session of its own, so that it survives us.
Status spawn_daemon(LabRecord& record, size_t index) {
  const lab::Host& host = record.plan.hosts[index];
  FR_TRY(const std::string program, daemon_program());
  FR_TRY(record.hosts[index],
         os::spawn_detached({{"nsenter", "--net=" + os::namespace_path(host.name_space), "--",
                              program, "--config", host.config_path(), "--state-dir",
                              host.folder + "/state", "--run-dir", host.folder + "/run"},
                             host.folder + "/forerund.log",
                             "/"}));
  return save_lab(record);
}

Status wait_for_daemon(const LabRecord& record, size_t index) {
  const lab::Host& host = record.plan.hosts[index];
  Context context;
  context.socket = host.api_socket();
  return wait_until(record.hosts[index], fmt::format("forerund of host {}", host.name),
                    host.folder + "/forerund.log",
                    [&] { return context.get("/api/v1/vms").has_value(); });
}

Status check_free(const lab::Plan& plan) {
  for (const lab::Host& host : plan.hosts)
    if (os::path_exists(os::namespace_path(host.name_space)))
      return fail(ErrorCode::kExists,
                  fmt::format("network namespace {} exists: another lab has it (forerun lab down "
                              "--dir DIR), or choose other names with --prefix",
                              host.name_space));
  return {};
}

Status build(LabRecord& record, const lab::LinkSettings& link) {
  const lab::Plan& plan = record.plan;
  for (const lab::Host& host : plan.hosts) {
    FR_CHECK(os::make_folders(host.folder));
    FR_CHECK(run_tool({"ip", "netns", "add", host.name_space}));
  }
  FR_CHECK(start_network(record, link));
  FR_CHECK(make_certificates(plan));
  FR_CHECK(os::make_folders(plan.folder + "/repository"));
  for (size_t i = 0; i < plan.hosts.size(); ++i) {
    const lab::Host& host = plan.hosts[i];
    FR_CHECK(os::write_file_atomic(host.config_path(), as_bytes(lab::daemon_config(plan, host))));
    FR_CHECK(spawn_daemon(record, i));
  }
  for (size_t i = 0; i < plan.hosts.size(); ++i) FR_CHECK(wait_for_daemon(record, i));
  return {};
}

}  // namespace

Status check_lab_rights() {
  if (os::is_root()) return {};
  return fail(ErrorCode::kDenied,
              "a lab is made of network namespaces and TAP devices, which takes root: sudo forerun "
              "lab …");
}

Result<os::Fd> lock_lab(const std::string& folder) {
  FR_CHECK(os::make_folders(folder));
  auto lock = os::lock_file(folder + "/lock");
  if (!lock && lock.error().code == ErrorCode::kExists)
    return fail(ErrorCode::kExists,
                fmt::format("another forerun lab command is at work on {}", folder));
  return lock;
}

Result<LabRecord> build_lab(const lab::Plan& plan, const lab::LinkSettings& link) {
  if (os::path_exists(lab_record_path(plan.folder))) {
    FR_TRY(const LabRecord old, load_lab(plan.folder));
    const bool runs = is_running(old, old.network) ||
                      std::any_of(old.hosts.begin(), old.hosts.end(),
                                  [&](const auto& process) { return is_running(old, process); });
    if (runs)
      return fail(ErrorCode::kExists, fmt::format("a lab is up in {}: forerun lab down --dir {}",
                                                  plan.folder, plan.folder));
    FR_CHECK(end_lab(old, true));
  }
  FR_CHECK(check_free(plan));
  const bool had_files = os::path_exists(plan.hosts.front().folder);
  LabRecord record;
  record.plan = plan;
  record.hosts.resize(plan.hosts.size());
  FR_TRY(record.boot_id, vmm::host_boot_id());
  FR_CHECK(save_lab(record));
  Status built = build(record, link);
  if (built) return record;
  [[maybe_unused]] const Status ended = end_lab(record, had_files);
  return std::unexpected(std::move(built.error()).within("cannot put the lab up"));
}

Status start_host(LabRecord& record, size_t index) {
  if (is_running(record, record.hosts[index]))
    return fail(ErrorCode::kExists,
                fmt::format("host {} runs, pid {}", record.plan.hosts[index].name,
                            record.hosts[index].pid));
  FR_CHECK(spawn_daemon(record, index));
  return wait_for_daemon(record, index);
}

}  // namespace forerun::cli
