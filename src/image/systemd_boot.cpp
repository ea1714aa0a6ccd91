#include "image/systemd_boot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "image/hwdb.h"

namespace forerun::image {
namespace {

constexpr std::array<std::string_view, 4> kUnitFolders{
    "/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
    "/lib/systemd/system"};
constexpr std::array<std::string_view, 2> kConfigRoots{"/etc", "/usr/lib"};
constexpr size_t kConfigBytesMax = 64 * kKiB;
constexpr size_t kConfigPathsMax = 64;
constexpr size_t kScriptBytesMax = 64 * kKiB;

// How likely what is started by a socket, or asked for in passing, is started during the boot.
constexpr float kSocketShare = 0.85f;
constexpr float kConfigShare = 0.9f;
constexpr float kNamedPathShare = 0.75f;
constexpr float kUnknownCondition = 0.6f;
// Of what udev's database holds for the devices of QEMU's machines (boots of four Debian 12 images:
// 62 of 66 chunks).
constexpr float kDatabaseShare = 0.95f;
// Of a path below /sys, /proc or /dev that a unit asks for; below /run: nobody put it there yet.
constexpr float kKernelPathShare = 0.9f;
constexpr float kRunPathShare = 0.2f;
// Firmware variables and what a kernel left of its last crash: of virtual machines few have any.
constexpr float kFirmwarePathShare = 0.2f;

// What programs of systemd and Debian read beside themselves, as their manual pages say. Folders
// end in '/' and are looked for in /etc and /usr/lib; absolute paths stand for themselves.
struct Reader {
  std::string_view program;
  std::array<std::string_view, 6> paths;
};
constexpr std::array<Reader, 15> kReaders{{
    {"systemd-journald", {"/etc/systemd/journald.conf", "systemd/journald.conf.d/"}},
    {"systemd-udevd", {"udev/rules.d/", "systemd/network/", "/etc/udev/udev.conf"}},
    {"udevadm", {"udev/rules.d/", "systemd/network/", "/etc/udev/udev.conf"}},
    {"systemd-tmpfiles", {"tmpfiles.d/"}},
    {"systemd-sysusers", {"sysusers.d/", "/etc/gshadow", "/etc/shadow"}},
    {"systemd-sysctl", {"sysctl.d/", "/etc/sysctl.conf"}},
    {"systemd-modules-load", {"modules-load.d/", "/etc/modules"}},
    {"systemd-binfmt", {"binfmt.d/"}},
    {"systemd-networkd", {"systemd/network/", "/etc/systemd/networkd.conf"}},
    {"systemd-resolved", {"/etc/systemd/resolved.conf", "/etc/resolv.conf"}},
    {"systemd-logind", {"/etc/systemd/logind.conf"}},
    {"systemd-timesyncd", {"/etc/systemd/timesyncd.conf"}},
    {"dbus-daemon",
     {"/usr/share/dbus-1/system.conf", "/usr/share/dbus-1/system.d/", "/etc/dbus-1/system.d/",
      "/usr/share/dbus-1/system-services/"}},
    {"cron", {"/etc/crontab", "/etc/cron.d/", "/var/spool/cron/crontabs/"}},
    {"sshd", {"/etc/ssh/"}},
}};

constexpr std::array<std::string_view, 2> kGeneratorFolders{"/etc/systemd/system-generators",
                                                            "/usr/lib/systemd/system-generators"};
constexpr float kGeneratedShare = 0.8f;

bool is_python(std::string_view name) { return name.starts_with("python3"); }

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// Returns paths that a configuration names: absolute ones and modules ("modules/x.so").
std::vector<std::string> paths_in(std::string_view text) {
  std::vector<std::string> paths;
  while (!text.empty() && paths.size() < kConfigPathsMax) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    constexpr std::string_view kSeparators = " \t\r\"'=;,:(){}";
    while (!line.empty()) {
      line.remove_prefix(std::min(line.find_first_not_of(kSeparators), line.size()));
      const size_t stop = std::min(line.find_first_of(kSeparators), line.size());
      const std::string_view word = line.substr(0, stop);
      line.remove_prefix(stop);
      if ((word.starts_with('/') && word.size() > 1) || word.ends_with(".so"))
        paths.emplace_back(word);
    }
  }
  return paths;
}

}  // namespace

