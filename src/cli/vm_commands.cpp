// forerun vm run|list|show|stop|rm|stats|profile|history|migrate|console
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/fields.h"
#include "cli/profile.h"
#include "cli/stats.h"
#include "cli/text.h"
#include "os/file.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr size_t kManifestBytesMax = 1024 * 1024;

struct RunArguments {
  std::string name, image, base, manifest, hostname, tenant, memory = "512M", disk_size, checkpoint;
  std::vector<std::string> with, pmem;
  unsigned cpus = 1;
  std::vector<std::string> forwards;
  std::string network = "user", mac;
  std::string kernel, initrd, append, disk_bus = "virtio", prefetch = "on";
  bool no_prefetch = false, disk_only = false;
};

struct StopArguments {
  std::string name, timeout = "60s";
  bool force = false;
};

Result<std::string> absolute_file(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  if (error)
    return fail(ErrorCode::kInvalid, fmt::format("cannot resolve '{}': {}", path, error.message()));
  return absolute.lexically_normal().string();
}

// Returns the bridge that --network names; empty for the user network.
Result<std::string> bridge_of(const std::string& network) {
  constexpr std::string_view kBridge = "bridge=";
  if (network == "user") return std::string();
  if (network == "bridge") return std::string("br0");
  if (network.starts_with(kBridge) && network.size() > kBridge.size())
    return network.substr(kBridge.size());
  return fail(ErrorCode::kInvalid,
              fmt::format("'{}' is no network: user, bridge, or bridge=NAME", printable(network)));
}

Result<std::string> run_request(const RunArguments& arguments) {
  FR_TRY(const uint64_t memory_bytes, parse_size(arguments.memory));
  uint64_t disk_bytes = 0;
  if (!arguments.disk_size.empty()) {
    FR_TRY(disk_bytes, parse_size(arguments.disk_size));
  }
  json::array forwards;
  for (const std::string& text : arguments.forwards) {
    FR_TRY(const ForwardArgument forward, parse_forward(text));
    forwards.push_back({{"protocol", "tcp"},
                        {"host_address", forward.host_address},
                        {"host_port", forward.host_port},
                        {"guest_port", forward.guest_port}});
  }
  json::array with;
  for (const std::string& component : arguments.with) with.emplace_back(component);
  json::array pmem;
  for (const std::string& image : arguments.pmem) pmem.emplace_back(image);
  std::string manifest;
  if (!arguments.manifest.empty()) {
    FR_TRY(const Buffer text, os::read_file(arguments.manifest, kManifestBytesMax));
    manifest = as_text(text);
  }
  const auto named = [](const std::string& value) {
    return value.empty() ? json::value() : json::value(value);
  };
  FR_TRY(const std::string bridge, bridge_of(arguments.network));
  FR_TRY(const std::string kernel, absolute_file(arguments.kernel));
  FR_TRY(const std::string initrd, absolute_file(arguments.initrd));
  return json::serialize(
      json::value{{"name", arguments.name},
                  {"image", named(arguments.image)},
                  {"base", named(arguments.base)},
                  {"with", std::move(with)},
                  {"manifest", manifest},
                  {"hostname", named(arguments.hostname)},
                  {"tenant", named(arguments.tenant)},
                  {"disk_bytes", disk_bytes},
                  {"memory_bytes", memory_bytes},
                  {"cpus", arguments.cpus},
                  {"forwards", std::move(forwards)},
                  {"bridge", named(bridge)},
                  {"mac", named(arguments.mac)},
                  {"pmem_images", std::move(pmem)},
                  {"kernel", kernel},
                  {"initrd", initrd},
                  {"append", arguments.append},
                  {"disk_bus", arguments.disk_bus},
                  {"prefetch", arguments.no_prefetch ? "off" : arguments.prefetch},
                  {"disk_only", arguments.disk_only},
                  {"checkpoint", named(arguments.checkpoint)}});
}

std::string show_forwards(const json::object& vm) {
  std::string text;
  for (const json::value& item : list_of(vm, "forwards")) {
    if (!item.is_object()) continue;
    const json::object& forward = item.as_object();
    text += fmt::format("{}tcp:{}:{}→{}", text.empty() ? "" : " ", text_of(forward, "host_address"),
                        count_of(forward, "host_port"), count_of(forward, "guest_port"));
  }
  return text;
}

