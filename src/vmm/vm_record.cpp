#include "vmm/vm_record.h"

#include <boost/json.hpp>

#include "core/bytes.h"
#include "core/id.h"
#include "os/file.h"

namespace forerun::vmm {
namespace {

namespace json = boost::json;

// Reads members of one object and remembers the first that is missing or wrong.
class Reader {
 public:
  explicit Reader(const json::object& object) : object_(object) {}

  void read(std::string_view key, std::string& out) {
    const json::value* value = find(key);
    if (value && value->is_string()) {
      out = std::string(value->as_string());
    } else {
      blame(key);
    }
  }
  void read(std::string_view key, bool& out) {
    const json::value* value = find(key);
    if (value && value->is_bool()) {
      out = value->as_bool();
    } else {
      blame(key);
    }
  }
  void read(std::string_view key, double& out) {
    const json::value* value = find(key);
    if (value && value->is_number()) {
      out = value->to_number<double>();
    } else {
      blame(key);
    }
  }
  template <std::integral T>
  void read(std::string_view key, T& out) {
    const json::value* value = find(key);
    json::error_code error;
    if (value) out = value->to_number<T>(error);  // refuses what does not fit or is no whole number
    if (!value || error) blame(key);
  }
  const json::value* find(std::string_view key) const { return object_.if_contains(key); }
  void blame(std::string_view key) {
    if (wrong_.empty()) wrong_ = std::string(key);
  }
  Status status() const {
    if (wrong_.empty()) return {};
    return fail(ErrorCode::kCorrupt,
                fmt::format("the VM record's '{}' is missing or of a wrong type", wrong_));
  }

