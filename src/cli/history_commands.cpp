// forerun vm history export|import: what was learned of a VM, taken to another host.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

struct Arguments {
  std::string vm, file;
};

Result<std::string> absolute(const std::string& path) {
  std::error_code error;
  const auto whole = std::filesystem::absolute(path, error);
  if (error)
    return fail(ErrorCode::kInvalid, fmt::format("cannot resolve '{}': {}", path, error.message()));
  return whole.lexically_normal().string();
}

std::string names_of(const json::object& answer, std::string_view key) {
  std::string text;
  for (const json::value& name : list_of(answer, key))
    if (name.is_string())
      text += fmt::format("{}{}", text.empty() ? "" : ", ",
                          printable(std::string_view(name.as_string())));
  return text.empty() ? "none" : text;
}

Result<int> export_history(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_TRY(const std::string path, absolute(arguments.file));
  FR_TRY(const std::string body, context.post("/api/v1/vms/" + arguments.vm + "/history/export",
                                              json::serialize(json::value{{"path", path}})));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  print(fmt::format("{} of VM {} in {}\nmodels      {}\nhistories   of {} components\n",
                    show_bytes(number_of(answer, "size_bytes")), arguments.vm,
                    text_of(answer, "path"), names_of(answer, "models"),
                    show_count(count_of(answer, "histories"))));
  return kExitOk;
}

Result<int> import_history(const Context& context, const Arguments& arguments) {
  FR_CHECK(Context::check_name(arguments.vm));
  FR_TRY(const std::string path, absolute(arguments.file));
  FR_TRY(const std::string body, context.post("/api/v1/vms/" + arguments.vm + "/history/import",
                                              json::serialize(json::value{{"source_path", path}})));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  print(fmt::format("models taken  {}\nmodels kept   {}\nhistories     {} merged, {} ignored\n",
                    names_of(answer, "models_taken"), names_of(answer, "models_kept"),
                    show_count(count_of(answer, "histories_merged")),
                    show_count(count_of(answer, "histories_ignored"))));
  return kExitOk;
}

}  // namespace

void add_history_commands(CLI::App& vm, const Context& context, Command& chosen) {
  CLI::App* history = vm.add_subcommand("history", "What was learned of a VM, for another host");
  history->require_subcommand(1);
  auto arguments = std::make_shared<Arguments>();
  CLI::App* out = history->add_subcommand("export", "Write it to a file");
  out->add_option("name", arguments->vm)->required();
  out->add_option("-o,--file", arguments->file, "on the daemon's host; must not exist")
      ->required()
      ->type_name("FILE");
  out->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return export_history(context, *arguments); };
  });
  CLI::App* in = history->add_subcommand("import", "Take it up, for a VM that does not run");
  in->add_option("name", arguments->vm)->required();
  in->add_option("file", arguments->file)->required();
  in->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return import_history(context, *arguments); };
  });
}

}  // namespace forerun::cli
