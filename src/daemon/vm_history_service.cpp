// What the API tells of what was seen and learned of one VM.
#include "core/log.h"
#include "daemon/service.h"
#include "os/file.h"
#include "predict/vm_history.h"

namespace forerun::daemon {

Result<api::RecordingInfo> DaemonService::start_recording(const std::string& vm) {
  FR_TRY(const auto known, parts_.vms.look_up(vm));
  if (!known.disk) return fail(ErrorCode::kNotFound, fmt::format("VM {} does not run", vm));
  FR_TRY(auto recording, parts_.recorder.start(vm));
  api::RecordingInfo info{vm, recording->id(), known.disk->size_bytes()};
  known.disk->record_to(std::move(recording));
  log::info("VM {}: its requests are recorded, as {}", vm, info.id);
  return info;
}

Result<api::HistoryExportInfo> DaemonService::export_history(
    const std::string& vm, const api::HistoryExportRequest& request) {
  FR_TRY(const auto known, parts_.vms.look_up(vm));
  if (os::path_exists(request.path))
    return fail(ErrorCode::kExists, fmt::format("{} exists already", request.path));
  if (known.disk) parts_.vm_histories.save(known.id);
  const predict::VmHistory history = parts_.vm_histories.known(vm, *known.layout, known.tenant);
  if (history.parts.empty() && history.models.models.empty())
    return fail(ErrorCode::kNotFound, fmt::format("nothing was learned of VM {} yet", vm));
  FR_TRY(const Buffer saved, predict::serialize(history));
  FR_CHECK(os::write_file_atomic(request.path, saved));
  api::HistoryExportInfo info{vm, request.path, saved.size(), {}, history.parts.size()};
  for (const auto& model : history.models.models) info.models.push_back(model.name);
  return info;
}

Result<api::HistoryImportInfo> DaemonService::import_history(
    const std::string& vm, const api::HistoryImportRequest& request) {
  const std::string attempted = fmt::format("cannot take up {} for VM {}", request.source_path, vm);
  const auto known = parts_.vms.look_up(vm);
  if (!known && known.error().code != ErrorCode::kNotFound)
    return std::unexpected(Error(known.error()).within(attempted));
  if (known && known->disk)
    return fail(ErrorCode::kExists, fmt::format("{}: it runs; stop it first", attempted));
  const auto saved = os::read_file(request.source_path, predict::VmHistory::kBytesMax);
  if (!saved) return std::unexpected(Error(saved.error()).within(attempted));
  const auto history = predict::parse_vm_history(*saved);
  if (!history) return std::unexpected(Error(history.error()).within(attempted));
  auto info = parts_.vm_histories.take_up(vm, *history, known ? known->layout.get() : nullptr,
                                          known ? known->tenant : history->tenant);
  if (!info) return std::unexpected(std::move(info.error()).within(attempted));
  log::info("VM {}: took up {} models and histories of {} components from {}", vm,
            info->models_taken.size(), info->histories_merged, request.source_path);
  return info;
}

}  // namespace forerun::daemon
