// Child processes that outlive us (QEMU) or not (qemu-img), and processes found again by pid and
// start time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace forerun::os {

// A pid alone may be reused; with the start time (clock ticks since boot, /proc/PID/stat field 22)
// it names one process.
struct ProcessId {
  int pid = 0;
  uint64_t start_ticks = 0;
  bool operator==(const ProcessId&) const = default;
};

struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH
  std::string output_path;        // stdout and stderr are appended here; empty: /dev/null
  std::string working_folder;     // empty: ours
};

// Starts a process in a session of its own, reparented to init: it survives us, and is no zombie
// when it ends. Only descriptors 0–2 are inherited. ERRORS: kNotFound if there is no such program.
Result<ProcessId> spawn_detached(const SpawnOptions& options);

struct RunResult {
  int exit_code = -1;  // 128 + signal if it was killed
  std::string output;  // stdout
  std::string errors;  // stderr
};
// Runs a program to its end and returns what it printed. ERRORS: kTimedOut (it is killed),
// kTooLarge, kNotFound.
Result<RunResult> run(const std::vector<std::string>& argv, Nanos timeout,
                      size_t output_max = 16 << 20);

// Runs a program to its end and returns its exit code (128 + signal if it was killed); what it
// prints goes to options.output_path. It is killed when `should_stop`, which is asked about ten
// times a second, says so, and when this thread or process ends. ERRORS: kUnavailable: it was
// stopped; kTimedOut, kNotFound.
Result<int> run_watched(const SpawnOptions& options, Nanos timeout,
                        const std::function<bool()>& should_stop);

// Returns the path of the program that runs now.
Result<std::string> own_program();
// Returns whether this process is root's.
bool is_root();

// Raises the limit of open files to what the system allows this process.
void raise_open_files_limit();

Result<ProcessId> identify(int pid);
bool is_alive(const ProcessId& process);
// Sends `signal` only if the pid still names that process.
Status send_signal(const ProcessId& process, int signal);
// Returns whether it ended within `timeout`.
bool wait_for_end(const ProcessId& process, Nanos timeout);

}  // namespace forerun::os
