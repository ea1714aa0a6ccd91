#include "api/json_out.h"

#include <boost/json.hpp>
#include <cmath>

#include "os/clock.h"

namespace forerun::api {
namespace {

namespace json = boost::json;

json::value text(std::string_view value) { return json::string(repair_utf8(value)); }

json::value number(double value) {
  return std::isfinite(value) ? json::value(value) : json::value();
}

json::value moment(int64_t unix_seconds) {
  return unix_seconds == 0 ? json::value() : json::value(os::format_utc(unix_seconds));
}

json::value text_or_null(std::string_view value) {
  return value.empty() ? json::value() : text(value);
}

std::string_view word(OperationState state) {
  switch (state) {
    case OperationState::kRunning:
      return "running";
    case OperationState::kSucceeded:
      return "succeeded";
    case OperationState::kFailed:
      return "failed";
  }
  return "failed";
}

std::string_view word(VmState state) {
  switch (state) {
    case VmState::kRunning:
      return "running";
    case VmState::kStopped:
      return "stopped";
    case VmState::kFailed:
      return "failed";
    case VmState::kMigrating:
      return "migrating";
    case VmState::kIncoming:
      return "incoming";
    case VmState::kMoved:
      return "moved";
  }
  return "failed";
}

std::string_view word(PrefetchMode mode) {
  switch (mode) {
    case PrefetchMode::kOn:
      return "on";
    case PrefetchMode::kObserve:
      return "observe";
    case PrefetchMode::kOff:
      return "off";
  }
  return "off";
}

std::string_view word(CheckStatus status) {
  switch (status) {
    case CheckStatus::kPass:
      return "pass";
    case CheckStatus::kWarn:
      return "warn";
    case CheckStatus::kFail:
      return "fail";
  }
  return "fail";
}

json::value value_of(const ResidenceInfo& residence) {
  return {{"memory_bytes", residence.memory_bytes},
          {"tier_file_bytes", residence.tier_file_bytes},
          {"remote_bytes", residence.remote_bytes},
          {"zero_bytes", residence.zero_bytes}};
}

json::value value_of(const ImagePartInfo& part) {
  json::array shared_with;
  for (const std::string& image : part.shared_with) shared_with.emplace_back(text(image));
  return {{"name", text(part.name)},
          {"kind", text(part.kind)},
          {"digest", text(part.digest)},
          {"function", text(part.function)},
          {"extent_count", part.extent_count},
          {"residence", value_of(part.residence)},
          {"stored_bytes", part.stored_bytes},
          {"unique_stored_bytes", part.unique_stored_bytes},
          {"shared_with", std::move(shared_with)}};
}

json::object object_of(const ImageInfo& image) {
  return {{"name", text(image.name)},
          {"digest", text(image.digest)},
          {"size_bytes", image.size_bytes},
          {"stored_bytes", image.stored_bytes},
          {"chunk_bytes", image.chunk_bytes},
          {"chunk_count", image.chunk_count},
          {"zero_chunk_count", image.zero_chunk_count},
          {"prior_chunk_count", image.prior_chunk_count},
          {"learned_boot_count", image.learned_boot_count}};
}
json::value value_of(const ImageInfo& image) { return object_of(image); }

json::object object_of(const ComponentInfo& component) {
  return {{"name", text(component.name)},           {"digest", text(component.digest)},
          {"version", text(component.version)},     {"function", text(component.function)},
          {"name_count", component.name_count},     {"data_bytes", component.data_bytes},
          {"stored_bytes", component.stored_bytes}, {"shareable", component.is_shareable}};
}
json::value value_of(const ComponentInfo& component) { return object_of(component); }

json::value value_of(const ComponentInodes& inodes) {
  return {{"files", inodes.files},
          {"directories", inodes.directories},
          {"symlinks", inodes.symlinks},
          {"devices", inodes.devices},
          {"fifos", inodes.fifos},
          {"whiteouts", inodes.whiteouts},
          {"opaque_directories", inodes.opaque_directories},
          {"hard_links", inodes.hard_links}};
}

json::value value_of(const std::monostate&) { return {}; }

json::value value_of(const VerifyOutcome& outcome) {
  json::array problems;
  for (const RepositoryProblem& problem : outcome.problems) {
    json::array needed_by;
    for (const std::string& path : problem.needed_by) needed_by.push_back(text(path));
    problems.push_back({{"path", text(problem.path)},
                        {"code", error_code_name(problem.error.code)},
                        {"detail", text(problem.error.message)},
                        {"needed_by", std::move(needed_by)},
                        {"needed_by_count", problem.needed_by_count}});
  }
  return {{"deep", outcome.deep},
          {"objects_checked", outcome.objects_checked},
          {"chunks_checked", outcome.chunks_checked},
          {"chunk_count", outcome.chunk_count},
          {"bytes_read", outcome.bytes_read},
          {"problem_count", outcome.problem_count},
          {"problems", std::move(problems)}};
}

json::value value_of(const GcOutcome& outcome) {
  return {{"dry_run", outcome.dry_run},
          {"objects_seen", outcome.objects_seen},
          {"objects_young", outcome.objects_young},
          {"garbage_objects", outcome.garbage_objects},
          {"garbage_bytes", outcome.garbage_bytes},
          {"removed_objects", outcome.removed_objects},
          {"removed_bytes", outcome.removed_bytes},
          {"saved_objects", outcome.saved_objects}};
}

json::value value_of(const ExportOutcome& outcome) {
  return {{"objects", outcome.objects},
          {"bytes", outcome.bytes},
          {"objects_reused", outcome.objects_reused},
          {"objects_linked", outcome.objects_linked},
          {"root", text_or_null(outcome.root)}};
}

json::value value_of(const TagInfo& tag) {
  return {{"path", text(tag.path)},
          {"digest", text(tag.digest)},
          {"created", text_or_null(tag.created)},
          {"key", text_or_null(tag.key)},
          {"refused", text_or_null(tag.refused)}};
}

json::value value_of(const OperationInfo& operation) {
  json::value error;
  if (operation.error) {
    error = {{"code", error_code_name(operation.error->code)},
             {"detail", text(operation.error->message)}};
  }
  json::value progress;
  if (operation.total_bytes != 0) {
    progress = number(static_cast<double>(operation.done_bytes) /
                      static_cast<double>(operation.total_bytes));
  }
  return {
      {"id", text(operation.id)},
      {"kind", text(operation.kind)},
      {"subject", text(operation.subject)},
      {"state", word(operation.state)},
      {"done_bytes", operation.done_bytes},
      {"total_bytes",
       operation.total_bytes == 0 ? json::value() : json::value(operation.total_bytes)},
      {"progress_ratio", progress},
      {"message", text(operation.message)},
      {"error", error},
      {"result", std::visit([](const auto& result) { return value_of(result); }, operation.result)},
      {"started_at", moment(operation.started_unix_seconds)},
      {"ended_at", moment(operation.ended_unix_seconds)}};
}

json::value value_of(const VmInfo& vm) {
  json::array pmem_images;
  for (const std::string& image : vm.pmem_images) pmem_images.emplace_back(text(image));
  json::array forwards;
  for (const PortForward& forward : vm.forwards) {
    forwards.push_back({{"protocol", "tcp"},
                        {"host_address", text(forward.host_address)},
                        {"host_port", forward.host_port},
                        {"guest_port", forward.guest_port}});
  }
  return {{"name", text(vm.name)},
          {"state", word(vm.state)},
          {"detail", text_or_null(vm.detail)},
          {"peer", text_or_null(vm.peer)},
          {"pid", vm.pid == 0 ? json::value() : json::value(vm.pid)},
          {"image", text(vm.image)},
          {"image_digest", text_or_null(vm.image_digest)},
          {"tenant", text_or_null(vm.tenant)},
          {"export_uri", text_or_null(vm.export_uri)},
          {"console_path", text_or_null(vm.console_path)},
          {"log_path", text_or_null(vm.log_path)},
          {"accelerator", text_or_null(vm.accelerator)},
          {"memory_bytes", vm.memory_bytes},
          {"cpus", vm.cpus},
          {"forwards", std::move(forwards)},
          {"bridge", text_or_null(vm.bridge)},
          {"mac", text_or_null(vm.mac)},
          {"pmem_images", std::move(pmem_images)},
          {"prefetch", word(vm.prefetch)},
          {"disk_only", vm.disk_only},
          {"share",
           {{"weight", vm.share.weight},
            {"reserved_bytes_per_s", vm.share.reserved_bytes_per_s},
            {"limit_bytes_per_s", vm.share.limit_bytes_per_s}}},
          {"created_at", moment(vm.created_unix_seconds)},
          {"started_at", moment(vm.started_unix_seconds)}};
}

json::value value_of(const Check& check) {
  return {{"name", text(check.name)},
          {"status", word(check.status)},
          {"detail", text(check.detail)},
          {"fix", text_or_null(check.fix)}};
}

// Below 0: it never was.
json::value seconds_or_null(double seconds) {
  return seconds < 0 ? json::value(nullptr) : number(seconds);
}

json::value value_of(const ModelStats& model) {
  json::array bins;
  for (const CalibrationBin& bin : model.bins) {
    bins.push_back({{"said_ratio", number(bin.said)},
                    {"happened_ratio", number(bin.happened)},
                    {"count", bin.count}});
  }
  return {{"name", text(model.name)},
          {"phase", text(model.phase)},
          {"said_blocks", model.said_blocks},
          {"came_true_blocks", model.came_true_blocks},
          {"issued_chunks", model.issued_chunks},
          {"used_chunks", model.used_chunks},
          {"late_chunks", model.late_chunks},
          {"wasted_chunks", model.wasted_chunks},
          {"cancelled_chunks", model.cancelled_chunks},
          {"undecided_chunks", model.undecided_chunks},
          {"issued_bytes", model.issued_bytes},
          {"used_bytes", model.used_bytes},
          {"late_bytes", model.late_bytes},
          {"wasted_bytes", model.wasted_bytes},
          {"calibration_gap_ratio", number(model.calibration_gap_ratio)},
          {"muted", model.muted},
          {"muted_changed_seconds", seconds_or_null(model.muted_changed_seconds)},
          {"times_muted", model.times_muted},
          {"proposals_true_ratio", number(model.proposals_true_ratio)},
          {"phase_changes", model.phase_changes},
          {"phase_changed_seconds", seconds_or_null(model.phase_changed_seconds)},
          {"state_bytes", model.state_bytes},
          {"bins", std::move(bins)}};
}

json::value value_of(const SchedulerClassStats& stats) {
  return {{"name", text(stats.name)},       {"queued", stats.queued},
          {"in_flight", stats.in_flight},   {"done", stats.done},
          {"done_bytes", stats.done_bytes}, {"cancelled", stats.cancelled},
          {"promoted", stats.promoted},     {"waited_seconds", number(stats.waited_seconds)}};
}

template <typename T>
json::array list_of(const std::vector<T>& values) {
  json::array items;
  items.reserve(values.size());
  for (const T& value : values) items.push_back(value_of(value));
  return items;
}

template <typename T>
std::string items_json(const std::vector<T>& values, int64_t as_of) {
  return json::serialize(json::value{{"items", list_of(values)}, {"as_of", moment(as_of)}});
}

// Returns the length of the valid UTF-8 sequence at the start of `text`, or 0.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xF0 && byte(1) < 0x90);
  const bool beyond = (byte(0) == 0xED && byte(1) > 0x9F) || (byte(0) == 0xF4 && byte(1) > 0x8F);
  return overlong || beyond ? 0 : length;
}

}  // namespace