std::string show_pmem(const json::object& vm) {
  std::string text;
  for (const json::value& item : list_of(vm, "pmem_images"))
    if (item.is_string())
      text += fmt::format("{}{}", text.empty() ? "" : " ", std::string_view(item.as_string()));
  return text;
}

std::string show_share(const json::object& vm) {
  const json::value* share = vm.if_contains("share");
  if (share == nullptr || !share->is_object()) return {};
  const json::object& of = share->as_object();
  std::string text = fmt::format("weight {:g}", number_of(of, "weight"));
  for (const auto& [key, word] :
       {std::pair{"reserved_bytes_per_s", "reserved"}, std::pair{"limit_bytes_per_s", "at most"}})
    if (const double rate = number_of(of, key); rate > 0)
      text += fmt::format(", {} {}/s", word, show_bytes(rate));
  return text;
}

// "moved → b"
std::string show_state(const json::object& vm) {
  const std::string state = text_of(vm, "state"), peer = text_of(vm, "peer");
  if (peer.empty() || state == "running") return state;
  return fmt::format("{} {} {}", state, state == "incoming" ? "←" : "→", peer);
}

void print_vm(const json::object& vm) {
  std::string text;
  const auto line = [&](std::string_view key, std::string_view value) {
    if (!value.empty()) text += fmt::format("{:<12} {}\n", key, value);
  };
  line("name", text_of(vm, "name"));
  line("state", show_state(vm));
  line("why", text_of(vm, "detail"));
  line("image", text_of(vm, "image"));
  line("memory", show_bytes(number_of(vm, "memory_bytes")));
  line("cpus", show_count(count_of(vm, "cpus")));
  line("accelerator", text_of(vm, "accelerator"));
  line("prefetch", text_of(vm, "prefetch"));
  line("share", show_share(vm));
  line("forwards", show_forwards(vm));
  line("bridge", text_of(vm, "bridge"));
  line("mac", text_of(vm, "mac"));
  line("pmem", show_pmem(vm));
  line("disk", text_of(vm, "export_uri"));
  line("console", text_of(vm, "console_path"));
  line("log", text_of(vm, "log_path"));
  if (count_of(vm, "pid") != 0) line("pid", fmt::to_string(count_of(vm, "pid")));
  line("started", text_of(vm, "started_at"));
  print(text);
}

Result<int> show_answer(const Context& context, const Result<std::string>& body) {
  if (!body) return std::unexpected(body.error());
  if (context.output != Output::kTable) {
    print_json(context, *body);
    return kExitOk;
  }
  FR_TRY(const json::object vm, parse_answer(*body));
  print_vm(vm);
  return kExitOk;
}

Result<int> run_vm(const Context& context, const RunArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  if (!arguments.image.empty()) FR_CHECK(Context::check_name(arguments.image));
  FR_TRY(const std::string request, run_request(arguments));
  return show_answer(context, context.post("/api/v1/vms", request));
}

Result<int> list_vms(const Context& context) {
  FR_TRY(const std::string body, context.get("/api/v1/vms"));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"NAME"},
               {"STATE"},
               {"IMAGE"},
               {"MEMORY", true},
               {"CPUS", true},
               {"ACCEL"},
               {"PREFETCH"},
               {"FORWARDS"}});
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& vm = item.as_object();
    table.add({text_of(vm, "name"), show_state(vm), text_of(vm, "image"),
               show_bytes(number_of(vm, "memory_bytes")), show_count(count_of(vm, "cpus")),
               text_of(vm, "accelerator"), text_of(vm, "prefetch"), show_forwards(vm)});
  }
  print(table.text());
  return kExitOk;
}

Result<int> stop_vm(const Context& context, const StopArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  FR_TRY(const double seconds, parse_seconds(arguments.timeout));
  const std::string request =
      json::serialize(json::value{{"force", arguments.force}, {"timeout_seconds", seconds}});
  const Nanos patience = from_seconds(std::min(seconds, 86400.0)) + std::chrono::minutes(2);
  const auto body =
      context.post(fmt::format("/api/v1/vms/{}/stop", arguments.name), request, patience);
  if (!body) return std::unexpected(body.error());
  if (context.output != Output::kTable) print_json(context, *body);
  return kExitOk;
}

struct ShareArguments {
  std::string name, reserve, limit;
  std::optional<double> weight;
};