void SystemdBoot::add_manager(std::string_view init, float probability) {
  reads_.add_program(init, probability);
  for (const std::string_view path :
       {"/etc/systemd/system.conf", "/etc/machine-id", "/etc/hostname", "/etc/os-release",
        "/etc/fstab", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group",
        "/etc/locale.conf", "/etc/default/locale"})
    reads_.add_file(path, probability);
  // Its own children run in this locale unless one is set.
  reads_.add_folder("/usr/lib/locale/C.utf8", probability * kConfigShare, 1);
  modules_.add_indexes(probability);
  for (const std::string_view root : {"/etc/systemd", "/usr/lib/systemd", "/lib/systemd"}) {
    for (const std::string_view kind : {"system-environment-generators", "system-generators"})
      reads_.add_programs_of(fmt::format("{}/{}", root, kind), probability);
  }
  for (const std::string_view folder : {"/etc/init.d", "/etc/rc2.d", "/etc/rc3.d", "/etc/rcS.d"})
    reads_.add_file(folder, probability);
}

const SystemdBoot::Loaded& SystemdBoot::load(const std::string& name) {
  const auto [entry, is_new] = loaded_.try_emplace(name);
  Loaded& loaded = entry->second;
  if (!is_new || loaded_.size() > units_max_) return loaded;
  const std::string generic = template_of(name);
  const auto read = [&](const std::string& path) {
    const auto text = reads_.text_of(path, kUnitBytesMax);
    if (!text) return false;
    read_systemd_unit(*text, name, loaded.unit);
    loaded.files.push_back(path);
    return true;
  };
  // The first folder that has it counts; a link to /dev/null there masks the unit.
  const auto read_fragment = [&](const std::string& file) {
    for (const std::string_view folder : kUnitFolders) {
      const auto found = reads_.finder().find(folder);
      if (!found || found->info.kind != FileKind::kDirectory) continue;
      const auto entries = reads_.finder().list(found->file);
      if (!entries || !(*entries)->contains(file)) continue;
      loaded.is_masked = !read(fmt::format("{}/{}", folder, file));
      return true;
    }
    return false;
  };
  if (!read_fragment(name) && !generic.empty()) read_fragment(generic);
  for (const std::string_view folder : kUnitFolders) {
    for (const std::string& base : {name, generic}) {
      if (base.empty()) continue;
      for (const std::string_view kind : {".wants", ".requires", ".d"}) {
        const std::string path = fmt::format("{}/{}{}", folder, base, kind);
        const auto found = reads_.finder().find(path);
        if (!found || found->info.kind != FileKind::kDirectory) continue;
        const auto entries = reads_.finder().list(found->file);
        if (!entries) continue;
        for (const auto& [inner, file] : **entries) {
          if (kind == ".d") {
            if (inner.ends_with(".conf")) read(path + "/" + inner);
          } else if (is_unit_name(inner)) {
            loaded.wanted.push_back(inner);
          }
        }
      }
    }
  }
  return loaded;
}

// systemd loads what any loaded unit names, started or not.
void SystemdBoot::add_unit_files(float probability) {
  for (const std::string_view folder : kUnitFolders) reads_.add_file(folder, probability, kMiB);
  std::deque<std::string> queue{"default.target",  "sysinit.target",    "basic.target",
                                "shutdown.target", "emergency.service", "rescue.service"};
  std::set<std::string> seen(queue.begin(), queue.end());
  for (; !queue.empty() && seen.size() < units_max_; queue.pop_front()) {
    const Loaded& loaded = load(queue.front());
    for (const std::string& file : loaded.files) reads_.add_file(file, probability);
    for (const auto* names :
         {&loaded.wanted, &loaded.unit.pulls_in, &loaded.unit.mentions, &loaded.unit.sockets}) {
      for (const std::string& name : *names) {
        if (seen.insert(name).second) queue.push_back(name);
      }
    }
  }
}

