#include "os/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "os/clock.h"
#include "os/file.h"

namespace forerun::os {
namespace {

constexpr int kWatchMilliseconds = 100;

std::vector<char*> as_argv(const std::vector<std::string>& argv) {
  std::vector<char*> pointers;
  for (const auto& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), X_OK) == 0) return name;
    return fail_errno(fmt::format("run {}", name), errno);
  }
  const char* variable = std::getenv("PATH");
  const std::string_view search = variable != nullptr ? variable : "/usr/bin:/bin";
  for (size_t begin = 0; begin <= search.size();) {
    size_t end = search.find(':', begin);
    if (end == std::string_view::npos) end = search.size();
    const std::string candidate = fmt::format("{}/{}", search.substr(begin, end - begin), name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return fail(ErrorCode::kNotFound, fmt::format("no program '{}' in PATH", name));
}

// Between fork and exec only async-signal-safe calls are made.
[[noreturn]] void become(const char* program, char* const* argv, int in, int out, int err,
                         int report) {
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execv(program, argv);
  const int error = errno;
  if (report >= 0) [[maybe_unused]]
    const ssize_t put = ::write(report, &error, sizeof error);
  ::_exit(127);
}

Result<Fd> open_null() {
  Fd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd.is_open()) return fail_errno("open /dev/null", errno);
  return fd;
}

// Returns a closed one for no path.
Result<Fd> open_output(const std::string& path) {
  if (path.empty()) return Fd();
  Fd output(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output.is_open()) return fail_errno(fmt::format("open {}", path), errno);
  return output;
}

struct Pipe {
  Fd read_end, write_end;
};
Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("create a pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace

Result<ProcessId> spawn_detached(const SpawnOptions& options) {
  FR_ASSERT(!options.argv.empty());
  FR_TRY(const std::string program, find_program(options.argv[0]));
  FR_TRY(Fd null, open_null());
  FR_TRY(const Fd output, open_output(options.output_path));
  const int out = output.is_open() ? output.get() : null.get();
  FR_TRY(Pipe report, make_pipe());  // carries the grandchild's pid, then an errno if exec failed
  std::vector<char*> argv = as_argv(options.argv);
  const char* folder = options.working_folder.empty() ? nullptr : options.working_folder.c_str();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork", errno);
  if (child == 0) {
    ::setsid();
    const pid_t grandchild = ::fork();
    if (grandchild != 0) ::_exit(grandchild > 0 ? 0 : 1);
    const int pid = ::getpid();
    [[maybe_unused]] const ssize_t put = ::write(report.write_end.get(), &pid, sizeof pid);
    if (folder != nullptr && ::chdir(folder) != 0) ::_exit(126);
    become(program.c_str(), argv.data(), null.get(), out, out, report.write_end.get());
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  report.write_end.reset();
  int words[2] = {0, 0};
  size_t got = 0;
  while (got < sizeof words) {
    const ssize_t part =
        ::read(report.read_end.get(), reinterpret_cast<char*>(words) + got, sizeof words - got);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) break;
    got += static_cast<size_t>(part);
  }
  if (got < sizeof(int))
    return fail(ErrorCode::kIo, fmt::format("cannot start {}: fork failed", program));
  if (got == sizeof words) return fail_errno(fmt::format("run {}", program), words[1]);
  return identify(words[0]);
}

Result<RunResult> run(const std::vector<std::string>& argv, Nanos timeout, size_t output_max) {
  FR_ASSERT(!argv.empty());
  FR_TRY(const std::string program, find_program(argv[0]));
  FR_TRY(Fd null, open_null());
  FR_TRY(Pipe out, make_pipe());
  FR_TRY(Pipe err, make_pipe());
  std::vector<char*> pointers = as_argv(argv);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork", errno);
  if (child == 0) {
    ::setpgid(0, 0);
    become(program.c_str(), pointers.data(), null.get(), out.write_end.get(), err.write_end.get(),
           -1);
  }
  out.write_end.reset();
  err.write_end.reset();

  const SystemClock clock;
  const Time deadline = clock.now() + timeout;
  RunResult result;
  Status status;
  pollfd waits[2] = {{out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}};
  std::string* texts[2] = {&result.output, &result.errors};
  while (status && (waits[0].fd >= 0 || waits[1].fd >= 0)) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.now()).count();
    if (left <= 0) {
      status = fail(ErrorCode::kTimedOut,
                    fmt::format("{} did not end in {} s", argv[0], to_seconds(timeout)));
      break;
    }
    ::poll(waits, 2, static_cast<int>(std::min<int64_t>(left, 1000)));
    for (int i = 0; i < 2; ++i) {
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      char buffer[16384];
      const ssize_t got = ::read(waits[i].fd, buffer, sizeof buffer);
      if (got <= 0 && errno != EINTR) waits[i].fd = -1;
      if (got > 0) texts[i]->append(buffer, static_cast<size_t>(got));
      if (texts[i]->size() > output_max)
        status = fail(ErrorCode::kTooLarge,
                      fmt::format("{} printed more than {} bytes", argv[0], output_max));
    }
  }
  if (!status) ::kill(-child, SIGKILL);
  int code = 0;
  while (::waitpid(child, &code, 0) < 0 && errno == EINTR) {
  }
  if (!status) return std::unexpected(status.error());
  result.exit_code = WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
  return result;
}

