// What the API asks of the history of use.
#include "daemon/service.h"
#include "os/clock.h"

namespace forerun::daemon {

Result<api::UsageInfo> DaemonService::usage(const api::UsageRequest& asked) {
  const int64_t now = os::unix_seconds();
  api::UsageInfo info{
      asked.name,
      asked.resolution.value_or(telemetry::resolution_for(asked.last_seconds, asked.points_max)),
      {}};
  FR_TRY(const auto points,
         parts_.history.read(asked.name, info.resolution, now - asked.last_seconds, now + 1));
  // The newest, if there are more than are asked for.
  const size_t skipped = points.size() - std::min<size_t>(points.size(), asked.points_max);
  for (size_t i = skipped; i < points.size(); ++i)
    info.points.push_back({points[i].unix_seconds, points[i].mean, points[i].max});
  return info;
}

Result<api::OperationInfo> DaemonService::import_usage(const api::UsageImportRequest& asked) {
  FR_TRY(
      UsageImporter::Work work,
      parts_.usage_import.prepare({asked.url, asked.instance, asked.queries, asked.last_seconds}));
  return operations_.start(
      "usage_import", "history",
      [work = std::move(work)](Operations::Progress& progress) -> Result<std::string> {
        FR_TRY(const UsageImported imported, work([&](uint64_t done_s, uint64_t total_s) {
                 progress.update(
                     0, 0, fmt::format("{} of {} h read", done_s / 3600, (total_s + 3599) / 3600));
                 return !progress.should_stop();
               }));
        return words_of(imported);
      });
}

Status DaemonService::push_metrics(const std::string& vm, const api::PushRequest& values) {
  FR_CHECK(parts_.vms.get(vm));
  return parts_.usage.push(vm, values);
}

}  // namespace forerun::daemon