bool SystemdBoot::is_there(const std::string& path, bool must_have_entries) {
  const auto found = reads_.finder().find(path);
  if (!found || !must_have_entries) return found.has_value();
  if (found->info.kind != FileKind::kDirectory) return false;
  const auto entries = reads_.finder().list(found->file);
  return entries && !(*entries)->empty();
}

// Returns how likely one condition holds in a virtual machine, as far as the files tell.
float SystemdBoot::share_of(const UnitCondition& condition) {
  const std::string& argument = condition.argument;
  float holds = kUnknownCondition;
  if (condition.kind.starts_with("Path") || condition.kind.starts_with("File") ||
      condition.kind == "DirectoryNotEmpty") {
    const auto is_below = [&](std::string_view root) {
      return argument.starts_with(root) &&
             (argument.size() == root.size() || argument[root.size()] == '/');
    };
    if (is_below("/sys/firmware") || is_below("/sys/fs/pstore")) {
      holds = kFirmwarePathShare;
    } else if (condition.kind == "PathIsMountPoint" && is_below("/etc")) {
      holds = 0.0f;  // of a file there: only containers mount over it
    } else if (!is_below("/sys") && !is_below("/proc") && !is_below("/dev") && !is_below("/run")) {
      holds = is_there(argument, condition.kind == "DirectoryNotEmpty") ? 1.0f : 0.0f;
    } else if (is_below("/run")) {
      holds = kRunPathShare;
    } else if (!condition.is_negated) {
      holds = kKernelPathShare;
    }
  } else if (condition.kind == "Virtualization") {
    constexpr std::array<std::string_view, 6> kMachines{"yes", "true", "1", "vm", "qemu", "kvm"};
    holds =
        std::find(kMachines.begin(), kMachines.end(), argument) != kMachines.end() ? 1.0f : 0.0f;
  } else if (condition.kind == "KernelCommandLine" || condition.kind == "FirstBoot") {
    holds = 0.0f;
  } else if (condition.kind == "Capability") {
    holds = 1.0f;
  }
  return condition.is_negated ? 1 - holds : holds;
}

float SystemdBoot::share_of(const SystemdUnit& unit) {
  float share = 1, best_trigger = -1;
  for (const UnitCondition& condition : unit.conditions) {
    const float holds = share_of(condition);
    if (condition.is_trigger)
      best_trigger = std::max(best_trigger, holds);
    else
      share *= holds;
  }
  return best_trigger < 0 ? share : share * best_trigger;
}

// Breadth first; what a unit pulls in comes before it, roughly as Wants= with After= of targets do.
void SystemdBoot::start(const std::string& root, float probability) {
  struct Task {
    std::string name;
    float probability;
  };
  std::deque<Task> queue{{root, probability}};
  std::vector<Task> order;
  for (; !queue.empty(); queue.pop_front()) {
    const Task task = queue.front();
    const auto known = started_.find(task.name);
    if (known != started_.end() || started_.size() >= units_max_ || task.probability < 0.05f)
      continue;
    const Loaded& loaded = load(task.name);
    if (loaded.is_masked) continue;
    const float share = task.probability * share_of(loaded.unit);
    started_.emplace(task.name, share);
    order.push_back({task.name, share});
    // Conditions are looked at when a unit's turn comes: what it pulls in is queued before that.
    for (const auto* names : {&loaded.unit.pulls_in, &loaded.wanted}) {
      for (const std::string& name : *names) queue.push_back({name, task.probability});
    }
    if (!task.name.ends_with(".socket")) continue;
    const std::string service = task.name.substr(0, task.name.size() - 7) + ".service";
    queue.push_back({service, share * kSocketShare});
    for (const auto& name : loaded.unit.sockets) queue.push_back({name, share * kSocketShare});
  }
  for (const Task& task : order) add_started(task.name, load(task.name), task.probability);
}