Result<int> share_vm(const Context& context, const ShareArguments& arguments) {
  FR_CHECK(Context::check_name(arguments.name));
  json::object request;
  if (arguments.weight) request["weight"] = *arguments.weight;
  if (!arguments.reserve.empty()) {
    FR_TRY(request["reserved_bytes_per_s"], parse_size(arguments.reserve));
  }
  if (!arguments.limit.empty()) {
    FR_TRY(request["limit_bytes_per_s"], parse_size(arguments.limit));
  }
  const std::string path = "/api/v1/vms/" + arguments.name;
  return show_answer(context, request.empty()
                                  ? context.get(path)
                                  : context.patch(path + "/share", json::serialize(request)));
}

Result<int> remove_vm(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_CHECK(context.remove("/api/v1/vms/" + name));
  return kExitOk;
}

Result<int> open_console(const Context& context, const std::string& name) {
  FR_CHECK(Context::check_name(name));
  FR_TRY(const std::string body, context.get("/api/v1/vms/" + name));
  FR_TRY(const json::object vm, parse_answer(body));
  const std::string path = text_of(vm, "console_path");
  if (text_of(vm, "state") != "running" || path.empty()) {
    return fail(ErrorCode::kNotFound,
                fmt::format("VM '{}' does not run, so it has no console", name));
  }
  FR_CHECK(attach_console(path));
  return kExitOk;
}

void add_run(CLI::App* vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* run = vm->add_subcommand("run", "Create and start a VM, or start a stopped one again");
  run->add_option("name", arguments->name, "the VM's name")->required();
  auto* image =
      run->add_option("--image", arguments->image, "the disk it starts from")->type_name("NAME");
  auto* base = run->add_option("--base", arguments->base, "or: the component its disk stands on,")
                   ->type_name("COMPONENT")
                   ->excludes(image);
  run->add_option("--with", arguments->with, "with these on top, separated by commas")
      ->type_name("COMPONENTS")
      ->delimiter(',')
      ->needs(base);
  run->add_option("--hostname", arguments->hostname, "of a guest with --base")->needs(base);
  run->add_option("--checkpoint", arguments->checkpoint,
                  "whether checkpoints are made by themselves; as before, or off")
      ->check(CLI::IsMember({"auto", "off"}));
  run->add_option("--tenant", arguments->tenant, "whose VM it is: launches are foreseen by it");
  run->add_option("--manifest", arguments->manifest, "or: what its disk is composed of")
      ->type_name("FILE")
      ->excludes(image)
      ->excludes(base);
  run->add_option("--memory", arguments->memory, "such as 512M or 2G")
      ->type_name("SIZE")
      ->capture_default_str();
  run->add_option("--disk-size", arguments->disk_size, "of a new VM's disk, if over its image's")
      ->type_name("SIZE");
  run->add_option("--cpus", arguments->cpus, "virtual CPUs")
      ->type_name("COUNT")
      ->capture_default_str();
  run->add_option("--forward", arguments->forwards,
                  "tcp:[ADDRESS:]HOST_PORT:GUEST_PORT, any number of times")
      ->type_name("FORWARD")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run->add_option("--network", arguments->network,
                  "user: QEMU's own; bridge[=br0]: a TAP device on a bridge of the host")
      ->type_name("NETWORK")
      ->capture_default_str();
  run->add_option("--mac", arguments->mac, "of the guest's network device; kept with the VM");
  run->add_option("--kernel", arguments->kernel,
                  "boot this kernel instead of the disk's boot loader");
  run->add_option("--initrd", arguments->initrd, "initial RAM disk")->type_name("PATH");
  run->add_option("--pmem", arguments->pmem,
                  "show the guest these images' disks as /dev/pmem0, … read-only, in memory that "
                  "all guests share; mount them with -o ro,noload,dax")
      ->type_name("IMAGES")
      ->delimiter(',');
  run->add_option("--append", arguments->append, "kernel command line");
  run->add_option("--disk-bus", arguments->disk_bus, "how the guest sees its disk")
      ->type_name("WORD")
      ->check(CLI::IsMember({"virtio", "nvme"}))
      ->capture_default_str();
  run->add_option("--prefetch", arguments->prefetch, "observe: learn, but fetch nothing ahead")
      ->type_name("WORD")
      ->check(CLI::IsMember({"on", "observe", "off"}))
      ->capture_default_str();
  run->add_flag("--no-prefetch", arguments->no_prefetch, "the same as --prefetch off");
  run->add_flag("--disk-only", arguments->disk_only, "export its disk, start no QEMU");
  run->callback(
      [&, arguments] { chosen = [&context, arguments] { return run_vm(context, *arguments); }; });
}

