// forerun component import|build|list|show|mark|rm
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

constexpr const char* kDeltaFromHelp =
    "an earlier version, a component: store what is like it as differences, which takes less room "
    "but, where the earlier version is not, more to read";

struct ImportArguments {
  std::string source, file, name, version, function, reference, platform, delta_from;
  std::vector<std::string> depends;
  bool allow_devices = false, is_overlay = false, is_shareable = false, no_wait = false;
};

Result<int> import_component(const Context& context, const ImportArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  FR_TRY(const std::string path, absolute_path(arguments.file));
  if (!os::path_exists(path)) return fail(ErrorCode::kNotFound, fmt::format("no file {}", path));
  json::object request{{"source", arguments.source},
                       {"source_path", path},
                       {"name", arguments.name},
                       {"version", arguments.version},
                       {"function", arguments.function},
                       {"allow_devices", arguments.allow_devices},
                       {"overlay", arguments.is_overlay},
                       {"depends", json::array(arguments.depends.begin(), arguments.depends.end())},
                       {"reference", arguments.reference},
                       {"platform", arguments.platform},
                       {"delta_from", arguments.delta_from}};
  if (arguments.is_shareable) request["shareable"] = true;
  return run_operation(context, "/api/v1/components", json::serialize(request), arguments.no_wait,
                       {arguments.name, "import " + arguments.file});
}

struct BuildArguments {
  std::string base, kernel, on, apt;  // the first given says what is built
  std::string include, name, suite, version, delta_from;
  bool is_private = false, no_wait = false;
};

// "a, b c" → a, b, c
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c != ' ' && c != ',')
      words.back() += c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

Result<int> build_component(const Context& context, const BuildArguments& arguments) {
  std::string source = "apt", name = arguments.name;
  std::vector<std::string> packages = words_of(arguments.apt);
  if (!arguments.base.empty()) {
    source = "base";
    name = arguments.base;
    packages = words_of(arguments.include);
  } else if (!arguments.kernel.empty()) {
    source = "kernel";
    name = arguments.kernel;
  } else if (arguments.on.empty() || packages.empty()) {
    return fail(ErrorCode::kInvalid,
                "say what to build: --base NAME, --kernel NAME, or --on BASE --apt PACKAGES");
  } else if (name.empty()) {
    name = packages[0].substr(0, packages[0].find('='));
  }
  FR_CHECK(Context::check_name(name));
  json::object request{{"source", source},
                       {"name", name},
                       {"version", arguments.version},
                       {"on", json::value_from(words_of(arguments.on))},
                       {"packages", json::value_from(packages)},
                       {"suite", arguments.suite},
                       {"delta_from", arguments.delta_from}};
  if (arguments.is_private) request["shareable"] = false;
  return run_operation(context, "/api/v1/components", json::serialize(request), arguments.no_wait,
                       {name, "build " + name});
}

Result<int> list_components(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/components"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"NAME"},
               {"VERSION"},
               {"FUNCTION"},
               {"FILES", true},
               {"DATA", true},
               {"STORED", true},
               {"DIGEST"}});
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& component = item.as_object();
    table.add({text_of(component, "name"), text_of(component, "version"),
               text_of(component, "function"), show_count(count_of(component, "name_count")),
               show_bytes(number_of(component, "data_bytes")),
               show_bytes(number_of(component, "stored_bytes")),
               text_of(component, "digest").substr(0, 12)});
  }
  print(table.text());
  return kExitOk;
}

std::string joined(const json::object& object, std::string_view key) {
  std::string names;
  for (const json::value& item : list_of(object, key)) {
    if (item.is_string())
      names += fmt::format("{}{}", names.empty() ? "" : ", ", printable(item.as_string()));
  }
  return names.empty() ? "–" : names;
}

Result<int> show_component(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_TRY(const std::string body, context.get("/api/v1/components/" + name));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object part, parse_answer(body));
  const auto line = [](std::string_view what, const std::string& value) {
    print(fmt::format("{:<14} {}\n", what, value.empty() ? "–" : value));
  };
  line("name", text_of(part, "component_name"));
  line("digest", text_of(part, "digest"));
  for (const char* key : {"version", "function", "architecture", "origin", "licence"})
    line(key, text_of(part, key));
  line("created", text_of(part, "created_at"));
  line("learning", flag_of(part, "shareable") ? "shareable among tenants" : "private to a tenant");
  line("depends on", joined(part, "depends"));
  line("provides", joined(part, "provides"));
  line("content", show_bytes(number_of(part, "content_bytes")));
  line("data",
       fmt::format("{} in {} chunks, {} distinct", show_bytes(number_of(part, "data_bytes")),
                   show_count(count_of(part, "chunk_count")),
                   show_count(count_of(part, "distinct_chunk_count"))));
  line("stored", fmt::format("{}, and an index of {}", show_bytes(number_of(part, "stored_bytes")),
                             show_bytes(number_of(part, "index_bytes"))));
  if (count_of(part, "delta_chunk_count") > 0) {
    line("deltas", fmt::format("{} chunks, told by {} others that take {}",
                               show_count(count_of(part, "delta_chunk_count")),
                               show_count(count_of(part, "basis_count")),
                               show_bytes(number_of(part, "basis_stored_bytes"))));
  }
  const json::object& inodes = object_of(part, "inodes");
  line("names", show_count(count_of(part, "name_count")));
  for (const auto& [what, key] : {std::pair{"files", "files"},
                                  {"directories", "directories"},
                                  {"links", "symlinks"},
                                  {"hard links", "hard_links"},
                                  {"devices", "devices"},
                                  {"pipes", "fifos"},
                                  {"removals", "whiteouts"},
                                  {"opaque", "opaque_directories"}})
    line(fmt::format("  {}", what), show_count(count_of(inodes, key)));
  return kExitOk;
}

