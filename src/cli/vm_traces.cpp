#include "cli/vm_traces.h"

#include <fmt/core.h>

#include <filesystem>
#include <utility>

#include "os/file.h"
#include "trace/usage_trace.h"

namespace forerun::cli {
namespace {

constexpr uint32_t kInterval_s = 300;

Result<trace::VmTrace> read_folder(const std::string& path, const std::vector<std::string>& names) {
  const trace::VmTraceLimits limits;
  if (names.size() > limits.vms_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("cannot read {}: more than {} VMs", path, limits.vms_max));
  trace::VmTrace trace;
  std::vector<trace::TimedVm> timed;
  for (const std::string& name : names) {
    const std::string label = path + "/" + name;
    FR_TRY(auto file, os::PosixFile::open(label, os::PosixFile::Mode::kReadOnly));
    if (name.ends_with(".csv")) {
      FR_TRY(auto vm, trace::read_bitbrains_vm(*file, label, name, limits));
      timed.push_back(std::move(vm));
    } else {
      FR_TRY(auto vm, trace::read_planetlab_vm(*file, label, name, limits));
      trace.vms.push_back(std::move(vm));
    }
  }
  if (timed.empty()) return trace;
  if (!trace.vms.empty())
    return fail(ErrorCode::kInvalid,
                fmt::format("cannot read {}: some files end in .csv, some do not", path));
  return trace::on_grid(std::move(timed), kInterval_s, limits);
}

std::string name_of(const std::string& path) {
  const auto whole = std::filesystem::path(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace

Result<std::vector<NamedVmTrace>> read_vm_traces(const std::string& path, double core_mhz) {
  std::error_code failed;
  if (std::filesystem::is_regular_file(path, failed)) {
    FR_TRY(auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
    FR_TRY(auto trace, trace::read_usage_export(*file, path, core_mhz, kInterval_s, {}));
    std::vector<NamedVmTrace> traces;
    traces.push_back({name_of(path), std::move(trace)});
    return traces;
  }
  FR_TRY(const std::vector<std::string> names, os::list_folder(path));
  std::vector<std::string> folders;
  for (const std::string& name : names) {
    std::error_code error;
    if (std::filesystem::is_directory(path + "/" + name, error)) folders.push_back(name);
  }
  if (names.empty())
    return fail(ErrorCode::kInvalid, fmt::format("cannot read {}: the folder is empty", path));
  std::vector<NamedVmTrace> traces;
  if (folders.empty()) {
    FR_TRY(auto trace, read_folder(path, names));
    traces.push_back({name_of(path), std::move(trace)});
    return traces;
  }
  if (folders.size() != names.size())
    return fail(ErrorCode::kInvalid,
                fmt::format("cannot read {}: it holds both folders and files", path));
  for (const std::string& folder : folders) {
    FR_TRY(const auto files, os::list_folder(path + "/" + folder));
    if (files.empty())
      return fail(ErrorCode::kInvalid,
                  fmt::format("cannot read {}/{}: the folder is empty", path, folder));
    FR_TRY(auto trace, read_folder(path + "/" + folder, files));
    traces.push_back({folder, std::move(trace)});
  }
  return traces;
}

}  // namespace forerun::cli
