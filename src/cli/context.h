// What every command has: the daemon to talk to, the form of output, exit codes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace forerun::cli {

// Documented in docs/cli.md.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitUnreachable = 3,  // no daemon answers
  kExitNotFound = 4,
  kExitExists = 5,  // exists or is in use
  kExitTimedOut = 6,
};

// Returns the code that stands for an error of a command.
int exit_code_of(const Error& error);

enum class Output { kTable, kJson, kJsonLines };

struct Context {
  std::string socket;
  Output output = Output::kTable;
  bool is_terminal = false;        // stdout
  bool is_error_terminal = false;  // stderr, where progress goes
  bool ascii = false;              // the locale has no UTF-8

  // Asks the daemon and returns the body of its answer. ERRORS: kUnavailable only if no daemon
  // answers; a problem that the daemon reports comes back as its code and its detail (its own
  // "unavailable" as kIo).
  Result<std::string> get(const std::string& path) const;
  Result<std::string> post(const std::string& path, const std::string& body,
                           Nanos timeout = std::chrono::minutes(10)) const;
  Result<std::string> patch(const std::string& path, const std::string& body) const;
  Result<std::string> remove(const std::string& path) const;
  // ERRORS: kInvalid unless `name` may be a name; it is then safe in a path.
  static Status check_name(std::string_view name);

 private:
  Result<std::string> ask(std::string_view method, const std::string& path, std::string_view body,
                          Nanos timeout) const;
};

// Returns where the daemon's socket is: FORERUN_SOCKET, else the first that exists of the system's
// and the user's.
std::string default_socket();

// Prints to stdout and flushes, so that a reader of a pipe sees each line when it is written.
void print(std::string_view text);
// Prints the answer as asked: json as one line; jsonl one line for each of "items", or the whole.
void print_json(const Context& context, const std::string& body);

// The command that the command line chose.
using Command = std::function<Result<int>()>;

}  // namespace forerun::cli