void add_stop(CLI::App* vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<StopArguments>();
  CLI::App* stop = vm->add_subcommand("stop", "Ask the guest to power down, then insist");
  stop->add_option("name", arguments->name)->required();
  stop->add_flag("--force", arguments->force, "do not ask the guest");
  stop->add_option("--timeout", arguments->timeout, "how long the guest may take")
      ->type_name("TIME")
      ->capture_default_str();
  stop->callback(
      [&, arguments] { chosen = [&context, arguments] { return stop_vm(context, *arguments); }; });
}

void add_share(CLI::App* vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<ShareArguments>();
  CLI::App* share = vm->add_subcommand(
      "share", "What a VM may have of the links that all VMs use; with options, change it");
  share->add_option("name", arguments->name)->required();
  share->add_option("--weight", arguments->weight, "against the others', 1 to 10000; 100 at first")
      ->type_name("NUMBER");
  share
      ->add_option("--reserve", arguments->reserve,
                   "bytes a second that its guest's reads have before others; 0: none")
      ->type_name("SIZE");
  share->add_option("--limit", arguments->limit, "bytes a second at most; 0: no limit")
      ->type_name("SIZE");
  share->callback(
      [&, arguments] { chosen = [&context, arguments] { return share_vm(context, *arguments); }; });
}

void add_profile(CLI::App* vm, const Context& context, Command& chosen) {
  auto arguments = std::make_shared<ProfileArguments>();
  CLI::App* profile = vm->add_subcommand(
      "profile", "What the guest's agent says of it; with options, ask it for something else");
  profile->add_option("name", arguments->name)->required();
  profile->add_option("--period", arguments->period, "from one profile to the next, from now on")
      ->type_name("TIME");
  profile
      ->add_option("--metrics", arguments->metrics,
                   "of all, cpu, memory, working_set, pattern, io, net, pressure")
      ->type_name("NAMES")
      ->delimiter(',');
  profile->callback([&, arguments] {
    chosen = [&context, arguments] { return vm_profile(context, *arguments); };
  });
}

}  // namespace

void add_vm_commands(CLI::App& app, const Context& context, Command& chosen) {
  CLI::App* vm = app.add_subcommand("vm", "Virtual machines");
  vm->require_subcommand(1);
  add_run(vm, context, chosen);
  vm->add_subcommand("list", "List VMs")->callback([&] {
    chosen = [&context] { return list_vms(context); };
  });
  add_stop(vm, context, chosen);
  add_profile(vm, context, chosen);
  add_share(vm, context, chosen);
  add_checkpoint_commands(*vm, context, chosen);
  add_history_commands(*vm, context, chosen);
  add_migrate_command(*vm, context, chosen);

  using Action = Result<int> (*)(const Context&, const std::string&);
  const auto add_named = [&](const char* verb, const char* help, Action action) {
    auto name = std::make_shared<std::string>();
    CLI::App* command = vm->add_subcommand(verb, help);
    command->add_option("name", *name)->required();
    command->callback([&context, &chosen, name, action] {
      chosen = [&context, name, action] { return action(context, *name); };
    });
  };
  add_named("show", "Show a VM", [](const Context& asked, const std::string& name) -> Result<int> {
    FR_CHECK(Context::check_name(name));
    return show_answer(asked, asked.get("/api/v1/vms/" + name));
  });
  add_named("rm", "Forget a stopped VM and delete its own writes", &remove_vm);
  add_named("console", "Attach to the serial console; Ctrl-] leaves", &open_console);

  auto name = std::make_shared<std::string>();
  auto is_watch = std::make_shared<bool>(false);
  CLI::App* stats = vm->add_subcommand("stats", "What a VM waited for, and what was foreseen");
  stats->add_option("name", *name)->required();
  stats->add_flag("--watch", *is_watch, "again every second");
  stats->callback([&, name, is_watch] {
    chosen = [&context, name, is_watch] { return vm_stats(context, *name, *is_watch); };
  });
}

}  // namespace forerun::cli
