// forerund, the daemon.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>

#include "core/log.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "os/file.h"
#include "os/process.h"

extern char** environ;

namespace {

using forerun::Result;
using forerun::Status;
namespace daemon_ns = forerun::daemon;
namespace log_ns = forerun::log;

struct Flags {
  std::string config_path, state_dir, run_dir, log_level;
  bool check_only = false;
};

std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (text.starts_with("FORERUN_") && equals != std::string_view::npos)
      all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

Result<daemon_ns::Config> configure(const Flags& flags) {
  daemon_ns::Config config = daemon_ns::default_config();
  if (!flags.config_path.empty()) {
    FR_TRY(const auto text, forerun::os::read_file(flags.config_path, 1 << 20));
    FR_CHECK(daemon_ns::apply_toml(config, forerun::as_text(text), flags.config_path));
  }
  FR_CHECK(daemon_ns::apply_environment(config, environment()));
  if (!flags.state_dir.empty()) config.state_dir = flags.state_dir;
  if (!flags.run_dir.empty()) config.run_dir = flags.run_dir;
  if (!flags.log_level.empty()) config.log_level = flags.log_level;
  FR_CHECK(daemon_ns::check(config));
  return config;
}

void set_log_level(const std::string& name) {
  if (name == "debug") log_ns::set_level(log_ns::Level::kDebug);
  if (name == "warn") log_ns::set_level(log_ns::Level::kWarn);
  if (name == "error") log_ns::set_level(log_ns::Level::kError);
}

}  // namespace

// Memory that a thread's heap grows by at once. Growing by the default 128 KiB, a composition makes
// hundreds of system calls that keep all other threads from touching new memory.
constexpr int kHeapStepBytes = 4 << 20;

int main(int argc, char** argv) {
  mallopt(M_TOP_PAD, kHeapStepBytes);
  CLI::App app{"forerund: serves virtual disks and fetches ahead what their guests will read"};
  Flags flags;
  app.add_option("--config", flags.config_path, "TOML file; none is needed");
  app.add_option("--state-dir", flags.state_dir, "where VMs, histories and the tier are kept");
  app.add_option("--run-dir", flags.run_dir, "where the sockets are");
  app.add_option("--log-level", flags.log_level, "debug, info, warn or error");
  app.add_flag("--check", flags.check_only, "check the configuration and exit");
  CLI11_PARSE(app, argc, argv);

  const auto config = configure(flags);
  if (!config) {
    fmt::print(stderr, "forerund: {}\n", config.error().message);
    return 2;
  }
  if (flags.check_only) {
    fmt::print("the configuration is in order\n");
    return 0;
  }
  set_log_level(config->log_level);

  // Every thread inherits this mask, so the signals come to sigwait only.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // Every connection is a descriptor, and idle clients must not be able to use them up.
  forerun::os::raise_open_files_limit();

  auto daemon = daemon_ns::Daemon::start(*config);
  if (!daemon) {
    fmt::print(stderr, "forerund: {}\n", daemon.error().message);
    return 1;
  }
  int received = 0;
  do {
    sigwait(&signals, &received);
  } while (received == SIGHUP);
  log_ns::info("signal {}: stopping; VMs go on", received);
  return 0;
}
