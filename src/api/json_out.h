// Answer bodies as JSON text. Times are RFC 3339 in UTC; what is not known is null; strings that
// are no UTF-8 are repaired.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/service.h"

namespace forerun::api {

std::string to_json(const ImageInfo& image);
std::string to_json(const OperationInfo& operation);
std::string to_json(const TagInfo& tag);
std::string to_json(const VmInfo& vm);
std::string to_json(const VmStats& stats, int64_t as_of);
std::string to_json(const VmProfile& profile, int64_t as_of);
std::string to_json(const RecordingInfo& recording);
std::string to_json(const RecordedRequests& recorded);
std::string to_json(const CheckpointInfo& info);
std::string to_json(const CheckpointPolicy& policy);
std::string to_json(const HistoryExportInfo& info);
std::string to_json(const HistoryImportInfo& info);
std::string to_json(const HostStats& stats, int64_t as_of);
std::string to_json(const UsageInfo& usage);
std::string to_json(const LaunchReport& report, int64_t as_of);
std::string to_json(const LaunchImportInfo& info);
std::string to_json(const ClusterInfo& info);
std::string to_json(const MigrationForecast& told);
std::string to_json(const MigrationReport& report, int64_t as_of);

// Return {"items": […], "as_of": "…"}.
std::string to_json(const std::vector<ImageInfo>& images, int64_t as_of);
std::string to_json(const std::vector<telemetry::SeriesName>& names, int64_t as_of);
std::string to_json(const std::vector<ComponentInfo>& components, int64_t as_of);
std::string to_json(const ComponentDetails& component);
std::string to_json(const std::vector<TagInfo>& tags, int64_t as_of);
std::string to_json(const std::vector<OperationInfo>& operations, int64_t as_of);
std::string to_json(const std::vector<VmInfo>& vms, int64_t as_of);
std::string to_json(const std::vector<PeerInfo>& peers, int64_t as_of);
std::string to_json(const std::vector<CheckpointInfo>& checkpoints, int64_t as_of);
std::string to_json(const std::vector<Check>& checks, int64_t as_of);

// Returns a problem of RFC 9457. `instance` is the path asked for.
std::string problem_json(const Error& error, int status, std::string_view instance);
// Returns the HTTP status that stands for `code`.
int http_status(ErrorCode code);

// Returns `text` with every byte that is no part of valid UTF-8 replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

}  // namespace forerun::api
