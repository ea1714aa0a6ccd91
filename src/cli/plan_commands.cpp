// forerun plan show: which VMs had better run elsewhere, and why; of this fleet or of a file.
#include "cli/plan_commands.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/plan_text.h"
#include "cli/text.h"
#include "os/clock.h"
#include "os/file.h"
#include "place/fleet_model.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr size_t kFleetBytesMax = 256 << 20;

struct Arguments {
  std::string fleet;
  std::vector<std::string> supposed;
  bool is_brief = false, is_dry = false, no_wait = false;
  std::string mode, vm;
};

// Plans what a file says, without a daemon.
Result<std::string> plan_of_file(const Arguments& arguments) {
  FR_TRY(const Buffer bytes, os::read_file(arguments.fleet, kFleetBytesMax));
  auto fleet = place::parse_fleet(as_text(bytes));
  if (!fleet) return std::unexpected(std::move(fleet.error()).within(arguments.fleet));
  for (const std::string& question : arguments.supposed) FR_CHECK(place::suppose(*fleet, question));
  auto model = place::FleetModel::make(std::move(*fleet));
  if (!model) return std::unexpected(std::move(model.error()).within(arguments.fleet));
  const place::Plan plan = place::Planner((*model)->options(true)).plan((*model)->state());
  return place::plan_json(**model, plan, arguments.supposed, os::format_utc(os::unix_seconds()));
}

Result<std::string> plan_of_daemon(const Context& context, const Arguments& arguments) {
  json::array questions;
  for (const std::string& question : arguments.supposed) questions.emplace_back(question);
  return context.post("/api/v1/plan", json::serialize(json::value{{"if", std::move(questions)}}));
}

Result<int> show(const Context& context, const Arguments& arguments) {
  FR_TRY(const std::string body,
         arguments.fleet.empty() ? plan_of_daemon(context, arguments) : plan_of_file(arguments));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const std::string text, plan_text(body, arguments.is_brief));
  print(text);
  return kExitOk;
}

Result<int> apply(const Context& context, const Arguments& arguments) {
  if (arguments.is_dry) return show(context, arguments);
  return run_operation(context, "/api/v1/plan/apply", "", arguments.no_wait,
                       {"plan", "carry out the plan"});
}

Result<int> print_fleet(const Context& context, const Arguments&) {
  FR_TRY(const std::string body, context.get("/api/v1/plan/fleet"));
  print(body + "\n");
  return kExitOk;
}

Result<int> print_policy(const Context& context, const std::string& body) {
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object policy, parse_answer(body));
  const std::string planner = text_of(policy, "planner"), detail = text_of(policy, "detail");
  std::string text = fmt::format("plans are {}\n", text_of(policy, "mode") == "auto"
                                                       ? "carried out unasked"
                                                       : "only shown: forerun plan apply");
  if (!planner.empty()) text += fmt::format("host {} plans\n", planner);
  if (!detail.empty()) text += fmt::format("last round: {}\n", detail);
  const json::object& rules = object_of(policy, "rules");
  if (!rules.empty()) text += fmt::format("rules: {}\n", printable(json::serialize(rules)));
  print(text);
  return kExitOk;
}

Result<int> get_policy(const Context& context, const Arguments&) {
  FR_TRY(const std::string body, context.get("/api/v1/plan/policy"));
  return print_policy(context, body);
}

Result<int> set_policy(const Context& context, const Arguments& arguments) {
  FR_TRY(
      const std::string body,
      context.patch("/api/v1/plan/policy", json::serialize(json::value{{"mode", arguments.mode}})));
  return print_policy(context, body);
}

// The rules are read here: their faults are told with the file's name.
Result<int> load_policy(const Context& context, const Arguments& arguments) {
  FR_TRY(const Buffer bytes, os::read_file(arguments.fleet, kFleetBytesMax));
  auto rules = place::parse_fleet(as_text(bytes));
  if (!rules) return std::unexpected(std::move(rules.error()).within(arguments.fleet));
  json::error_code error;
  json::value value = json::parse(as_text(bytes), error);
  FR_TRY(const std::string body,
         context.patch("/api/v1/plan/policy",
                       json::serialize(json::value{{"rules", std::move(value)}})));
  return print_policy(context, body);
}

Result<int> explain_vm(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_TRY(const std::string body, context.get("/api/v1/plan/moves/" + arguments.vm));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const std::string text, moves_text(body, arguments.vm));
  print(text);
  return kExitOk;
}

}  // namespace

void add_explain_vm(CLI::App& explain, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      explain.add_subcommand("vm", "Where plans moved a VM, why, and what came of it");
  command->add_option("vm", arguments->vm)->required();
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return explain_vm(context, *arguments); };
  });
}

void add_policy_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* policy = app.add_subcommand("policy", "Whether plans are carried out unasked");
  policy->require_subcommand(1);
  auto arguments = std::make_shared<Arguments>();
  policy->add_subcommand("get", "Show it")->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return get_policy(context, *arguments); };
  });
  CLI::App* load = policy->add_subcommand("load", "Plan by the rules of a file from now on");
  load->add_option("file", arguments->fleet)->required()->type_name("FILE");
  load->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return load_policy(context, *arguments); };
  });
  CLI::App* set = policy->add_subcommand("set", "auto: carry plans out; off: only show them");
  set->add_option("mode", arguments->mode)->required()->check(CLI::IsMember({"auto", "off"}));
  set->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return set_policy(context, *arguments); };
  });
}

void add_plan_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* plan = app.add_subcommand("plan", "Which VMs had better run on which hosts");
  plan->require_subcommand(1);
  auto arguments = std::make_shared<Arguments>();
  CLI::App* shown = plan->add_subcommand("show", "The moves that are worth making, and why");
  shown->add_option("--fleet", arguments->fleet, "of the fleet in this file, without a daemon")
      ->type_name("FILE");
  shown
      ->add_option("--if", arguments->supposed,
                   "suppose that: \"host h3 drained\", \"host h3 lost\", \"+20 VMs like web1\", …")
      ->type_name("WHAT")
      ->allow_extra_args(false);
  shown->add_flag("--brief", arguments->is_brief, "without what was rejected");
  shown->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return show(context, *arguments); };
  });
  CLI::App* applied = plan->add_subcommand("apply", "Make these moves, one after the other");
  applied->add_flag("--dry-run", arguments->is_dry, "as show");
  applied->add_flag("--no-wait", arguments->no_wait, "print the operation's id and return");
  applied->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return apply(context, *arguments); };
  });
  plan->add_subcommand("fleet", "The fleet as it is planned, as JSON: plan show --fleet takes it")
      ->callback([&context, &chosen, arguments] {
        chosen = [&context, arguments] { return print_fleet(context, *arguments); };
      });
}

}  // namespace forerun::cli
