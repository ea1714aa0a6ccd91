// forerun vm migrate: VMs between hosts.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

struct MigrateArguments {
  std::string name, to, mode = "auto", downtime = "300ms", rate;
  bool is_stock = false, without_forwards = false, no_wait = false, cancels = false;
};

Result<int> migrate(const Context& context, const MigrateArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  const std::string path = fmt::format("/api/v1/vms/{}/migrate", arguments.name);
  if (arguments.cancels) {
    FR_CHECK(context.post(path + "/cancel", ""));
    return kExitOk;
  }
  if (arguments.to.empty()) return fail(ErrorCode::kInvalid, "say where to: --to HOST");
  FR_CHECK(Context::check_name(arguments.to));
  FR_TRY(const double downtime, parse_seconds(arguments.downtime));
  uint64_t rate = 0;
  if (!arguments.rate.empty()) {
    FR_TRY(rate, parse_size(arguments.rate));
  }
  const std::string request =
      json::serialize(json::value{{"to", arguments.to},
                                  {"mode", arguments.mode},
                                  {"downtime_ms_max", static_cast<uint64_t>(downtime * 1000)},
                                  {"rate_bytes_per_s_max", rate},
                                  {"stock", arguments.is_stock},
                                  {"without_forwards", arguments.without_forwards}});
  return run_operation(
      context, path, request, arguments.no_wait,
      {"VM " + arguments.name, fmt::format("migrate VM {} to {}", arguments.name, arguments.to)});
}

}  // namespace

void add_migrate_command(CLI::App& vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<MigrateArguments>();
  CLI::App* command = vm.add_subcommand("migrate", "Move a running VM to another host");
  command->add_option("name", arguments->name)->required();
  command->add_option("--to", arguments->to, "a host of the daemon's configuration")
      ->type_name("HOST");
  command
      ->add_option("--mode", arguments->mode,
                   "precopy: all memory first; postcopy: the VM first; hybrid: one pass, then the "
                   "VM, then the rest; auto: hybrid")
      ->type_name("WORD")
      ->check(CLI::IsMember({"auto", "precopy", "postcopy", "hybrid"}))
      ->capture_default_str();
  command
      ->add_option("--max-downtime", arguments->downtime, "of precopy, which goes on until it does")
      ->type_name("TIME")
      ->capture_default_str();
  command->add_option("--rate", arguments->rate, "of memory before the VM goes, per second")
      ->type_name("SIZE");
  command->add_flag("--stock", arguments->is_stock,
                    "QEMU's streams as they are: nothing foreseen, nothing compressed");
  command->add_flag("--no-forwards", arguments->without_forwards,
                    "the other host does not listen on the VM's forwarded ports");
  command->add_flag("--no-wait", arguments->no_wait, "print the operation's id and return");
  command->add_flag("--cancel", arguments->cancels, "end a migration with the VM where it was");
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return migrate(context, *arguments); };
  });
}

}  // namespace forerun::cli