void SystemdBoot::add_started(const std::string& name, const Loaded& loaded, float probability) {
  if (probability <= 0) return;
  for (const std::string& file : loaded.files) reads_.add_file(file, probability);
  for (const UnitCommand& command : loaded.unit.commands) add_command(command, probability);
  for (const std::string& file : loaded.unit.files) reads_.add_file(file, probability);
  for (const UnitCommand& command : loaded.unit.commands) {
    for (const std::string& file : command.arguments)
      reads_.add_file(file, probability * kConfigShare, kConfigBytesMax);
  }
  if (name.ends_with(".mount") && !loaded.files.empty())
    reads_.add_program("/usr/bin/mount", probability * kConfigShare);
  if (name.starts_with("modprobe@") && name.ends_with(".service"))
    modules_.add_module(name.substr(9, name.size() - 17), probability);
  if (name.ends_with(".service") && !loaded.files.empty())
    add_named_configuration(std::string_view(name).substr(0, name.size() - 8),
                            probability * kConfigShare);
}

void SystemdBoot::add_command(const UnitCommand& command, float probability) {
  const std::string& path = command.program;
  std::string whole = path;
  if (!path.starts_with('/')) {
    for (const std::string_view folder : {"/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
      whole = fmt::format("{}/{}", folder, path);
      if (reads_.finder().find(whole)) break;
    }
  }
  reads_.add_program(whole, probability);
  if (is_python(file_name(whole))) {
    if (!command.arguments.empty()) python_.add_script(command.arguments[0], probability);
  } else if (const auto text = reads_.text_of(whole, kScriptBytesMax)) {
    add_script(whole, *text, probability);
  }
  add_what_it_reads(file_name(whole), probability);
  if (file_name(whole) == "systemd-udevd" && configured_.insert("hwdb").second)
    add_hardware_database(probability * kDatabaseShare);
}

void SystemdBoot::add_script(const std::string& path, std::string_view text, float probability) {
  if (!text.starts_with("#!")) return;
  // "#!/usr/bin/python3 -E" and "#!/usr/bin/env python3"
  const std::string_view line = text.substr(0, text.find('\n'));
  if (line.find("python3") != std::string_view::npos)
    python_.add_script(path, probability);
  else if (line.find("perl") != std::string_view::npos)
    scripts_.add_perl(path, probability);
  scripts_.add_named(text, probability);
}

// A generator that is a script makes units at boot that are instances of templates it names, or
// pulls such units in: of clusters of a database, say. Their conditions name what is not known
// here.
void SystemdBoot::add_generated(const std::string& generator, float probability) {
  const auto text = reads_.text_of(generator, kScriptBytesMax);
  if (!text || !text->starts_with("#!")) return;
  for (const std::string& name : named_units(*text)) {
    const bool is_template = name.find("@.") != std::string::npos;
    if (!is_template || started_.contains(name) || started_.size() >= units_max_) continue;
    const Loaded& loaded = load(name);
    if (loaded.is_masked || loaded.files.empty()) continue;
    started_.emplace(name, probability);
    add_started(name, loaded, probability);
  }
}

void SystemdBoot::add_what_it_reads(std::string_view program, float probability) {
  if (!configured_.insert("program " + std::string(program)).second) return;
  for (const Reader& reader : kReaders) {
    if (reader.program != program) continue;
    for (const std::string_view path : reader.paths) {
      if (path.empty()) break;
      if (!path.starts_with('/')) {
        for (const std::string_view root : kConfigRoots)
          reads_.add_folder(fmt::format("{}/{}", root, path.substr(0, path.size() - 1)),
                            probability);
      } else if (path.ends_with('/')) {
        reads_.add_folder(path.substr(0, path.size() - 1), probability);
      } else {
        reads_.add_file(path, probability);
      }
    }
  }
}

// Whatever stands in /etc under the service's name, and the files that this names.
void SystemdBoot::add_named_configuration(std::string_view stem, float probability) {
  stem = stem.substr(0, stem.find('@'));
  if (stem.empty() || !configured_.insert(std::string(stem)).second) return;
  reads_.add_file(fmt::format("/etc/default/{}", stem), probability);
  // A unit may start its program by a script.
  reads_.add_program(fmt::format("/usr/sbin/{}", stem), probability);
  std::deque<std::pair<std::string, int>> queue{{fmt::format("/etc/{}", stem), 0},
                                                {fmt::format("/etc/{}.conf", stem), 0}};
  for (size_t files = 0; !queue.empty() && files < 200; ++files, queue.pop_front()) {
    const auto [path, depth] = queue.front();
    const auto found = reads_.add_file(path, probability, kConfigBytesMax);
    if (!found) continue;
    if (found->info.kind == FileKind::kRegular) {
      if (const auto text = reads_.text_of(path, kConfigBytesMax))
        add_paths_in(*text, stem, probability);
    } else if (found->info.kind == FileKind::kDirectory && depth < 3) {
      const auto entries = reads_.finder().list(found->file);
      if (!entries) continue;
      for (const auto& [name, file] : **entries) {
        // Debian's convention: what of x-available is in use is linked from x-enabled.
        if (!name.ends_with("-available"))
          queue.emplace_back(fmt::format("{}/{}", path, name), depth + 1);
      }
    }
  }
}

void SystemdBoot::add_paths_in(std::string_view text, std::string_view stem, float probability) {
  for (const std::string& path : paths_in(text)) {
    const float share = probability * kNamedPathShare;
    if (path.starts_with('/')) {
      const auto found = reads_.finder().find(path);
      if (!found || found->path == "/") continue;
      if (found->info.kind == FileKind::kRegular) reads_.add_file(path, share, kConfigBytesMax);
      if (found->info.kind == FileKind::kDirectory) reads_.add_file(path, share, kConfigBytesMax);
      continue;
    }
    for (const std::string_view folder : {"/usr/lib", "/usr/lib/x86_64-linux-gnu"})
      reads_.add_program(fmt::format("{}/{}/{}", folder, stem, path), probability);
  }
}

// udev looks every device up, by the rules 50-udev-default, 60-evdev and 60-input-id.
void SystemdBoot::add_hardware_database(float probability) {
  constexpr std::string_view kFile = "/usr/lib/udev/hwdb.bin";
  std::vector<std::string> names;
  for (const std::string_view device : KernelModules::virtual_hardware()) {
    names.emplace_back(device);
    if (!device.starts_with("input:")) continue;
    names.push_back(fmt::format("evdev:{}", device));
    names.push_back(fmt::format("id-input:modalias:{}", device));
  }
  constexpr std::string_view kMachine = "dmi:bvnSeaBIOS:bvr1:bd04/01/2014:svnQEMU:pnStandardPC:";
  names.push_back(fmt::format("evdev:atkbd:{}", kMachine));
  names.push_back(fmt::format("evdev:name:AT Translated Set 2 keyboard:{}", kMachine));
  const auto found = reads_.finder().find(kFile);
  if (!found || found->info.kind != FileKind::kRegular) return;
  const auto ranges = hwdb_reads(
      [&](uint64_t offset, size_t size) {
        return reads_.finder().files().read(found->file, offset, size);
      },
      names);
  if (ranges) reads_.add_parts(kFile, *ranges, probability);
}

void SystemdBoot::add_services() {
  start("sysinit.target", 0.95f);
  reads_.add_program("/bin/sh", 0.8f);  // udev's rules and cron run it
  // blkid, for udev, looks for signatures at the beginning of the disk.
  reads_.add_range({0, 512 * kKiB}, 0.85f);
  modules_.add_virtual_hardware(0.8f);
  start("basic.target", 0.95f);
  start("default.target", 0.93f);
  for (const std::string_view folder : kGeneratorFolders) {
    const auto found = reads_.finder().find(folder);
    if (!found || found->info.kind != FileKind::kDirectory) continue;
    const auto entries = reads_.finder().list(found->file);
    if (!entries) continue;
    for (const auto& [name, file] : **entries)
      add_generated(fmt::format("{}/{}", folder, name), kGeneratedShare);
  }
}

}  // namespace forerun::image
