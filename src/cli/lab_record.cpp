#include "cli/lab_record.h"

#include <boost/json.hpp>

#include "cli/fields.h"
#include "os/file.h"
#include "vmm/vm_process.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

json::object json_of(const os::ProcessId& process) {
  return {{"pid", process.pid}, {"start_ticks", process.start_ticks}};
}

os::ProcessId process_of(const json::object& object) {
  return {static_cast<int>(count_of(object, "pid") & 0x7FFFFFFF), count_of(object, "start_ticks")};
}

Result<lab::Host> host_of(const json::object& object) {
  lab::Host host{text_of(object, "name"), text_of(object, "address"),
                 text_of(object, "network_device"), text_of(object, "namespace"),
                 text_of(object, "folder")};
  if (host.name.empty() || host.address.empty() || host.folder.empty() || host.name_space.empty() ||
      host.name_space.find('/') != std::string::npos)
    return fail(ErrorCode::kCorrupt, "a host of it is incomplete");
  return host;
}

}  // namespace

std::string encode_lab(const LabRecord& record) {
  json::array hosts;
  for (size_t i = 0; i < record.plan.hosts.size(); ++i) {
    const lab::Host& host = record.plan.hosts[i];
    hosts.push_back({{"name", host.name},
                     {"address", host.address},
                     {"network_device", host.network_device},
                     {"namespace", host.name_space},
                     {"folder", host.folder},
                     {"process", json_of(record.hosts[i])}});
  }
  return json::serialize(json::object{{"version", kLabRecordVersion},
                                      {"folder", record.plan.folder},
                                      {"prefix_bits", record.plan.prefix_bits},
                                      {"boot_id", record.boot_id},
                                      {"switch", json_of(record.network)},
                                      {"hosts", std::move(hosts)}});
}

Result<LabRecord> decode_lab(std::string_view text) {
  const auto parsed = parse_answer(text);
  if (!parsed) return fail(ErrorCode::kCorrupt, "it is no JSON object");
  if (count_of(*parsed, "version") != kLabRecordVersion)
    return fail(ErrorCode::kUnsupported, "it is of another version of forerun");
  LabRecord record;
  record.plan.folder = text_of(*parsed, "folder");
  record.plan.prefix_bits = static_cast<unsigned>(count_of(*parsed, "prefix_bits"));
  record.boot_id = text_of(*parsed, "boot_id");
  record.network = process_of(object_of(*parsed, "switch"));
  for (const json::value& item : list_of(*parsed, "hosts")) {
    if (!item.is_object()) return fail(ErrorCode::kCorrupt, "a host of it is no object");
    FR_TRY(record.plan.hosts.emplace_back(), host_of(item.as_object()));
    record.hosts.push_back(process_of(object_of(item.as_object(), "process")));
  }
  if (record.plan.folder.empty() || record.hosts.empty())
    return fail(ErrorCode::kCorrupt, "it is incomplete");
  return record;
}

std::string lab_record_path(const std::string& folder) { return folder + "/lab.json"; }

Status save_lab(const LabRecord& record) {
  return os::write_file_atomic(lab_record_path(record.plan.folder),
                               as_bytes(encode_lab(record) + "\n"));
}

Result<LabRecord> load_lab(const std::string& folder) {
  const std::string path = lab_record_path(folder);
  if (!os::path_exists(path))
    return fail(ErrorCode::kNotFound, fmt::format("no lab is up in {}", folder));
  FR_TRY(const Buffer text, os::read_file(path, kLabRecordBytesMax));
  auto record = decode_lab(as_text(text));
  if (!record) return std::unexpected(std::move(record.error()).within("cannot read " + path));
  if (record->plan.folder != folder)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} is of a lab in {}", path, record->plan.folder));
  return record;
}

bool is_running(const LabRecord& record, const os::ProcessId& process) {
  if (process.pid == 0) return false;
  const auto boot = vmm::host_boot_id();
  return boot && *boot == record.boot_id && os::is_alive(process);
}

}  // namespace forerun::cli
