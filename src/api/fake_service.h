// A Service for tests: answers with one of each thing, remembers what it was asked, or fails with
// `error`.
#pragma once

#include <string>
#include <vector>

#include "api/service.h"

namespace forerun::api {

class FakeService : public Service {
 public:
  Result<OperationInfo> import_image(const ImportRequest& request) override {
    import_request = request;
    return or_error(operation);
  }
  Result<std::vector<ImageInfo>> list_images() override { return or_error(std::vector{image}); }
  Result<ImageInfo> get_image(const std::string& name) override {
    asked_name = name;
    return or_error(image);
  }
  Result<OperationInfo> import_component(const ComponentImportRequest& request) override {
    component_request = request;
    return or_error(operation);
  }
  Result<std::vector<ComponentInfo>> list_components() override {
    return or_error(std::vector{component});
  }
  Result<ComponentDetails> get_component(const std::string& name) override {
    asked_name = name;
    return or_error(ComponentDetails{.info = component, .component_name = "nginx"});
  }
  Status mark_component(const std::string& name, bool is_shareable) override {
    asked_name = name;
    component.is_shareable = is_shareable;
    if (error) return std::unexpected(*error);
    return {};
  }
  Status remove_component(const std::string& name) override {
    asked_name = name;
    if (error) return std::unexpected(*error);
    return {};
  }
  Result<OperationInfo> compose_image(const ComposeRequest& request) override {
    compose_request = request;
    return or_error(operation);
  }
  Status remove_image(const std::string& name) override {
    asked_name = name;
    if (error) return std::unexpected(*error);
    return {};
  }
  Result<OperationInfo> verify_repository(const VerifyRequest& request) override {
    verify_request = request;
    return or_error(verified());
  }
  Result<OperationInfo> collect_garbage(const GcRequest& request) override {
    gc_request = request;
    return or_error(collected());
  }
  Result<OperationInfo> export_repository(const ExportRequest& request) override {
    export_request = request;
    OperationInfo done = operation;
    done.result = ExportOutcome{.objects = 4, .root = "bafy"};
    return or_error(done);
  }
  Result<std::vector<TagInfo>> list_tags() override { return or_error(std::vector{tag}); }
  Result<TagInfo> sign_tag(const SignRequest& request) override {
    sign_request = request;
    return or_error(tag);
  }
  std::vector<OperationInfo> list_operations() override { return {operation}; }
  Result<OperationInfo> get_operation(const std::string& id) override {
    asked_name = id;
    return or_error(operation);
  }
  Result<VmInfo> run_vm(const RunRequest& request) override {
    run_request = request;
    return or_error(vm);
  }
  std::vector<VmInfo> list_vms() override { return {vm}; }
  Result<VmInfo> get_vm(const std::string& name) override {
    asked_name = name;
    return or_error(vm);
  }
  Result<VmInfo> stop_vm(const std::string& name, const StopRequest& request) override {
    asked_name = name;
    stop_request = request;
    return or_error(vm);
  }
  Result<OperationInfo> migrate_vm(const std::string& name,
                                   const MigrateRequest& request) override {
    asked_name = name;
    migrate_request = request;
    return or_error(operation);
  }
  Status cancel_migration(const std::string& name) override {
    asked_name = name;
    if (error) return std::unexpected(*error);
    return {};
  }
  Result<MigrationForecast> forecast_migration(const std::string& name,
                                               const MigrateRequest& request) override {
    asked_name = name;
    migrate_request = request;
    return or_error(forecast);
  }
  MigrationReport migrations() override {
    return {
        {{"m-1", 1790000000, "moved", "", false, forecast, MigrationFigures{4.5, 0.05, 0, 1e8}}},
        {{"precopy", "total_s", 3, 2, 1.25, 0.2}}};
  }
  std::vector<PeerInfo> list_peers() override { return peers; }
  Status forget_host(const std::string& name) override {
    asked_name = name;
    if (error) return std::unexpected(*error);
    return {};
  }
  ClusterInfo cluster() override { return cluster_info; }
  Status remove_vm(const std::string& name) override {
    asked_name = name;
    if (error) return std::unexpected(*error);
    return {};
  }
  Result<VmStats> vm_stats(const std::string& name) override {
    asked_name = name;
    return or_error(stats);
  }
  Result<VmProfile> vm_profile(const std::string& name) override {
    asked_name = name;
    return or_error(profile);
  }
  Result<VmProfile> set_vm_profile(const std::string& name,
                                   const telemetry::Control& asked) override {
    asked_name = name;
    profile.asked.update(asked);
    return or_error(profile);
  }
  std::vector<telemetry::SeriesName> usage_series() override {
    return {{"host", "cpu_cores"}, {"vm/web-1", "memory_bytes"}};
  }
  Result<UsageInfo> usage(const UsageRequest& asked) override {
    usage_request = asked;
    return or_error(UsageInfo{asked.name, telemetry::Resolution::k1min, {{1790000040, 0.5, 1.5}}});
  }
  Result<OperationInfo> import_usage(const UsageImportRequest& asked) override {
    usage_import_request = asked;
    return or_error(operation);
  }
  Status push_metrics(const std::string& name, const PushRequest& values) override {
    asked_name = name;
    push_request = values;
    if (error) return std::unexpected(*error);
    return {};
  }
  Result<VmInfo> set_vm_share(const std::string& name, const ShareRequest& asked) override {
    asked_name = name;
    share_request = asked;
    return or_error(vm);
  }
  Result<RecordingInfo> start_recording(const std::string& name) override {
    asked_name = name;
    return or_error(RecordingInfo{name, "r-1", 1 << 30});
  }
  Result<RecordedRequests> collect_recording(const std::string& name,
                                             const CollectRequest& request) override {
    asked_name = name;
    collect_request = request;
    return or_error(recorded);
  }
  Result<CheckpointInfo> checkpoint_vm(const std::string& name) override {
    asked_name = name;
    return or_error(CheckpointInfo{name, 3, 1790000000, 1 << 28, 1 << 20, 12345, 80500});
  }
  Result<std::vector<CheckpointInfo>> list_checkpoints(const std::string& name) override {
    asked_name = name;
    return or_error(std::vector{CheckpointInfo{name, 3, 1790000000, 1 << 28, 1 << 20, 12345, 80}});
  }
  Status remove_checkpoint(const std::string& name, uint64_t number) override {
    asked_name = fmt::format("{} {}", name, number);
    return error ? Status(std::unexpected(*error)) : Status();
  }
  Result<CheckpointPolicy> set_checkpoint_policy(const std::string& name,
                                                 const CheckpointPolicyRequest& asked) override {
    checkpoint_policy_request = asked;
    return checkpoint_policy(name);
  }
  Result<CheckpointPolicy> checkpoint_policy(const std::string& name) override {
    asked_name = name;
    return or_error(
        CheckpointPolicy{name, true, 0.02, 3, {4, 5}, "b", {"b", "c"}, "", 12.5, "it is at rest"});
  }
  Result<OperationInfo> copy_checkpoint(const std::string& name, uint64_t number,
                                        const CheckpointCopyRequest& request) override {
    asked_name = fmt::format("{} {} {} {}", name, number, request.to, request.rate_bytes_per_s_max);
    return or_error(operation);
  }
  Result<VmInfo> restore_vm(const std::string& name, const RestoreRequest& request) override {
    asked_name = fmt::format("{} {}", name, request.checkpoint);
    return or_error(vm);
  }
  Result<HistoryExportInfo> export_history(const std::string& name,
                                           const HistoryExportRequest& request) override {
    asked_name = name;
    return or_error(HistoryExportInfo{name, request.path, 4096, {"rnn"}, 3});
  }
  Result<HistoryImportInfo> import_history(const std::string& name,
                                           const HistoryImportRequest& request) override {
    asked_name = name + " of " + request.source_path;
    return or_error(HistoryImportInfo{name, {"rnn"}, {"markov"}, 3, 1});
  }
  LaunchReport launches() override { return launch_report; }
  Result<LaunchImportInfo> import_launches(const LaunchImportRequest& request) override {
    asked_name = request.source_path;
    return or_error(LaunchImportInfo{7, 1});
  }
  HostStats host_stats() override { return host; }
  std::vector<Check> run_checks() override {
    return {{"repository", CheckStatus::kWarn, "answers in 2 s", "look at the link"}};
  }
  std::string metrics_text() override { return "forerun_x_total 1\n"; }

