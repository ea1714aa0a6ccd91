#include "cli/cli.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "cli/commands.h"
#include "cli/plan_commands.h"

namespace forerun::cli {
namespace {

bool has_utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (!value || !*value) continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != std::string_view::npos ||
           locale.find("utf8") != std::string_view::npos;
  }
  return false;
}

constexpr std::string_view kExamples =
    "Examples:\n"
    "  forerun image import disk.qcow2 --name debian\n"
    "  forerun vm run web-1 --image debian --forward tcp:8080:80\n"
    "  forerun vm stats web-1 --watch\n"
    "  forerun explain prefetch web-1\n"
    "  forerun doctor\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon answers, 4 not found, 5 exists or in "
    "use, 6 timed out, 7 done but incomplete\n";

// CLI11 reports by exceptions; they end here.
bool parse(CLI::App& app, int argc, const char* const* argv, int* exit_code) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);  // prints help, version or what is wrong
    *exit_code = code == 0 ? kExitOk : kExitUsage;
    return false;
  }
}

}  // namespace

int run_cli(int argc, const char* const* argv) {
  Context context;
  context.socket = default_socket();
  context.is_terminal = ::isatty(STDOUT_FILENO) == 1;
  context.is_error_terminal = ::isatty(STDERR_FILENO) == 1;
  context.ascii = !has_utf8_locale();

  CLI::App app(
      "Runs virtual machines from a far repository, and fetches ahead what they will need.",
      "forerun");
  app.set_version_flag("--version", std::string("forerun ") + FORERUN_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // -o and --socket may also stand after the command
  app.add_option("--socket", context.socket, "the daemon's unix socket")
      ->type_name("PATH")
      ->capture_default_str();
  std::string form = "table";
  app.add_option("-o,--output", form, "how to print: jsonl is one object a line")
      ->check(CLI::IsMember({"table", "json", "jsonl"}))
      ->type_name("WORD")
      ->capture_default_str();
  Command chosen;
  add_image_commands(app, context, chosen);
  add_component_commands(app, context, chosen);
  add_vm_commands(app, context, chosen);
  add_host_commands(app, context, chosen);
  add_stats_commands(app, context, chosen);
  add_repository_commands(app, context, chosen);
  add_operation_commands(app, context, chosen);
  add_launch_commands(app, context, chosen);
  add_replay_commands(app, context, chosen);
  add_simulate_command(app, context, chosen);
  add_record_command(app, context, chosen);
  add_model_commands(app, context, chosen);
  add_migration_commands(app, context, chosen);
  add_lab_commands(app, context, chosen);
  add_usage_commands(app, context, chosen);
  add_plan_commands(app, context, chosen);
  add_policy_commands(app, context, chosen);
  add_doctor_command(app, context, chosen);
  app.footer(std::string(kExamples));  // last: subcommands copy what is there when they are added

  int exit_code = kExitOk;
  if (!parse(app, argc, argv, &exit_code)) return exit_code;
  if (form != "table") context.output = form == "json" ? Output::kJson : Output::kJsonLines;
  const Result<int> result = chosen();
  if (result) return *result;
  fmt::print(stderr, "forerun: {}\n", result.error().message);
  return exit_code_of(result.error());
}

}  // namespace forerun::cli
