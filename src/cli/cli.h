// The command line of forerun.
#pragma once

namespace forerun::cli {

// Runs one command and returns the process's exit code.
int run_cli(int argc, const char* const* argv);

}  // namespace forerun::cli
