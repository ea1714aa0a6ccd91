#include "daemon/service.h"

#include "core/log.h"
#include "core/metrics.h"
#include "daemon/image_description.h"
#include "daemon/parallel.h"
#include "image/disk_reader.h"
#include "image/importer.h"
#include "os/clock.h"
#include "os/file.h"
#include "repository/chunk.h"

namespace forerun::daemon {

namespace {

constexpr std::string_view kVersion = "0.1.0";
constexpr uint64_t kFreeBytesLow = 2ull << 30;

// Runs body(0) … body(count - 1) on as many threads as there are processors, the caller's among
// them.
std::optional<image::DiskFormat> disk_format(api::ImageFormat format) {
  switch (format) {
    case api::ImageFormat::kAuto:
      return std::nullopt;
    case api::ImageFormat::kRaw:
      return image::DiskFormat::kRaw;
    case api::ImageFormat::kQcow2:
      return image::DiskFormat::kQcow2;
  }
  return std::nullopt;
}

Result<std::string> import(const api::ImportRequest& request, repository::Store& store,
                           Operations::Progress& progress) {
  FR_TRY(const auto file, os::PosixFile::open(request.source_path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const auto disk,
         image::open_disk(*file, request.source_path, disk_format(request.format)));
  image::ImportOptions options;
  options.image_name = request.name;
  options.created = os::utc_now();
  options.parallel_for = on_all_processors;
  options.on_progress = [&](const image::ImportProgress& now) -> Status {
    progress.update(now.bytes_done, now.bytes_total,
                    fmt::format("{} new chunks, {} reused", now.new_chunks, now.reused_chunks));
    if (progress.should_stop())
      return fail(ErrorCode::kUnavailable, "the daemon is stopping; import again to go on");
    return {};
  };
  FR_TRY(const auto done, image::import_disk(*disk, store, options));
  const std::string prior =
      done.prior_block_count > 0
          ? fmt::format("{} chunks foreseen for a first boot", done.prior_block_count)
          : fmt::format("no first boot foreseen: {}", done.prior_missing);
  return fmt::format("{} new chunks, {} reused, {} of zeroes; {} bytes stored; {}",
                     done.totals.new_chunks, done.totals.reused_chunks, done.totals.zero_chunks,
                     done.totals.stored_bytes, prior);
}

void set_pool_gauges(const api::HostStats& stats) {
  using metrics::gauge;
  constexpr std::string_view kPoolHelp = "Bytes of chunks in memory, by what they are there for.";
  gauge("forerun_tier_memory_bytes", kPoolHelp, "use=\"reserved\"")
      .set(static_cast<int64_t>(stats.tier_reserved_bytes));
  gauge("forerun_tier_memory_bytes", kPoolHelp, "use=\"prefetched\"")
      .set(static_cast<int64_t>(stats.tier_prefetched_bytes));
  gauge("forerun_tier_memory_bytes", kPoolHelp, "use=\"used\"")
      .set(static_cast<int64_t>(stats.tier_used_bytes));
  gauge("forerun_tier_memory_limit_bytes", "Bytes of chunks that may be in memory now.")
      .set(static_cast<int64_t>(stats.tier_memory_bytes_limit));
  gauge("forerun_tier_shared_bytes", "Bytes of chunks in memory that two disks or more have used.")
      .set(static_cast<int64_t>(stats.tier_shared_bytes));
  gauge("forerun_tier_copies_bytes",
        "Bytes of chunks in memory if each disk had a copy of what it used.")
      .set(static_cast<int64_t>(stats.tier_copies_bytes));
}

}  // namespace

DaemonService::DaemonService(Parts parts)
    : parts_(std::move(parts)), started_(parts_.clock.now()) {}

Result<api::OperationInfo> DaemonService::import_image(const api::ImportRequest& request) {
  if (!is_valid_name(request.name))
    return fail(
        ErrorCode::kInvalid,
        fmt::format("'{}' cannot name an image: use 1-64 of a-z A-Z 0-9 . _ -", request.name));
  if (parts_.store == nullptr)
    return fail(ErrorCode::kUnsupported,
                "no configured repository is a folder, so images cannot be imported here");
  if (request.source_path.empty() || request.source_path[0] != '/')
    return fail(ErrorCode::kInvalid, "the source path must be absolute");
  // What is wrong with the file itself is said at once, not by an operation.
  FR_TRY(const auto file, os::PosixFile::open(request.source_path, os::PosixFile::Mode::kReadOnly));
  FR_TRY(const auto disk,
         image::open_disk(*file, request.source_path, disk_format(request.format)));
  return operations_.start("image_import", request.name,
                           [request, store = parts_.store](Operations::Progress& progress) {
                             return import(request, *store, progress);
                           });
}

Result<api::ImageInfo> DaemonService::get_image(const std::string& name) {
  FR_TRY(const auto image, parts_.catalog.open(name));
  api::ImageInfo info = describe(name, image, parts_.histories);
  FR_CHECK(add_parts(image, parts_.catalog, parts_.tier, info));
  return info;
}

Result<std::vector<api::ImageInfo>> DaemonService::list_images() {
  FR_TRY(const auto names, parts_.catalog.names());
  std::vector<api::ImageInfo> images;
  for (const std::string& name : names) {
    const auto image = parts_.catalog.open(name);
    if (!image) continue;  // logged by the catalog; the others are still of use
    images.push_back(describe(name, *image, parts_.histories));
  }
  return images;
}

Result<api::VmInfo> DaemonService::run_vm(const api::RunRequest& request) {
  if (request.base.empty() && request.manifest.empty()) return parts_.vms.run(request);
  const auto existing = parts_.vms.get(request.name);
  api::RunRequest composed = request;
  FR_TRY(composed.image,
         parts_.composer.compose(request, existing ? existing->image_digest : std::string()));
  auto vm = parts_.vms.run(composed);
  if (!vm && !parts_.vms.get(request.name)) {
    if (auto forgotten = parts_.composer.forget(request.name); !forgotten)
      log::warn("image {} stays: {}", composed.image, forgotten.error().message);
  }
  return vm;
}

Result<api::OperationInfo> DaemonService::migrate_vm(const std::string& name,
                                                     const api::MigrateRequest& request) {
  FR_CHECK(parts_.vms.get(name));
  return operations_.start("vm_migrate", name,
                           [this, name, request](Operations::Progress& progress) {
                             return parts_.migrations.move(name, request, progress);
                           });
}

Result<api::OperationInfo> DaemonService::copy_checkpoint(
    const std::string& vm, uint64_t number, const api::CheckpointCopyRequest& request) {
  FR_TRY(const auto known, parts_.vms.list_checkpoints(vm));
  if (number == 0 && !known.empty()) number = known.back().number;
  if (std::ranges::find(known, number, &api::CheckpointInfo::number) == known.end())
    return fail(ErrorCode::kNotFound, number == 0
                                          ? fmt::format("VM {} has no checkpoint", vm)
                                          : fmt::format("VM {} has no checkpoint {}", vm, number));
  return operations_.start(
      "checkpoint_copy", vm, [this, vm, number, request](Operations::Progress& progress) {
        return parts_.migrations.copy_checkpoint(vm, number, request, progress);
      });
}

Status DaemonService::remove_vm(const std::string& name) {
  const auto copies = parts_.vms.copy_hosts(name);
  FR_CHECK(parts_.vms.remove(name));
  parts_.migrations.forget(name, copies);
  return parts_.composer.forget(name);
}

api::HostStats DaemonService::host_stats() {
  api::HostStats stats;
  stats.version = kVersion;
  stats.uptime_seconds = to_seconds(parts_.clock.now() - started_);
  stats.accelerator = vmm::accelerator_name(parts_.vms.accelerator().accelerator);
  stats.vms_running = parts_.vms.running_count();
  const tier::TierStats tier = parts_.tier.stats();
  stats.tier_memory_bytes = tier.memory_bytes;
  stats.tier_memory_bytes_max = parts_.config.tier_memory_bytes;
  stats.tier_file_bytes = tier.file_bytes;
  stats.tier_file_bytes_max = parts_.config.tier_file_bytes;
  stats.tier_probation_bytes = tier.probation_bytes;
  stats.tier_memory_hits = tier.memory_hits;
  stats.tier_file_hits = tier.file_hits;
  stats.tier_misses = tier.misses;
  stats.tier_evicted = tier.evicted;
  stats.tier_evicted_unused = tier.evicted_unused;
  stats.tier_corrupt = tier.corrupt;
  const tier::PoolStats pool = parts_.tier.pool();
  stats.tier_memory_bytes_limit = pool.limit_bytes;
  stats.tier_reserved_bytes = pool.reserved_bytes;
  stats.tier_prefetched_bytes = pool.prefetched_bytes;
  stats.tier_used_bytes = pool.used_bytes;
  stats.tier_in_use_bytes = pool.in_use_bytes;
  stats.tier_shared_bytes = pool.shared_bytes;
  stats.tier_copies_bytes = pool.copies_bytes;
  const tier::HostMemory memory = parts_.memory.host();
  stats.host_memory_bytes = memory.total_bytes;
  stats.host_memory_available_bytes = memory.available_bytes;
  stats.host_memory_stall_ratio = memory.stall_ratio;
  const auto reading = parts_.fetches.read_link();
  stats.repository = reading.name;
  stats.link_rate_bytes_per_s = reading.link.rate_bytes_per_s;
  stats.link_round_trip_seconds = to_seconds(reading.link.round_trip);
  constexpr std::string_view kClassNames[] = {"critical", "prefetch", "background"};
  for (size_t i = 0; i < iosched::kIoClassCount; ++i) {
    const iosched::ClassStats& from = reading.classes[i];
    stats.classes.push_back({std::string(kClassNames[i]), from.queued, from.in_flight, from.done,
                             from.done_bytes, from.cancelled, from.promoted, from.waited_seconds});
  }
  return stats;
}

std::vector<api::Check> DaemonService::run_checks() {
  std::vector<api::Check> checks;
  for (repository::Source* source : parts_.sources) {
    api::Check check{fmt::format("repository {}", source->name()), api::CheckStatus::kPass, "", ""};
    if (const auto names = source->list_images()) {
      check.detail = fmt::format("answers; {} images", names->size());
    } else if (names.error().code == ErrorCode::kNotFound) {
      check.detail = "answers, but holds no images yet";
      if (parts_.sources.size() == 1) {
        check.status = api::CheckStatus::kWarn;
        check.fix = "forerun image import FILE --name NAME";
      }
    } else {
      check.status = api::CheckStatus::kFail;
      check.detail = names.error().message;
      check.fix = "check its address in the configuration and that its server runs";
    }
    checks.push_back(std::move(check));
  }
  api::Check space{"space in the state folder", api::CheckStatus::kPass, "", ""};
  if (const auto free = os::free_bytes(parts_.config.state_dir)) {
    space.detail = fmt::format("{} MiB free in {}", *free >> 20, parts_.config.state_dir);
    if (*free < kFreeBytesLow) {
      space.status = api::CheckStatus::kWarn;
      space.fix = "free some space, or set daemon.state_dir to a larger file system";
    }
  } else {
    space.status = api::CheckStatus::kFail;
    space.detail = free.error().message;
  }
  checks.push_back(std::move(space));
  const auto& accelerator = parts_.vms.accelerator();
  const bool is_kvm = accelerator.accelerator == vmm::Accelerator::kKvm;
  checks.push_back(
      {"accelerator", is_kvm ? api::CheckStatus::kPass : api::CheckStatus::kWarn,
       accelerator.reason,
       is_kvm ? ""
              : "guests run by software emulation (TCG); use a host whose CPU shows vmx or svm"});
  return checks;
}

std::string DaemonService::metrics_text() {
  // Gauges that are read, not counted, are set when somebody looks.
  const api::HostStats stats = host_stats();
  using metrics::gauge;
  constexpr std::string_view kTierHelp = "Bytes of chunks in the shared tier.";
  gauge("forerun_tier_bytes", kTierHelp, "level=\"memory\"")
      .set(static_cast<int64_t>(stats.tier_memory_bytes));
  gauge("forerun_tier_bytes", kTierHelp, "level=\"file\"")
      .set(static_cast<int64_t>(stats.tier_file_bytes));
  set_pool_gauges(stats);
  gauge("forerun_vms_running", "VMs that run on this host.")
      .set(static_cast<int64_t>(stats.vms_running));
  std::string text = metrics::render();
  const auto family = [&text](std::string_view name, std::string_view help, std::string_view type) {
    text += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  };
  family("forerun_build_info", "The running version.", "gauge");
  text += fmt::format("forerun_build_info{{version=\"{}\"}} 1\n", kVersion);
  family("forerun_tier_hits_total", "Chunks found in the tier.", "counter");
  text += fmt::format("forerun_tier_hits_total{{level=\"memory\"}} {}\n", stats.tier_memory_hits);
  text += fmt::format("forerun_tier_hits_total{{level=\"file\"}} {}\n", stats.tier_file_hits);
  family("forerun_tier_corrupt_total", "Chunks read back from the tier's file and refused.",
         "counter");
  text += fmt::format("forerun_tier_corrupt_total {}\n", stats.tier_corrupt);
  family("forerun_link_rate_bytes_per_second", "Measured rate of the link to the first repository.",
         "gauge");
  text += fmt::format("forerun_link_rate_bytes_per_second {}\n", stats.link_rate_bytes_per_s);
  family("forerun_io_queue_seconds_total", "Time that fetches waited in the scheduler, by class.",
         "counter");
  for (const auto& entry : stats.classes)
    text += fmt::format("forerun_io_queue_seconds_total{{class=\"{}\"}} {}\n", entry.name,
                        entry.waited_seconds);

  text += launch_metrics(parts_.launches.report());

  std::vector<api::VmStats> vms;
  for (const api::VmInfo& vm : parts_.vms.list())
    if (auto read = parts_.vms.stats(vm.name)) vms.push_back(std::move(*read));
  family("forerun_vm_stall_seconds_total", "Time that a guest waited for fetches, since its start.",
         "counter");
  for (const auto& vm : vms)
    text += fmt::format("forerun_vm_stall_seconds_total{{vm=\"{}\",cause=\"disk\"}} {}\n", vm.name,
                        vm.stall_seconds);
  family("forerun_vm_prefetched_chunks_total",
         "Chunks fetched ahead for a VM, by what came of them.", "counter");
  for (const auto& vm : vms) {
    const std::pair<std::string_view, uint64_t> outcomes[] = {
        {"hit", vm.hit_chunks}, {"late", vm.late_chunks}, {"wasted", vm.wasted_chunks}};
    for (const auto& [outcome, count] : outcomes)
      text += fmt::format("forerun_vm_prefetched_chunks_total{{vm=\"{}\",outcome=\"{}\"}} {}\n",
                          vm.name, outcome, count);
  }
  family("forerun_model_calibration_gap_ratio", "Mean |said - happened| of a model for a VM.",
         "gauge");
  for (const auto& vm : vms)
    for (const auto& model : vm.models)
      text += fmt::format("forerun_model_calibration_gap_ratio{{vm=\"{}\",model=\"{}\"}} {}\n",
                          vm.name, model.name, model.calibration_gap_ratio);
  return text;
}

}  // namespace forerun::daemon
