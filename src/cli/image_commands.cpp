// forerun image import|compose|list|show|rm, forerun operation list|show
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"
#include "os/file.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

struct ImportArguments {
  std::string file, name, format = "auto";
  bool no_wait = false;
};

Result<int> import_image(const Context& context, const ImportArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  FR_TRY(const std::string path, absolute_path(arguments.file));
  if (!os::path_exists(path)) return fail(ErrorCode::kNotFound, fmt::format("no file {}", path));
  const std::string request =
      fmt::format(R"({{"source_path":{},"name":{},"format":{}}})", json_string(path),
                  json_string(arguments.name), json_string(arguments.format));
  return run_operation(context, "/api/v1/images", request, arguments.no_wait,
                       {arguments.name, "import " + arguments.file});
}

struct ComposeArguments {
  std::string manifest, name;
  bool no_wait = false;
};

Result<int> compose_image(const Context& context, const ComposeArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  constexpr size_t kManifestBytesMax = 1024 * 1024;
  FR_TRY(const Buffer manifest, os::read_file(arguments.manifest, kManifestBytesMax));
  const std::string request =
      fmt::format(R"({{"manifest":{},"name":{}}})", json_string(as_text(manifest)),
                  json_string(arguments.name));
  return run_operation(context, "/api/v1/compositions", request, arguments.no_wait,
                       {arguments.name, "compose " + arguments.manifest});
}

Result<int> list_images(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/images"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"NAME"},
               {"SIZE", true},
               {"STORED", true},
               {"CHUNKS", true},
               {"LEARNED BOOTS", true},
               {"DIGEST"}});
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& image = item.as_object();
    table.add({text_of(image, "name"), show_bytes(number_of(image, "size_bytes")),
               show_bytes(number_of(image, "stored_bytes")),
               show_count(count_of(image, "chunk_count")),
               show_count(count_of(image, "learned_boot_count")),
               text_of(image, "digest").substr(0, 12)});
  }
  print(table.text());
  return kExitOk;
}

void print_parts(const json::object& image) {
  Table table({{"PART"},
               {"FUNCTION"},
               {"EXTENTS", true},
               {"MEMORY", true},
               {"FILE", true},
               {"REMOTE", true},
               {"STORED", true},
               {"ONLY HERE", true},
               {"SHARED WITH"}});
  for (const json::value& item : list_of(image, "parts")) {
    if (!item.is_object()) continue;
    const json::object& part = item.as_object();
    const json::object& residence = object_of(part, "residence");
    std::string shared;
    for (const json::value& other : list_of(part, "shared_with"))
      if (other.is_string())
        shared +=
            fmt::format("{}{}", shared.empty() ? "" : ", ", std::string_view(other.as_string()));
    const std::string kind = text_of(part, "kind"), function = text_of(part, "function");
    table.add({text_of(part, "name"), function.empty() ? kind : function,
               show_count(count_of(part, "extent_count")),
               show_bytes(number_of(residence, "memory_bytes")),
               show_bytes(number_of(residence, "tier_file_bytes")),
               show_bytes(number_of(residence, "remote_bytes")),
               show_bytes(number_of(part, "stored_bytes")),
               show_bytes(number_of(part, "unique_stored_bytes")), shared});
  }
  print(table.text());
}

Result<int> show_image(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_TRY(const std::string body, context.get("/api/v1/images/" + name));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object image, parse_answer(body));
  print(fmt::format(
      "name           {}\n"
      "digest         {}\n"
      "size           {}\n"
      "stored         {} in {} chunks of {}\n"
      "zeroes         {} chunks, not stored\n"
      "foreseen       {} chunks of a first boot\n"
      "learned boots  {}\n",
      text_of(image, "name"), text_of(image, "digest"), show_bytes(number_of(image, "size_bytes")),
      show_bytes(number_of(image, "stored_bytes")), show_count(count_of(image, "chunk_count")),
      show_bytes(number_of(image, "chunk_bytes")), show_count(count_of(image, "zero_chunk_count")),
      show_count(count_of(image, "prior_chunk_count")),
      show_count(count_of(image, "learned_boot_count"))));
  print(
      fmt::format("only here      {} stored\n"
                  "free           {}\n\n",
                  show_bytes(number_of(image, "unique_stored_bytes")),
                  show_bytes(number_of(image, "gap_bytes"))));
  print_parts(image);
  return kExitOk;
}

