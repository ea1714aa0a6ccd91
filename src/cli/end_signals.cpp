#include "cli/end_signals.h"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>

namespace forerun::cli {

Result<os::Fd> catch_end_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGHUP, SIGINT}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  os::Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.is_open()) return fail_errno("catch signals", errno);
  return fd;
}

}  // namespace forerun::cli