  std::optional<Error> error;
  ImageInfo image{"debian", std::string(64, 'a'), 1 << 30, 1 << 20, 65536, 400, 15984, 60, 2};
  ComponentInfo component{"nginx", std::string(64, 'b'), "1.22", "service", 98, 4096, 1024};
  TagInfo tag{"images/debian.json", std::string(64, 'a'), "2026-11-21T02:40:00Z", "", "not signed"};
  OperationInfo operation{.id = "o-1",
                          .kind = "image_import",
                          .subject = "debian",
                          .done_bytes = 5,
                          .total_bytes = 10,
                          .started_unix_seconds = 1790000000};
  VmInfo vm{.name = "web-1",
            .state = VmState::kRunning,
            .pid = 42,
            .image = "debian",
            .export_uri = "nbd+unix:///web-1?socket=/run/n",
            .console_path = "/run/c",
            .accelerator = "tcg",
            .memory_bytes = 512 << 20,
            .cpus = 1,
            .forwards = {{"127.0.0.1", 8080, 80}}};
  VmStats stats{
      .name = "web-1",
      .stall_seconds = 1.5,
      .stall_bin_ms = {0, 100, 7},
      .phase = "work",
      .models = {
          {.name = "replay", .phase = "boot", .said_blocks = 9, .bins = {{0.8, 0.79, 100}}}}};
  VmProfile profile{
      .name = "web-1",
      .is_connected = true,
      .age_seconds = 0.5,
      .taken = 7,
      .instances = 1,
      .refused = {{"out_of_range", 2}},
      .last_refusal = "cpu.busy_ratio is not in 0 … 1",
      .window_seconds = 6,
      .window_profiles = 7,
      .window = {{"cpu_busy", 0.5, 0.4, 0.1, 0.6, 7}},
      .profile_json =
          R"({"version":1,"instance":"a","sequence":7,"monotonic_ns":9,"period_ms":1000,"agen)"
          R"(t":{"cpu_ratio":0.001,"rss_bytes":1585152,"unsent":0},"cpu":{"cores":2,"busy_rat)"
          R"(io":0.5,"steal_ratio":0,"top":[{"pid":17,"name":"redis-server","cores":0.75,"rss)"
          R"(_bytes":67108864}]},"missing":[{"metric":"pattern","reason":"none"}]})"};
  RecordedRequests recorded{.id = "r-1",
                            .requests = {{0, false, 8, 16}, {1500, true, 1, 1}},
                            .lost = 3,
                            .has_ended = true,
                            .end_reason = "the VM stopped"};
  LaunchReport launch_report{
      .state = "on",
      .host = "node-1",
      .period_seconds = 60,
      .forecast = {{.image = "web",
                    .probability = 0.8,
                    .due_unix_seconds = 1790000300,
                    .pieces = {{"seasonal", 0.7, 0.2}}}},
      .components = {{.component = "nginx", .probability = 0.8, .images = {"web"}}},
      .windows = {{.image = "web", .opened_unix_seconds = 1790000000, .outcome = "hit"}},
      .total = {.launches = 3, .methods = {{.name = "forerun", .windows = 1}}},
      .hours = {{.from_unix_seconds = 1789999200}}};
  HostStats host{
      .version = "0.1.0", .repository = "http://x", .classes = {{.name = "critical", .done = 3}}};

  std::string asked_name;
  ImportRequest import_request;
  ComponentImportRequest component_request;
  ComposeRequest compose_request;
  VerifyRequest verify_request;
  GcRequest gc_request;
  ExportRequest export_request;
  SignRequest sign_request;
  RunRequest run_request;
  StopRequest stop_request;
  MigrateRequest migrate_request;
  std::vector<PeerInfo> peers{{"b", "10.0.0.2:7070", true, "",
                               ClusterHost{true, false, true, "z1", "0.1.0", 4, 1, {"a=b"}}},
                              {"c", "10.0.0.3:7070", false, "no answer"}};
  ClusterInfo cluster_info{.name = "default", .store = "sqlite", .host = "a", .leader = "a"};
  MigrationForecast forecast{"web-1",
                             "b",
                             "precopy",
                             "it keeps the policy",
                             {{"precopy", {4, 3, 5}, {}, {}, {}, 4, true, ""}},
                             1 << 28,
                             1 << 20};
  CollectRequest collect_request;
  ShareRequest share_request;
  CheckpointPolicyRequest checkpoint_policy_request;
  UsageRequest usage_request;
  UsageImportRequest usage_import_request;
  PushRequest push_request;

 private:
  OperationInfo verified() const {
    OperationInfo done = operation;
    VerifyOutcome outcome{.objects_checked = 9, .problem_count = 1};
    outcome.problems.push_back(
        {"chunks/ab/ab", {ErrorCode::kNotFound, "no chunk ab"}, {"images/debian.json"}, 1});
    done.result = std::move(outcome);
    return done;
  }
  OperationInfo collected() const {
    OperationInfo done = operation;
    done.result = GcOutcome{.removed_objects = 3};
    return done;
  }
  template <typename T>
  Result<T> or_error(T value) const {
    if (error) return std::unexpected(*error);
    return value;
  }
};

}  // namespace forerun::api
