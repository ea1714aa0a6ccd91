// forerun vm checkpoint, forerun vm restore.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

struct Arguments {
  std::string vm;
  uint64_t number = 0;
  std::string policy, budget;  // empty: as it is
  uint64_t keep = 0;           // 0: as it is
  std::string to, rate;        // a host; empty: none was said
};

std::string path_of(const Arguments& arguments) {
  return fmt::format("/api/v1/vms/{}/checkpoints", arguments.vm);
}

Result<int> make_checkpoint(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_TRY(const std::string body, context.post(path_of(arguments), ""));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object made, parse_answer(body));
  print(fmt::format("checkpoint {} of VM {}: {} stored, the guest stood still for {}\n",
                    count_of(made, "number"), arguments.vm,
                    show_bytes(number_of(made, "stored_bytes")),
                    show_seconds(number_of(made, "pause_ms") / 1000)));
  return kExitOk;
}

Result<int> copy_checkpoint(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  json::object request{{"to", arguments.to}};
  if (!arguments.rate.empty()) {
    FR_TRY(const uint64_t rate, parse_size(arguments.rate));
    request["rate_bytes_per_s_max"] = rate;
  }
  return run_operation(context, fmt::format("{}/{}/copy", path_of(arguments), arguments.number),
                       json::serialize(request), false,
                       {arguments.vm, fmt::format("copy a checkpoint of {}", arguments.vm)});
}

Result<int> list_checkpoints(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_TRY(const std::string body, context.get(path_of(arguments)));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"CHECKPOINT", true},
               {"CREATED"},
               {"MEMORY", true},
               {"DISK", true},
               {"STORED", true},
               {"PAUSE", true}});
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& each = item.as_object();
    table.add({fmt::to_string(count_of(each, "number")), text_of(each, "created_at"),
               show_bytes(number_of(each, "memory_bytes")),
               show_bytes(number_of(each, "disk_bytes")),
               show_bytes(number_of(each, "stored_bytes")),
               show_seconds(number_of(each, "pause_ms") / 1000)});
  }
  print(table.text());
  return kExitOk;
}

Result<int> remove_checkpoint(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_CHECK(context.remove(fmt::format("{}/{}", path_of(arguments), arguments.number)));
  return kExitOk;
}

Result<json::object> policy_request(const Arguments& arguments) {
  json::object request;
  if (!arguments.policy.empty()) request["auto"] = arguments.policy == "auto";
  if (arguments.keep > 0) request["keep"] = arguments.keep;
  if (!arguments.to.empty()) request["copies_to"] = arguments.to == "none" ? "" : arguments.to;
  if (arguments.budget.empty()) return request;
  double percent = 0;
  const char* const end = arguments.budget.data() + arguments.budget.size();
  const auto [rest, error] = std::from_chars(arguments.budget.data(), end, percent);
  if (error != std::errc{} || std::string_view(rest, end) != "%")
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no share of time, as 2% is", arguments.budget));
  request["budget_ratio"] = percent / 100;
  return request;
}

Result<int> checkpoint_policy(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_TRY(const json::object request, policy_request(arguments));
  const std::string path = fmt::format("/api/v1/vms/{}/checkpoint-policy", arguments.vm);
  FR_TRY(const std::string body,
         request.empty() ? context.get(path) : context.patch(path, json::serialize(request)));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object policy, parse_answer(body));
  const bool is_auto = flag_of(policy, "auto");
  print(fmt::format("policy     {}\nbudget     {:.3g} % of the time\nkept       the newest {}\n",
                    is_auto ? "auto" : "off", 100 * number_of(policy, "budget_ratio"),
                    count_of(policy, "keep")));
  if (is_auto)
    print(fmt::format("next in    {}\n", show_seconds(number_of(policy, "next_in_seconds"))));
  if (!text_of(policy, "copies_to").empty())
    print(fmt::format("copies to  {}\n", text_of(policy, "copies_to")));
  std::string copied;
  for (const json::value& host : list_of(policy, "copied_to"))
    if (host.is_string())
      copied += fmt::format("{}{}", copied.empty() ? "" : ", ", std::string_view(host.as_string()));
  if (!copied.empty()) print(fmt::format("copies at  {}\n", copied));
  if (!text_of(policy, "foreseen_host").empty())
    print(fmt::format("foreseen   a move to host {}\n", text_of(policy, "foreseen_host")));
  print(fmt::format("why        {}\n", text_of(policy, "why")));
  return kExitOk;
}

Result<int> restore(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  const std::string request = json::serialize(json::value{{"checkpoint", arguments.number}});
  FR_TRY(const std::string body,
         context.post(fmt::format("/api/v1/vms/{}/restore", arguments.vm), request));
  if (context.output != Output::kTable) print_json(context, body);
  return kExitOk;
}

}  // namespace

void add_checkpoint_commands(CLI::App& vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* checkpoint =
      vm.add_subcommand("checkpoint", "Keep a VM's state, memory and disk; list|rm: what is kept");
  using Action = Result<int> (*)(const Context&, const Arguments&);
  const auto choose = [&context, &chosen, arguments](Action action) {
    return [&context, &chosen, arguments, action] {
      chosen = [&context, arguments, action] { return action(context, *arguments); };
    };
  };
  CLI::App* make = checkpoint->add_subcommand("create", "Make one; the guest runs on");
  CLI::App* list = checkpoint->add_subcommand("list", "List them");
  CLI::App* remove = checkpoint->add_subcommand("rm", "Remove one");
  CLI::App* copy = checkpoint->add_subcommand("copy", "Have another host keep a copy of one");
  CLI::App* policy = checkpoint->add_subcommand(
      "policy", "Have them made by themselves, or not; without options: how it is, and why");
  checkpoint->require_subcommand(1);
  for (CLI::App* command : {make, list, remove, copy, policy})
    command->add_option("name", arguments->vm)->required();
  remove->add_option("number", arguments->number)->required();
  make->callback(choose(make_checkpoint));
  list->callback(choose(list_checkpoints));
  remove->callback(choose(remove_checkpoint));
  policy->add_option("policy", arguments->policy)->check(CLI::IsMember({"auto", "off"}));
  policy->add_option("--budget", arguments->budget, "of the time that they may take; 2% at first")
      ->type_name("SHARE%");
  policy->add_option("--keep", arguments->keep, "how many are kept; 3 at first")
      ->type_name("NUMBER")
      ->check(CLI::Range(1, 1000));
  policy->add_option("--to", arguments->to, "a host that keeps a copy of the newest; or none")
      ->type_name("HOST");
  copy->add_option("--to", arguments->to, "a host of the configuration")
      ->type_name("HOST")
      ->required();
  copy->add_option("--checkpoint", arguments->number, "the newest unless given")
      ->type_name("NUMBER");
  copy->add_option("--rate", arguments->rate, "at most so many bytes a second")->type_name("SIZE");
  copy->callback(choose(copy_checkpoint));
  policy->callback(choose(checkpoint_policy));
  CLI::App* back = vm.add_subcommand("restore", "Start a stopped VM as it was at a checkpoint");
  back->add_option("name", arguments->vm)->required();
  back->add_option("--checkpoint", arguments->number, "the newest unless given")
      ->type_name("NUMBER");
  back->callback(choose(restore));
}

}  // namespace forerun::cli