std::string repair_utf8(std::string_view text) {
  std::string repaired;
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) {
      repaired += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else {
      repaired += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return repaired;
}

std::string to_json(const ImageInfo& image) {
  json::object all = object_of(image);
  all["parts"] = list_of(image.parts);
  all["gap_bytes"] = image.gap_bytes;
  all["unique_stored_bytes"] = image.unique_stored_bytes;
  return json::serialize(all);
}
std::string to_json(const ComponentDetails& component) {
  json::object all = object_of(component.info);
  all["component_name"] = text(component.component_name);
  all["architecture"] = text(component.architecture);
  all["origin"] = text(component.origin);
  all["licence"] = text(component.licence);
  all["created_at"] = text(component.created);
  for (const auto& [key, names] :
       {std::pair{"depends", &component.depends}, std::pair{"provides", &component.provides}}) {
    json::array list;
    for (const std::string& name : *names) list.emplace_back(text(name));
    all[key] = std::move(list);
  }
  all["content_bytes"] = component.content_bytes;
  all["index_bytes"] = component.index_bytes;
  all["chunk_count"] = component.chunk_count;
  all["distinct_chunk_count"] = component.distinct_chunk_count;
  all["delta_chunk_count"] = component.delta_chunk_count;
  all["basis_count"] = component.basis_count;
  all["basis_stored_bytes"] = component.basis_stored_bytes;
  all["inodes"] = value_of(component.inodes);
  return json::serialize(all);
}
std::string to_json(const OperationInfo& operation) { return json::serialize(value_of(operation)); }
std::string to_json(const TagInfo& tag) { return json::serialize(value_of(tag)); }
std::string to_json(const VmInfo& vm) { return json::serialize(value_of(vm)); }

std::string to_json(const VmStats& stats, int64_t as_of) {
  json::array stalls;
  stalls.reserve(stats.stall_bin_ms.size());
  for (const uint16_t ms : stats.stall_bin_ms) stalls.push_back(ms);
  return json::serialize(json::value{{"name", text(stats.name)},
                                     {"as_of", moment(as_of)},
                                     {"uptime_seconds", number(stats.uptime_seconds)},
                                     {"reads", stats.reads},
                                     {"writes", stats.writes},
                                     {"read_bytes", stats.read_bytes},
                                     {"written_bytes", stats.written_bytes},
                                     {"stalled_now", stats.stalled_now},
                                     {"stall_seconds", number(stats.stall_seconds)},
                                     {"stall_bin_seconds", number(stats.stall_bin_seconds)},
                                     {"stall_bin_ms", std::move(stalls)},
                                     {"demand_reads", stats.demand_reads},
                                     {"demand_p50_seconds", number(stats.demand_p50_seconds)},
                                     {"demand_p99_seconds", number(stats.demand_p99_seconds)},
                                     {"issued_chunks", stats.issued_chunks},
                                     {"hit_chunks", stats.hit_chunks},
                                     {"late_chunks", stats.late_chunks},
                                     {"wasted_chunks", stats.wasted_chunks},
                                     {"undecided_chunks", stats.undecided_chunks},
                                     {"demand_fetched_bytes", stats.demand_fetched_bytes},
                                     {"prefetch_fetched_bytes", stats.prefetch_fetched_bytes},
                                     {"wasted_bytes", stats.wasted_bytes},
                                     {"prefetch_budget_bytes", stats.prefetch_budget_bytes},
                                     {"prefetch_earned_bytes", stats.prefetch_earned_bytes},
                                     {"prefetch_useful_ratio", number(stats.prefetch_useful_ratio)},
                                     {"phase", text_or_null(stats.phase)},
                                     {"phase_seconds", number(stats.phase_seconds)},
                                     {"observations_dropped", stats.observations_dropped},
                                     {"models", list_of(stats.models)}});
}

std::string to_json(const HostStats& stats, int64_t as_of) {
  const json::value tier{{"memory_bytes", stats.tier_memory_bytes},
                         {"memory_bytes_max", stats.tier_memory_bytes_max},
                         {"memory_bytes_limit", stats.tier_memory_bytes_limit},
                         {"reserved_bytes", stats.tier_reserved_bytes},
                         {"prefetched_bytes", stats.tier_prefetched_bytes},
                         {"used_bytes", stats.tier_used_bytes},
                         {"in_use_bytes", stats.tier_in_use_bytes},
                         {"shared_bytes", stats.tier_shared_bytes},
                         {"copies_bytes", stats.tier_copies_bytes},
                         {"file_bytes", stats.tier_file_bytes},
                         {"file_bytes_max", stats.tier_file_bytes_max},
                         {"probation_bytes", stats.tier_probation_bytes},
                         {"memory_hits", stats.tier_memory_hits},
                         {"file_hits", stats.tier_file_hits},
                         {"misses", stats.tier_misses},
                         {"evicted", stats.tier_evicted},
                         {"evicted_unused", stats.tier_evicted_unused},
                         {"corrupt", stats.tier_corrupt}};
  const json::value memory{{"total_bytes", stats.host_memory_bytes},
                           {"available_bytes", stats.host_memory_available_bytes},
                           {"stall_ratio", number(stats.host_memory_stall_ratio)}};
  const bool known = stats.link_rate_bytes_per_s > 0;
  const json::value link{
      {"repository", text_or_null(stats.repository)},
      {"rate_bytes_per_second", known ? number(stats.link_rate_bytes_per_s) : json::value()},
      {"round_trip_seconds", known ? number(stats.link_round_trip_seconds) : json::value()},
      {"classes", list_of(stats.classes)}};
  return json::serialize(json::value{{"version", text(stats.version)},
                                     {"as_of", moment(as_of)},
                                     {"uptime_seconds", number(stats.uptime_seconds)},
                                     {"accelerator", text(stats.accelerator)},
                                     {"vms_running", stats.vms_running},
                                     {"memory", memory},
                                     {"tier", tier},
                                     {"link", link}});
}

std::string to_json(const std::vector<ImageInfo>& images, int64_t as_of) {
  return items_json(images, as_of);
}
std::string to_json(const std::vector<ComponentInfo>& components, int64_t as_of) {
  return items_json(components, as_of);
}

std::string to_json(const std::vector<TagInfo>& tags, int64_t as_of) {
  return items_json(tags, as_of);
}
std::string to_json(const std::vector<OperationInfo>& operations, int64_t as_of) {
  return items_json(operations, as_of);
}
std::string to_json(const std::vector<VmInfo>& vms, int64_t as_of) {
  return items_json(vms, as_of);
}
std::string to_json(const std::vector<Check>& checks, int64_t as_of) {
  return items_json(checks, as_of);
}

}  // namespace forerun::api
