// Request bodies, read with suspicion: bounded in size and depth, unknown members ignored, a wrong
// type refused with the member named.
#pragma once

#include <string_view>

#include "api/service.h"
#include "core/result.h"

namespace forerun::api {

inline constexpr size_t kRequestBytesMax = 64 << 10;
inline constexpr size_t kRequestDepthMax = 16;

// ERRORS of all: kInvalid, kTooLarge; the message names the member.
Result<ImportRequest> parse_import_request(std::string_view body);
Result<ComponentImportRequest> parse_component_request(std::string_view body);
// Returns whether the component is to be shareable.
Result<bool> parse_mark_request(std::string_view body);
Result<ComposeRequest> parse_compose_request(std::string_view body);
Result<VerifyRequest> parse_verify_request(std::string_view body);  // empty: all defaults
Result<GcRequest> parse_gc_request(std::string_view body);          // empty: all defaults
Result<ExportRequest> parse_export_request(std::string_view body);
Result<SignRequest> parse_sign_request(std::string_view body);
Result<RunRequest> parse_run_request(std::string_view body);
// The path's words and the query of a question for a series: last_seconds, points_max, resolution.
Result<UsageRequest> parse_usage_request(std::string entity, std::string_view metric,
                                         std::string_view query);
Result<UsageImportRequest> parse_usage_import_request(std::string_view body);
Result<PushRequest> parse_push_request(std::string_view body);
Result<ShareRequest> parse_share_request(std::string_view body);
Result<CheckpointCopyRequest> parse_checkpoint_copy_request(std::string_view body);
Result<CheckpointPolicyRequest> parse_checkpoint_policy_request(std::string_view body);
Result<LaunchImportRequest> parse_launch_import_request(std::string_view body);
Result<CollectRequest> parse_collect_request(std::string_view body);
Result<RestoreRequest> parse_restore_request(std::string_view body);
Result<HistoryExportRequest> parse_history_export_request(std::string_view body);
Result<HistoryImportRequest> parse_history_import_request(std::string_view body);
Result<MigrateRequest> parse_migrate_request(std::string_view body);
Result<StopRequest> parse_stop_request(std::string_view body);  // an empty body: all defaults

}  // namespace forerun::api
