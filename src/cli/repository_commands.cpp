// forerun repository verify|gc
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kPath = "/api/v1/repository";

struct VerifyArguments {
  bool deep = false, resume = false, no_wait = false;
};

void show_problems(const json::object& result) {
  Table table({{"OBJECT"}, {"PROBLEM"}, {"NEEDED BY"}});
  for (const json::value& item : list_of(result, "problems")) {
    if (!item.is_object()) continue;
    const json::object& problem = item.as_object();
    std::string needed_by;
    uint64_t shown = 0;
    for (const json::value& tag : list_of(problem, "needed_by")) {
      if (!tag.is_string() || shown == 3) continue;
      needed_by += fmt::format("{}{}", shown++ == 0 ? "" : ", ", std::string_view(tag.as_string()));
    }
    const uint64_t count = count_of(problem, "needed_by_count");
    if (count > shown) needed_by += fmt::format(", {} more", count - shown);
    table.add({text_of(problem, "path"), text_of(problem, "detail"), needed_by});
  }
  print(table.text());
}

Result<int> verify(const Context& context, const VerifyArguments& arguments) {
  const std::string path = fmt::format("{}/verify", kPath);
  const std::string request =
      fmt::format(R"({{"deep":{},"resume":{}}})", arguments.deep, arguments.resume);
  const OperationWords words{"repository", "verify the repository"};
  if (arguments.no_wait) return run_operation(context, path, request, true, words);
  FR_TRY(const json::object operation, finish_operation(context, path, request, words));
  const json::object& result = object_of(operation, "result");
  const bool is_sound = count_of(result, "problem_count") == 0;
  if (context.output == Output::kTable) {
    if (!is_sound) show_problems(result);
    print(fmt::format("repository: {}\n", text_of(operation, "message")));
  }
  return is_sound ? kExitOk : kExitFailed;
}

struct GcArguments {
  std::string grace = "24h";
  bool dry_run = false, no_wait = false;
};

Result<int> collect_garbage(const Context& context, const GcArguments& arguments) {
  FR_TRY(const double grace_seconds, parse_seconds(arguments.grace));
  const std::string request =
      fmt::format(R"({{"dry_run":{},"grace_seconds":{}}})", arguments.dry_run, grace_seconds);
  return run_operation(context, fmt::format("{}/gc", kPath), request, arguments.no_wait,
                       {"repository", "collect the repository's garbage"});
}

void add_no_wait(CLI::App& command, bool& no_wait) {
  command.add_flag("--no-wait", no_wait, "print the operation's id and return at once");
}

}  // namespace

void add_repository_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* repository =
      app.add_subcommand("repository", "Where images and components are kept: checks and care");
  repository->require_subcommand(1);

  auto verifying = std::make_shared<VerifyArguments>();
  CLI::App* verify_command =
      repository->add_subcommand("verify", "Look for what is missing or damaged");
  verify_command->add_flag("--deep", verifying->deep, "read every chunk, not only look for it");
  verify_command->add_flag("--resume", verifying->resume,
                           "with --deep: go on where the last one was stopped");
  add_no_wait(*verify_command, verifying->no_wait);
  verify_command->callback(
      [&, verifying] { chosen = [&context, verifying] { return verify(context, *verifying); }; });

  auto collecting = std::make_shared<GcArguments>();
  CLI::App* gc = repository->add_subcommand("gc", "Remove what no tag and no VM leads to");
  gc->add_flag("--dry-run", collecting->dry_run, "only say how much it would be");
  gc->add_option("--grace", collecting->grace, "what is younger stays: longer than any import")
      ->type_name("DURATION")
      ->capture_default_str();
  add_no_wait(*gc, collecting->no_wait);
  gc->callback([&, collecting] {
    chosen = [&context, collecting] { return collect_garbage(context, *collecting); };
  });
  add_tag_commands(*repository, context, chosen);
}

}  // namespace forerun::cli
