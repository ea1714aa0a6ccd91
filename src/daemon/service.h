// What the REST layer asks of the daemon, answered by the parts that know.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/service.h"
#include "daemon/cluster_service.h"
#include "daemon/config.h"
#include "daemon/fetch_service.h"
#include "daemon/histories.h"
#include "daemon/image_catalog.h"
#include "daemon/launches.h"
#include "daemon/memory_keeper.h"
#include "daemon/migrations.h"
#include "daemon/operations.h"
#include "daemon/tier_store.h"
#include "daemon/usage_import.h"
#include "daemon/vm_composer.h"
#include "daemon/vm_manager.h"

namespace forerun::daemon {

// Thread-safe.
class DaemonService final : public api::Service {
 public:
  struct Parts {
    const Config& config;
    const Clock& clock;
    std::vector<repository::Source*> sources;
    repository::Store* store;               // where what is made here goes: the first folder, …
    repository::Store* plain_store;         // … the same, tags that are not trusted too, and …
    repository::Store& plain_repositories;  // … with the others behind it
    repository::TrustPolicy trust;          // of that folder's tags
    ImageCatalog& catalog;
    Histories& histories;
    Marks& marks;
    tier::Tier& tier;
    FetchService& fetches;
    VmManager& vms;
    VmComposer& composer;
    const MemoryKeeper& memory;
    Launches& launches;
    AgentPorts& agents;
    Recorder& recorder;
    VmHistories& vm_histories;
    store::HistoryStore& history;
    UsageWatch& usage;
    UsageImporter& usage_import;
    Migrations& migrations;
    ClusterService& cluster;
  };
  explicit DaemonService(Parts parts);

  Result<api::OperationInfo> import_image(const api::ImportRequest& request) override;
  Result<std::vector<api::ImageInfo>> list_images() override;
  Result<api::ImageInfo> get_image(const std::string& name) override;
  Result<api::OperationInfo> import_component(const api::ComponentImportRequest& request) override;
  Result<std::vector<api::ComponentInfo>> list_components() override;
  Result<api::ComponentDetails> get_component(const std::string& name) override;
  Status mark_component(const std::string& name, bool is_shareable) override;
  Status remove_component(const std::string& name) override;
  Result<api::OperationInfo> compose_image(const api::ComposeRequest& request) override;
  Status remove_image(const std::string& name) override;
  Result<api::OperationInfo> verify_repository(const api::VerifyRequest& request) override;
  Result<api::OperationInfo> collect_garbage(const api::GcRequest& request) override;
  Result<api::OperationInfo> export_repository(const api::ExportRequest& request) override;
  Result<std::vector<api::TagInfo>> list_tags() override;
  Result<api::TagInfo> sign_tag(const api::SignRequest& request) override;
  std::vector<api::OperationInfo> list_operations() override { return operations_.list(); }
  Operations& operations() { return operations_; }
  Result<api::OperationInfo> get_operation(const std::string& id) override {
    return operations_.get(id);
  }
  Result<api::VmInfo> run_vm(const api::RunRequest& request) override;
  std::vector<api::VmInfo> list_vms() override { return parts_.vms.list(); }
  Result<api::VmInfo> get_vm(const std::string& name) override { return parts_.vms.get(name); }
  Result<api::VmInfo> stop_vm(const std::string& name, const api::StopRequest& request) override {
    return parts_.vms.stop(name, request);
  }
  Result<api::OperationInfo> migrate_vm(const std::string& name,
                                        const api::MigrateRequest& request) override;
  Status cancel_migration(const std::string& name) override {
    return parts_.migrations.cancel(name);
  }
  std::vector<api::PeerInfo> list_peers() override {
    return parts_.cluster.with_cluster(parts_.migrations.list_peers());
  }
  Status forget_host(const std::string& name) override { return parts_.cluster.forget_host(name); }
  api::ClusterInfo cluster() override { return parts_.cluster.info(); }
  Result<api::MigrationForecast> forecast_migration(const std::string& name,
                                                    const api::MigrateRequest& request) override {
    return parts_.migrations.forecast(name, request);
  }
  api::MigrationReport migrations() override { return parts_.migrations.report(); }
  Status remove_vm(const std::string& name) override;
  Result<api::VmStats> vm_stats(const std::string& name) override { return parts_.vms.stats(name); }
  Result<api::VmProfile> vm_profile(const std::string& name) override {
    return parts_.agents.profile(name);
  }
  Result<api::VmProfile> set_vm_profile(const std::string& name,
                                        const telemetry::Control& asked) override {
    return parts_.vms.set_profile(name, asked);
  }
  Result<api::VmInfo> set_vm_share(const std::string& name,
                                   const api::ShareRequest& asked) override {
    return parts_.vms.set_share(name, asked);
  }
  std::vector<telemetry::SeriesName> usage_series() override { return parts_.history.names(); }
  Result<api::UsageInfo> usage(const api::UsageRequest& asked) override;
  Result<api::OperationInfo> import_usage(const api::UsageImportRequest& asked) override;
  Status push_metrics(const std::string& vm, const api::PushRequest& values) override;
  Result<api::CheckpointInfo> checkpoint_vm(const std::string& vm) override {
    return parts_.vms.checkpoint(vm);
  }
  Result<std::vector<api::CheckpointInfo>> list_checkpoints(const std::string& vm) override {
    return parts_.vms.list_checkpoints(vm);
  }
  Result<api::CheckpointPolicy> set_checkpoint_policy(
      const std::string& vm, const api::CheckpointPolicyRequest& request) override {
    return parts_.vms.set_checkpoint_policy(vm, request);
  }
  Result<api::CheckpointPolicy> checkpoint_policy(const std::string& vm) override {
    return parts_.vms.checkpoint_policy(vm);
  }
  Result<api::OperationInfo> copy_checkpoint(const std::string& vm, uint64_t number,
                                             const api::CheckpointCopyRequest& request) override;
  Status remove_checkpoint(const std::string& vm, uint64_t number) override {
    return parts_.vms.remove_checkpoint(vm, number);
  }
  Result<api::VmInfo> restore_vm(const std::string& vm,
                                 const api::RestoreRequest& request) override {
    return parts_.vms.restore(vm, request);
  }
  Result<api::HistoryExportInfo> export_history(const std::string& vm,
                                                const api::HistoryExportRequest& request) override;
  Result<api::HistoryImportInfo> import_history(const std::string& vm,
                                                const api::HistoryImportRequest& request) override;
  Result<api::RecordingInfo> start_recording(const std::string& vm) override;
  Result<api::RecordedRequests> collect_recording(const std::string& vm,
                                                  const api::CollectRequest& request) override {
    return parts_.recorder.collect(vm, request.id, request.ends);
  }
  api::LaunchReport launches() override { return parts_.launches.report(); }
  Result<api::LaunchImportInfo> import_launches(const api::LaunchImportRequest& request) override {
    return parts_.launches.import(request.source_path);
  }
  api::HostStats host_stats() override;
  std::vector<api::Check> run_checks() override;
  std::string metrics_text() override;

 private:
  class InUse;
  Status mark_digest(const Digest& digest, const std::string& name, bool is_shareable);
  // Returns the paths of the tags of these names; of none, of all.
  Result<std::vector<std::string>> tags_of(const std::vector<std::string>& names);
  Result<std::string> collect(const api::GcRequest& request, Operations::Progress& progress);

  Parts parts_;
  const Time started_;
  std::mutex tags_mutex_;  // held while a tag is read, signed and put back
  Operations operations_;  // last: ends before what its work uses
};

}  // namespace forerun::daemon
