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

Status DaemonService::push_metrics(const std::string& vm, const api::PushRequest& values) {
  FR_CHECK(parts_.vms.get(vm));
  return parts_.usage.push(vm, values);
}

}  // namespace forerun::daemon