Result<int> mark_component(const Context& context, const std::string& name, bool is_shareable) {
  FR_CHECK(Context::check_name(name));
  FR_CHECK(context.patch("/api/v1/components/" + name,
                         json::serialize(json::object{{"shareable", is_shareable}})));
  return kExitOk;
}

Result<int> remove_component(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_CHECK(context.remove("/api/v1/components/" + name));
  return kExitOk;
}

// Adds `mark NAME`.
void add_mark(CLI::App& component, const Context& context, Command& chosen) {
  struct Arguments {
    std::string name;
    bool is_shareable = false, is_private = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = component.add_subcommand(
      "mark", "Say whether what one tenant's VMs teach about a component serves other tenants'");
  command->add_option("name", arguments->name, "a component, or an image")->required();
  auto* which = command->add_option_group("which");
  which->add_flag("--shareable", arguments->is_shareable, "it does");
  which->add_flag("--private", arguments->is_private, "it serves that tenant's alone");
  which->require_option(1);
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] {
      return mark_component(context, arguments->name, arguments->is_shareable);
    };
  });
}

// Adds `show NAME` and `rm NAME`.
void add_one(CLI::App& component, const Context& context, Command& chosen) {
  auto name = std::make_shared<std::string>();
  CLI::App* show = component.add_subcommand("show", "What a component is and holds");
  show->add_option("name", *name)->required();
  show->callback([&context, &chosen, name] {
    chosen = [&context, name] { return show_component(context, *name); };
  });
  CLI::App* remove = component.add_subcommand("rm", "Forget a component's name");
  remove->add_option("name", *name)->required();
  remove->callback([&context, &chosen, name] {
    chosen = [&context, name] { return remove_component(context, *name); };
  });
}

// Adds `import SOURCE FILE`.
void add_import(CLI::App& import, const std::string& source, const std::string& what,
                const Context& context, Command& chosen) {
  auto arguments = std::make_shared<ImportArguments>();
  arguments->source = source;
  CLI::App* command = import.add_subcommand(source, what);
  command->add_option("file", arguments->file, "what is imported")->required();
  command->add_option("--name", arguments->name, "the component's name")->required();
  command->add_option("--version", arguments->version);
  command->add_option("--function", arguments->function,
                      "base, kernel, service, config, …; what the source says, else service");
  command->add_option("--depends", arguments->depends, "components that it needs, NAME,...")
      ->delimiter(',');
  if (source != "oci") {
    command->add_option("--delta-from", arguments->delta_from, kDeltaFromHelp);
  } else {
    command->add_option("--reference", arguments->reference, "which of several images: 12-slim");
    command->add_option("--platform", arguments->platform,
                        "OS/ARCHITECTURE; linux/amd64 if not said");
  }
  command->add_flag("--shareable", arguments->is_shareable,
                    "what one tenant's VMs teach about it serves other tenants'");
  command->add_flag("--allow-devices", arguments->allow_devices, "device nodes may be in it");
  if (source == "dir")
    command->add_flag("--overlay", arguments->is_overlay,
                      "it is an upper folder of overlayfs: whiteouts and opaque folders count");
  command->add_flag("--no-wait", arguments->no_wait, "print the operation's id and return at once");
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return import_component(context, *arguments); };
  });
}

void add_build(CLI::App& component, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<BuildArguments>();
  CLI::App* command = component.add_subcommand(
      "build", "Build a component of Debian packages; the daemon must run as root");
  auto* base = command->add_option("--base", arguments->base, "a base system of this name");
  auto* kernel = command->add_option("--kernel", arguments->kernel,
                                     "Debian's kernel for virtual machines, of this name");
  auto* apt = command->add_option("--apt", arguments->apt, "packages to install: \"redis nginx\"");
  command->add_option("--on", arguments->on, "what they are installed on: BASE[,COMPONENT...]")
      ->needs(apt);
  command->add_option("--include", arguments->include, "packages that a base has besides")
      ->needs(base);
  command
      ->add_option("--name", arguments->name, "the component's name; the first package's if absent")
      ->needs(apt);
  command->add_option("--suite", arguments->suite, "Debian's release (default bookworm)");
  command->add_option("--version", arguments->version, "instead of the packages'");
  command->add_option("--delta-from", arguments->delta_from, kDeltaFromHelp);
  command->add_flag("--private", arguments->is_private,
                    "what one tenant's VMs teach about it serves that tenant's alone");
  command->add_flag("--no-wait", arguments->no_wait, "print the operation's id and return at once");
  base->excludes(kernel)->excludes(apt);
  kernel->excludes(apt);
  command->callback([&context, &chosen, arguments] {
    chosen = [&context, arguments] { return build_component(context, *arguments); };
  });
}

}  // namespace

void add_component_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* component = app.add_subcommand("component", "What images are composed of");
  component->require_subcommand(1);

  CLI::App* import = component->add_subcommand("import", "Turn what there is into a component");
  import->require_subcommand(1);
  add_import(*import, "tar", "A tar archive, plain or gzip, zstd, xz", context, chosen);
  add_import(*import, "dir", "A folder with all that is in it", context, chosen);
  add_import(*import, "deb", "A Debian package, its scripts not run", context, chosen);
  add_import(*import, "oci", "A container image, a component a layer", context, chosen);
  add_one(*component, context, chosen);
  add_mark(*component, context, chosen);
  add_build(*component, context, chosen);
  component->add_subcommand("list", "List components")->callback([&] {
    chosen = [&context] { return list_components(context); };
  });
}

}  // namespace forerun::cli
