// Commands whose work is an operation of the daemon: start it, show how it gets on, say what came
// of it.
#pragma once

#include <string>

#include "cli/context.h"

namespace boost::json {
class object;
}  // namespace boost::json

namespace forerun::cli {

struct OperationWords {
  std::string subject;    // before what came of it: "debian"
  std::string attempted;  // after "cannot": "import disk.qcow2"
};

// As run_operation without no_wait, but tells the caller what came of it: prints nothing to stdout
// unless as JSON, and returns the operation. ERRORS: kIo if it failed.
Result<boost::json::object> finish_operation(const Context& context, const std::string& path,
                                             const std::string& request,
                                             const OperationWords& words);

// Posts `request` and follows the operation to its end, or prints its id if `no_wait`.
Result<int> run_operation(const Context& context, const std::string& path,
                          const std::string& request, bool no_wait, const OperationWords& words);

// Returns `path` as the daemon, which has another working folder, understands it.
Result<std::string> absolute_path(const std::string& path);

}  // namespace forerun::cli