 private:
  const json::object& object_;
  std::string wrong_;
};

json::array encode_pmem(const std::vector<PmemDevice>& devices) {
  json::array list;
  for (const PmemDevice& device : devices) {
    list.push_back(json::object{
        {"image", device.image}, {"path", device.path}, {"size_bytes", device.size_bytes}});
  }
  return list;
}

json::object encode_qemu(const QemuOptions& qemu) {
  json::array forwards;
  for (const Forward& forward : qemu.forwards) {
    forwards.push_back(json::object{{"host_address", forward.host_address},
                                    {"host_port", forward.host_port},
                                    {"guest_port", forward.guest_port}});
  }
  return {{"program", qemu.program},
          {"accelerator", accelerator_name(qemu.accelerator)},
          {"memory_bytes", qemu.memory_bytes},
          {"cpus", qemu.cpus},
          {"nbd_socket", qemu.nbd_socket},
          {"export_name", qemu.export_name},
          {"disk_bus", qemu.disk_bus == DiskBus::kNvme ? "nvme" : "virtio"},
          {"reconnect_delay_seconds", qemu.reconnect_delay_seconds},
          {"open_timeout_seconds", qemu.open_timeout_seconds},
          {"kernel", qemu.kernel},
          {"initrd", qemu.initrd},
          {"append", qemu.append},
          {"forwards", std::move(forwards)},
          {"bridge", qemu.bridge},
          {"mac", qemu.mac},
          {"pmem", encode_pmem(qemu.pmem)},
          {"qmp_socket", qemu.qmp_socket},
          {"console_socket", qemu.console_socket},
          {"console_log", qemu.console_log},
          {"agent_socket", qemu.agent_socket},
          {"start_paused", qemu.start_paused},
          {"no_reboot", qemu.no_reboot}};
}

void decode_forwards(Reader& reader, std::vector<Forward>& forwards) {
  const json::value* list = reader.find("forwards");
  if (!list || !list->is_array() || list->as_array().size() > kForwardsMax) {
    return reader.blame("forwards");
  }
  for (const json::value& item : list->as_array()) {
    if (!item.is_object()) return reader.blame("forwards");
    Reader member(item.as_object());
    Forward forward;
    member.read("host_address", forward.host_address);
    member.read("host_port", forward.host_port);
    member.read("guest_port", forward.guest_port);
    if (!member.status()) return reader.blame("forwards");
    forwards.push_back(std::move(forward));
  }
}

// What its agent is asked for, in the form in which the agent is told. Nothing in most records.
json::value encode_profile(const telemetry::Control& profile) {
  json::error_code error;
  json::value value = json::parse(telemetry::write_control(profile), error);
  return error ? json::value(json::object()) : value;
}

void decode_profile(Reader& reader, telemetry::Control& profile) {
  const json::value* value = reader.find("profile");
  if (value == nullptr) return;
  auto control = telemetry::parse_control(json::serialize(*value));
  if (!control) return reader.blame("profile");
  profile = *control;
}

// Records from before there was any have no such member.
void decode_share(Reader& reader, iosched::Share& share) {
  const json::value* value = reader.find("share");
  if (value == nullptr) return;
  if (!value->is_object()) return reader.blame("share");
  Reader member(value->as_object());
  member.read("weight", share.weight);
  member.read("reserved_bytes_per_s", share.reserved_bytes_per_s);
  member.read("limit_bytes_per_s", share.limit_bytes_per_s);
  if (!member.status() || !iosched::check(share)) reader.blame("share");
}

// The same.
void decode_checkpoints(Reader& reader, CheckpointSetting& setting) {
  const json::value* value = reader.find("checkpoints");
  if (value == nullptr) return;
  if (!value->is_object()) return reader.blame("checkpoints");
  Reader member(value->as_object());
  member.read("is_auto", setting.is_auto);
  member.read("budget_ratio", setting.budget_ratio);
  member.read("keep", setting.keep);
  const json::value* const made = member.find("made");
  if (!member.status() || made == nullptr || !made->is_array() ||
      !(setting.budget_ratio > 0 && setting.budget_ratio <= 1) || setting.keep == 0)
    return reader.blame("checkpoints");
  for (const json::value& number : made->as_array()) {
    boost::system::error_code wrong;
    setting.made.push_back(number.to_number<uint64_t>(wrong));
    if (wrong) return reader.blame("checkpoints");
  }
  // Records from before there were copies have neither.
  if (member.find("copies_to") != nullptr) member.read("copies_to", setting.copies_to);
  const json::value* const copied = member.find("copied_to");
  if (!member.status() || (copied != nullptr && !copied->is_array()))
    return reader.blame("checkpoints");
  for (const json::value& host : copied == nullptr ? json::array() : copied->as_array()) {
    if (!host.is_string()) return reader.blame("checkpoints");
    setting.copied_to.emplace_back(host.as_string());
  }
}

// Records from before there was any have no such member.
void decode_pmem(Reader& reader, std::vector<PmemDevice>& devices) {
  const json::value* list = reader.find("pmem");
  if (!list) return;
  if (!list->is_array() || list->as_array().size() > kPmemDevicesMax) return reader.blame("pmem");
  for (const json::value& item : list->as_array()) {
    if (!item.is_object()) return reader.blame("pmem");
    Reader member(item.as_object());
    PmemDevice device;
    member.read("image", device.image);
    member.read("path", device.path);
    member.read("size_bytes", device.size_bytes);
    if (!member.status()) return reader.blame("pmem");
    devices.push_back(std::move(device));
  }
}

json::object encode_migration(const MigrationRecord& migration) {
  return {{"role", migration.role == MigrationRecord::Role::kSource ? "source" : "target"},
          {"id", migration.id},
          {"peer", migration.peer},
          {"is_decided", migration.is_decided},
          {"is_postcopy", migration.is_postcopy}};
}

void decode_migration(Reader& reader, MigrationRecord& migration) {
  const json::value* value = reader.find("migration");
  if (!value) return;
  if (!value->is_object()) return reader.blame("migration");
  Reader member(value->as_object());
  std::string role;
  member.read("role", role);
  member.read("id", migration.id);
  member.read("peer", migration.peer);
  member.read("is_decided", migration.is_decided);
  member.read("is_postcopy", migration.is_postcopy);
  if (!member.status() || (role != "source" && role != "target")) return reader.blame("migration");
  migration.role =
      role == "source" ? MigrationRecord::Role::kSource : MigrationRecord::Role::kTarget;
}

Result<QemuOptions> decode_qemu(const json::object& object) {
  Reader reader(object);
  QemuOptions qemu;
  std::string accelerator, disk_bus;
  reader.read("program", qemu.program);
  reader.read("accelerator", accelerator);
  reader.read("memory_bytes", qemu.memory_bytes);
  reader.read("cpus", qemu.cpus);
  reader.read("nbd_socket", qemu.nbd_socket);
  reader.read("export_name", qemu.export_name);
  reader.read("disk_bus", disk_bus);
  reader.read("reconnect_delay_seconds", qemu.reconnect_delay_seconds);
  reader.read("open_timeout_seconds", qemu.open_timeout_seconds);
  reader.read("kernel", qemu.kernel);
  reader.read("initrd", qemu.initrd);
  reader.read("append", qemu.append);
  decode_forwards(reader, qemu.forwards);
  decode_pmem(reader, qemu.pmem);
  reader.read("qmp_socket", qemu.qmp_socket);
  reader.read("console_socket", qemu.console_socket);
  reader.read("console_log", qemu.console_log);
  // The next ones are not in records that older versions wrote.
  if (reader.find("bridge")) reader.read("bridge", qemu.bridge);
  if (reader.find("mac")) reader.read("mac", qemu.mac);
  if (reader.find("agent_socket")) reader.read("agent_socket", qemu.agent_socket);
  reader.read("start_paused", qemu.start_paused);
  reader.read("no_reboot", qemu.no_reboot);
  qemu.accelerator = accelerator == "kvm" ? Accelerator::kKvm : Accelerator::kTcg;
  qemu.disk_bus = disk_bus == "nvme" ? DiskBus::kNvme : DiskBus::kVirtio;
  FR_CHECK(reader.status());
  return qemu;
}

std::string record_path(const std::string& folder, const std::string& name) {
  return fmt::format("{}/{}.json", folder, name);
}

}  // namespace

std::string encode_vm_record(const VmRecord& record) {
  json::object object{
      {"version", kVmRecordVersion},
      {"name", record.name},
      {"image", record.image},
      {"image_digest", record.image_digest},
      {"tenant", record.tenant},
      {"prefetch", record.prefetch},
      {"profile", encode_profile(record.profile)},
      {"share",
       {{"weight", record.share.weight},
        {"reserved_bytes_per_s", record.share.reserved_bytes_per_s},
        {"limit_bytes_per_s", record.share.limit_bytes_per_s}}},
      {"checkpoints",
       {{"is_auto", record.checkpoints.is_auto},
        {"budget_ratio", record.checkpoints.budget_ratio},
        {"keep", record.checkpoints.keep},
        {"made", json::array(record.checkpoints.made.begin(), record.checkpoints.made.end())},
        {"copies_to", record.checkpoints.copies_to},
        {"copied_to",
         json::array(record.checkpoints.copied_to.begin(), record.checkpoints.copied_to.end())}}},
      {"disk_bytes", record.disk_bytes},
      {"should_run", record.should_run},
      {"boot_id", record.boot_id},
      {"pid", record.process.pid},
      {"pid_start_ticks", record.process.start_ticks},
      {"created_unix_seconds", record.created_unix_seconds},
      {"started_unix_seconds", record.started_unix_seconds},
      {"ownership", record.ownership},
      {"moved_to", record.moved_to},
      {"qemu", encode_qemu(record.qemu)}};
  if (record.migration.role != MigrationRecord::Role::kNone)
    object["migration"] = encode_migration(record.migration);
  return json::serialize(object) + "\n";
}

Result<VmRecord> decode_vm_record(std::string_view text) {
  if (text.size() > kVmRecordBytesMax)
    return fail(ErrorCode::kTooLarge, "the VM record is too large");
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object())
    return fail(ErrorCode::kCorrupt, "the VM record is no JSON object");
  Reader reader(value.as_object());
  int version = 0;
  reader.read("version", version);
  FR_CHECK(reader.status());
  if (version != kVmRecordVersion) {
    return fail(ErrorCode::kUnsupported, fmt::format("VM record version {} is not known", version));
  }
  VmRecord record;
  reader.read("name", record.name);
  reader.read("image", record.image);
  reader.read("image_digest", record.image_digest);
  reader.read("prefetch", record.prefetch);
  // The next ones are not in records that older versions wrote.
  if (reader.find("tenant") != nullptr) reader.read("tenant", record.tenant);
  if (reader.find("disk_bytes") != nullptr) reader.read("disk_bytes", record.disk_bytes);
  if (reader.find("ownership") != nullptr) reader.read("ownership", record.ownership);
  if (reader.find("moved_to") != nullptr) reader.read("moved_to", record.moved_to);
  decode_migration(reader, record.migration);
  decode_profile(reader, record.profile);
  decode_share(reader, record.share);
  decode_checkpoints(reader, record.checkpoints);
  reader.read("should_run", record.should_run);
  reader.read("boot_id", record.boot_id);
  reader.read("pid", record.process.pid);
  reader.read("pid_start_ticks", record.process.start_ticks);
  reader.read("created_unix_seconds", record.created_unix_seconds);
  reader.read("started_unix_seconds", record.started_unix_seconds);
  const json::value* qemu = reader.find("qemu");
  if (!qemu || !qemu->is_object()) reader.blame("qemu");
  FR_CHECK(reader.status());
  if (!is_valid_name(record.name))
    return fail(ErrorCode::kCorrupt, "the VM record's name is invalid");
  FR_TRY(record.qemu, decode_qemu(qemu->as_object()));
  record.qemu.name = record.name;
  return record;
}