Result<int> run_watched(const SpawnOptions& options, Nanos timeout,
                        const std::function<bool()>& should_stop) {
  FR_ASSERT(!options.argv.empty());
  FR_TRY(const std::string program, find_program(options.argv[0]));
  FR_TRY(const Fd null, open_null());
  FR_TRY(const Fd output, open_output(options.output_path));
  const int out = output.is_open() ? output.get() : null.get();
  FR_TRY(Pipe report, make_pipe());  // carries an errno if exec failed
  std::vector<char*> argv = as_argv(options.argv);
  const char* folder = options.working_folder.empty() ? nullptr : options.working_folder.c_str();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork", errno);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);  // it ended before the line above
    ::setsid();
    if (folder != nullptr && ::chdir(folder) != 0) ::_exit(126);
    become(program.c_str(), argv.data(), null.get(), out, out, report.write_end.get());
  }
  report.write_end.reset();
  int error = 0;
  if (::read(report.read_end.get(), &error, sizeof error) != sizeof error) error = 0;

  const SystemClock clock;
  const Time deadline = clock.now() + timeout;
  Status status;
  int code = 0;
  for (;;) {
    const pid_t ended = ::waitpid(child, &code, status ? WNOHANG : 0);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return fail_errno(fmt::format("wait for {}", program), errno);
    if (!status) continue;
    if (should_stop && should_stop())
      status = fail(ErrorCode::kUnavailable, fmt::format("{} was stopped", options.argv[0]));
    else if (clock.now() >= deadline)
      status = fail(ErrorCode::kTimedOut,
                    fmt::format("{} did not end in {} s", options.argv[0], to_seconds(timeout)));
    if (!status)
      ::kill(child, SIGKILL);
    else
      ::poll(nullptr, 0, kWatchMilliseconds);
  }
  if (error != 0) return fail_errno(fmt::format("run {}", program), error);
  if (!status) return std::unexpected(status.error());
  return WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
}

Result<std::string> own_program() {
  std::string path(4096, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size < 0) return fail_errno("read /proc/self/exe", errno);
  path.resize(static_cast<size_t>(size));
  return path;
}

bool is_root() { return ::geteuid() == 0; }

void raise_open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // if it fails the old limit stays, which is safe
}

Result<ProcessId> identify(int pid) {
  const auto content = read_file(fmt::format("/proc/{}/stat", pid), 64 * kKiB);
  if (!content) return fail(ErrorCode::kNotFound, fmt::format("no process {}", pid));
  const std::string_view text = as_text(*content);
  // The second field is the name in brackets and may hold anything, so count from the last bracket.
  size_t at = text.rfind(')');
  if (at == std::string_view::npos) return fail(ErrorCode::kInternal, "unreadable /proc stat");
  at += 2;
  if (at < text.size() && (text[at] == 'Z' || text[at] == 'X'))
    return fail(ErrorCode::kNotFound, fmt::format("process {} has ended", pid));
  for (int field = 3; field < 22; ++field) {
    at = text.find(' ', at);
    if (at == std::string_view::npos) return fail(ErrorCode::kInternal, "unreadable /proc stat");
    ++at;
  }
  return ProcessId{pid, std::strtoull(std::string(text.substr(at, 20)).c_str(), nullptr, 10)};
}

bool is_alive(const ProcessId& process) {
  const auto found = identify(process.pid);
  return found && *found == process;
}

Status send_signal(const ProcessId& process, int signal) {
  if (!is_alive(process))
    return fail(ErrorCode::kNotFound, fmt::format("process {} has ended", process.pid));
  if (::kill(process.pid, signal) != 0)
    return fail_errno(fmt::format("signal process {}", process.pid), errno);
  return {};
}

bool wait_for_end(const ProcessId& process, Nanos timeout) {
  const SystemClock clock;
  const Time deadline = clock.now() + timeout;
  while (is_alive(process)) {
    if (clock.now() >= deadline) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

}  // namespace forerun::os