Result<int> remove_image(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_CHECK(context.remove("/api/v1/images/" + name));
  return kExitOk;
}

void add_row(Table& table, const json::object& operation) {
  const json::value* ratio = operation.if_contains("progress_ratio");
  const std::string detail = text_of(object_of(operation, "error"), "detail");
  table.add({text_of(operation, "id"), text_of(operation, "kind"), text_of(operation, "subject"),
             text_of(operation, "state"),
             ratio && ratio->is_number() ? show_ratio(number_of(operation, "progress_ratio")) : "?",
             text_of(operation, "started_at"),
             detail.empty() ? text_of(operation, "message") : detail});
}

Result<int> show_operations(const Context& context, const std::string& id) {
  const std::string path = id.empty() ? "/api/v1/operations" : "/api/v1/operations/" + id;
  if (!id.empty()) FR_CHECK(Context::check_name(id));
  FR_TRY(const std::string body, context.get(path));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"ID"}, {"KIND"}, {"SUBJECT"}, {"STATE"}, {"DONE", true}, {"STARTED"}, {"MESSAGE"}});
  if (!id.empty()) add_row(table, answer);
  for (const json::value& item : list_of(answer, "items")) {
    if (item.is_object()) add_row(table, item.as_object());
  }
  print(table.text());
  return kExitOk;
}

}  // namespace

void add_image_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* image = app.add_subcommand("image", "Disks that VMs start from");
  image->require_subcommand(1);

  auto arguments = std::make_shared<ImportArguments>();
  CLI::App* import = image->add_subcommand("import", "Turn a raw or qcow2 disk into an image");
  import->add_option("file", arguments->file, "the disk")->required();
  import->add_option("--name", arguments->name, "the image's name")->required();
  import->add_option("--format", arguments->format, "what the file is")
      ->check(CLI::IsMember({"auto", "raw", "qcow2"}))
      ->capture_default_str();
  import->add_flag("--no-wait", arguments->no_wait, "print the operation's id and return at once");
  import->callback([&, arguments] {
    chosen = [&context, arguments] { return import_image(context, *arguments); };
  });

  auto composing = std::make_shared<ComposeArguments>();
  CLI::App* compose =
      image->add_subcommand("compose", "Compose an image of components, as a manifest says");
  compose->add_option("manifest", composing->manifest, "TOML")->required();
  compose->add_option("--name", composing->name, "the image's name")->required();
  compose->add_flag("--no-wait", composing->no_wait, "print the operation's id and return at once");
  compose->callback([&, composing] {
    chosen = [&context, composing] { return compose_image(context, *composing); };
  });

  image->add_subcommand("list", "List images")->callback([&] {
    chosen = [&context] { return list_images(context); };
  });
  auto name = std::make_shared<std::string>();
  CLI::App* show = image->add_subcommand("show", "Show an image");
  show->add_option("name", *name)->required();
  show->callback([&, name] { chosen = [&context, name] { return show_image(context, *name); }; });
  CLI::App* remove =
      image->add_subcommand("rm", "Forget an image's name; its VMs keep their disks");
  remove->add_option("name", *name)->required();
  remove->callback(
      [&, name] { chosen = [&context, name] { return remove_image(context, *name); }; });
}

void add_operation_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* operation = app.add_subcommand("operation", "Long work of the daemon, such as imports");
  operation->require_subcommand(1);
  operation->add_subcommand("list", "List operations, newest first")->callback([&] {
    chosen = [&context] { return show_operations(context, ""); };
  });
  auto id = std::make_shared<std::string>();
  CLI::App* show = operation->add_subcommand("show", "Show an operation");
  show->add_option("id", *id)->required();
  show->callback([&, id] { chosen = [&context, id] { return show_operations(context, *id); }; });
}

}  // namespace forerun::cli