Status save_vm_record(const std::string& folder, const VmRecord& record) {
  if (!is_valid_name(record.name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name for a VM", record.name));
  }
  return os::write_file_atomic(record_path(folder, record.name),
                               as_bytes(encode_vm_record(record)));
}

Result<VmRecord> load_vm_record(const std::string& folder, const std::string& name) {
  if (!is_valid_name(name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name for a VM", name));
  }
  const std::string path = record_path(folder, name);
  FR_TRY(const Buffer bytes, os::read_file(path, kVmRecordBytesMax));
  auto record = decode_vm_record(as_text(bytes));
  if (!record) return std::unexpected(std::move(record.error()).within(path));
  if (record->name != name) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} is the record of VM '{}'", path, record->name));
  }
  return record;
}

Status remove_vm_record(const std::string& folder, const std::string& name) {
  if (!is_valid_name(name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name for a VM", name));
  }
  FR_TRY(const auto opened, os::PosixFolder::open(folder));
  return opened->remove(name + ".json");
}

Result<std::vector<std::string>> list_vm_records(const std::string& folder) {
  FR_TRY(const std::vector<std::string> entries, os::list_folder(folder));
  std::vector<std::string> names;
  for (const std::string& entry : entries) {
    constexpr std::string_view kSuffix = ".json";
    if (!entry.ends_with(kSuffix)) continue;
    std::string name = entry.substr(0, entry.size() - kSuffix.size());
    if (is_valid_name(name)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace forerun::vmm
