// What the REST layer asks of the daemon, and the plain values that go back and forth. The daemon
// implements Service; tests implement it with a fake. Units are in the names; times are seconds
// since the epoch, UTC. In one file because whoever stands for the daemon needs all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/checkpoint_info.h"
#include "api/cluster_info.h"
#include "api/launch_info.h"
#include "api/migration_info.h"
#include "api/repository_info.h"
#include "api/usage_info.h"
#include "api/vm_history_info.h"
#include "core/result.h"
#include "core/time.h"
#include "iosched/shares.h"
#include "telemetry/control.h"

namespace forerun::api {

// ---- images and operations

enum class ImageFormat : uint8_t { kAuto, kRaw, kQcow2 };

struct ImportRequest {
  std::string source_path;  // absolute, on the daemon's host
  std::string name;
  ImageFormat format = ImageFormat::kAuto;
};

// Where data of a disk is now, in bytes of the disk.
struct ResidenceInfo {
  uint64_t memory_bytes = 0, tier_file_bytes = 0, remote_bytes = 0;
  uint64_t zero_bytes = 0;  // nothing to store
};

// One of the things a disk is put together from.
struct ImagePartInfo {
  std::string name;
  std::string kind;  // "component", "metadata" (made for this disk), "image" (a whole disk)
  std::string digest;
  std::string function;  // of a component
  uint64_t extent_count = 0;
  ResidenceInfo residence;               // of what the disk shows of it
  uint64_t stored_bytes = 0;             // of its distinct chunks in the repository
  uint64_t unique_stored_bytes = 0;      // of those that no other image has
  std::vector<std::string> shared_with;  // images that have this very part
};

struct ImageInfo {
  std::string name;
  std::string digest;         // of the index: names the content, 64 hex digits
  uint64_t size_bytes = 0;    // of the virtual disk
  uint64_t stored_bytes = 0;  // of its chunks in the repository, compressed, each counted once
  uint64_t chunk_bytes = 0;   // size of a whole chunk
  uint64_t chunk_count = 0;   // chunks with data, zero chunks not counted
  uint64_t zero_chunk_count = 0;
  uint64_t prior_chunk_count = 0;   // chunks that a first boot is expected to read; 0: unknown
  uint64_t learned_boot_count = 0;  // boots whose reads the replay model has merged
  // The rest is only told of a single image.
  std::vector<ImagePartInfo> parts;
  uint64_t gap_bytes = 0;            // of the disk: nothing there yet, free for writes
  uint64_t unique_stored_bytes = 0;  // of chunks that no other image has
};

// What a component is made of.
enum class ComponentSource : uint8_t {
  kTar,     // an archive, plain or compressed
  kDir,     // a folder
  kDeb,     // a Debian package
  kOci,     // a container image: a component per layer
  kBase,    // a Debian base system, of the host's own package sources
  kApt,     // Debian packages installed on other components
  kKernel,  // Debian's kernel and its modules
};
// Returns whether it is read from a path, and not built.
constexpr bool has_source_path(ComponentSource source) { return source < ComponentSource::kBase; }

struct ComponentImportRequest {
  ComponentSource source = ComponentSource::kTar;
  std::string source_path;  // absolute, on the daemon's host; empty if it is built
  std::string name;
  std::string version, function;      // empty: what the source says
  bool allow_devices = false;         // device nodes may be in it
  std::vector<std::string> depends;   // names of components that it needs
  std::string reference;              // kOci: which of several images, "12-slim"
  std::string platform;               // kOci: "linux/arm64"; empty: linux/amd64
  bool is_overlay = false;            // kDir: an upper folder of overlayfs, with its whiteouts
  std::vector<std::string> on;        // kApt: names of the components it is installed on
  std::vector<std::string> packages;  // kApt: what is installed; kBase: what is there besides
  std::string suite;  // kBase, kKernel: Debian's release; empty: the daemon's choice
  // What VMs of one tenant teach about it may serve other tenants'; absent: if it is built of
  // Debian's packages.
  std::optional<bool> is_shareable;
  // Not kOci: the component whose chunks those of this one are told by where that is shorter;
  // empty: none.
  std::string delta_from;
};

struct ComponentInfo {
  std::string name, digest, version, function;
  uint64_t name_count = 0;  // in its file tree
  uint64_t data_bytes = 0, stored_bytes = 0;
  bool is_shareable = false;  // marked so on this host
};

// How many of each there are in a component's tree.
struct ComponentInodes {
  uint64_t files = 0, directories = 0, symlinks = 0, devices = 0, fifos = 0, whiteouts = 0;
  uint64_t opaque_directories = 0;  // of the directories
  uint64_t hard_links = 0;          // names beyond the first of a file
};

struct ComponentDetails {
  ComponentInfo info;          // as the list has it
  std::string component_name;  // its own; info.name is its tag's
  std::string architecture, origin, licence, created;
  std::vector<std::string> depends, provides;
  uint64_t content_bytes = 0;  // of all files, holes too
  uint64_t index_bytes = 0;
  uint64_t chunk_count = 0, distinct_chunk_count = 0;
  uint64_t delta_chunk_count = 0;                    // of the distinct ones
  uint64_t basis_count = 0, basis_stored_bytes = 0;  // what those are told by
  ComponentInodes inodes;
};

struct ComposeRequest {
  std::string manifest;  // TOML, docs/format_manifest.md
  std::string name;      // the image's
};

enum class OperationState : uint8_t { kRunning, kSucceeded, kFailed };

// Kept after its end, failed ones too, up to a limit that the daemon states.
struct OperationInfo {
  std::string id;       // "o-17"
  std::string kind;     // "image_import", "component_import", "image_compose"
  std::string subject;  // the image's name
  OperationState state = OperationState::kRunning;
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;    // 0: not known yet
  std::string message;         // what it does now, or what came of it: "1180 chunks, 402 new"
  std::optional<Error> error;  // set exactly if it failed
  int64_t started_unix_seconds = 0;
  int64_t ended_unix_seconds = 0;  // 0 while it runs
  OperationResult result;          // once it succeeded
};

// ---- VMs

enum class DiskBus : uint8_t { kVirtio, kNvme };
enum class PrefetchMode : uint8_t {
  kOn,
  kObserve,  // models learn and are scored, nothing is fetched ahead
  kOff,
};
enum class VmState : uint8_t {
  kRunning,
  kStopped,
  kFailed,
  kMigrating,  // runs here, and is on its way to another host
  kIncoming,   // is on its way from another host, and does not run here yet
  kMoved,      // another host has it
};

struct PortForward {  // TCP
  std::string host_address = "127.0.0.1";
  uint16_t host_port = 0;
  uint16_t guest_port = 0;
  bool operator==(const PortForward&) const = default;
};

struct RunRequest {
  std::string name;
  // What its disk is, one of: an image; a base component with others on top; a manifest's text.
  // None: a VM that exists keeps its own.
  std::string image;
  std::string base;
  std::vector<std::string> with;
  std::string manifest;
  std::string hostname;     // with `base`; empty: as the components have it
  std::string tenant;       // whose VM it is; empty: as before, or nobody's
  uint64_t disk_bytes = 0;  // of a new VM's disk, if larger than its image; 0: as that
  uint64_t memory_bytes = 512ull << 20;
  uint32_t cpus = 1;
  std::vector<PortForward> forwards;  // of the user network
  std::string bridge;                 // of the host, that the guest is put on; empty: user network
  std::string mac;                    // empty: as before, or at random
  // Absolute paths on the daemon's host. No kernel: that of the disk's kernel component, or else
  // the disk's boot loader.
  std::string kernel, initrd;
  std::string append;  // kernel command line
  // Images whose disks the guest sees as /dev/pmem0, … read-only and shared with other guests.
  std::vector<std::string> pmem_images;
  DiskBus disk_bus = DiskBus::kVirtio;
  PrefetchMode prefetch = PrefetchMode::kOn;
  bool disk_only = false;               // export the disk, start no QEMU: some other client uses it
  std::optional<bool> checkpoint_auto;  // whether checkpoints are made by themselves; not said: as
                                        // before, or not
};

// What is to change of a VM's share of links; what is not said stays.
struct ShareRequest {
  std::optional<double> weight, reserved_bytes_per_s, limit_bytes_per_s;
};

struct VmInfo {
  std::string name;
  VmState state = VmState::kStopped;
  std::string detail;  // why it failed; empty otherwise
  std::string peer;    // the other host, if it migrates or has moved
  int pid = 0;         // 0 if it does not run
  std::string image;
  std::string image_digest;
  std::string tenant;        // empty: nobody said
  std::string export_uri;    // nbd+unix:///NAME?socket=…
  std::string console_path;  // unix socket of the serial console
  std::string log_path;      // what the serial console printed
  std::string accelerator;   // "kvm" or "tcg"
  uint64_t memory_bytes = 0;
  uint32_t cpus = 0;
  std::vector<PortForward> forwards;
  std::string bridge;  // empty: QEMU's user network
  std::string mac;     // empty: QEMU's default
  std::vector<std::string> pmem_images;
  PrefetchMode prefetch = PrefetchMode::kOn;
  bool disk_only = false;
  iosched::Share share;
  int64_t created_unix_seconds = 0;
  int64_t started_unix_seconds = 0;
};

// How a VM's memory goes to another host: all of it before the VM does, or after it, or first one
// pass over it and the rest after it.
enum class MigrateMode : uint8_t { kAuto, kPrecopy, kPostcopy, kHybrid };

struct MigrateRequest {
  std::string to;  // a host of the configuration
  MigrateMode mode = MigrateMode::kAuto;
  uint64_t downtime_ms_max = 300;     // of pre-copy: it goes on until that will do
  uint64_t rate_bytes_per_s_max = 0;  // of the memory before the switch; 0: none
  bool is_stock = false;  // QEMU's streams as they are: nothing foreseen, nothing compressed
  bool without_forwards = false;  // its host's ports are not taken at the other host
  // What auto keeps to beside the downtime, where some mode can:
  uint64_t degradation_percent_max = 50;  // of the migration, that the guest may wait for pages
  uint64_t switch_within_ms = 0;          // it is to run at the other host by then; 0: whenever
};

struct StopRequest {
  bool force = false;                        // do not ask the guest
  Nanos timeout = std::chrono::seconds(60);  // of the ACPI power-down, before force
};

// ---- what came of it

struct CalibrationBin {
  double said = 0, happened = 0;  // mean probability said; share that came true
  uint64_t count = 0;
};

// A model in one phase of its VM's session; the sum over a phase's models is one more, "proposed",
// which fetches nothing. Of issued chunks each is used (there in time), late, wasted, cancelled
// before it was fetched, or not decided yet.
struct ModelStats {
  std::string name;
  std::string phase;         // "boot" or "work"
  uint64_t said_blocks = 0;  // predicted and decided since
  uint64_t came_true_blocks = 0;
  uint64_t issued_chunks = 0, used_chunks = 0, late_chunks = 0, wasted_chunks = 0;
  uint64_t cancelled_chunks = 0, undecided_chunks = 0;
  uint64_t issued_bytes = 0, used_bytes = 0, late_bytes = 0, wasted_bytes = 0;  // as stored
  double calibration_gap_ratio = 0;
  bool muted = false;
  double muted_changed_seconds = -1;  // since it was muted or heard again; below 0: never was
  uint64_t times_muted = 0;
  double proposals_true_ratio = 1;    // of what it would propose; decides whether it is muted
  uint64_t phase_changes = 0;         // of the guest's ways, noticed in its words
  double phase_changed_seconds = -1;  // since the last; below 0: none
  uint64_t state_bytes = 0;
  std::vector<CalibrationBin> bins;
};

// Since the VM's last start. A chunk fetched ahead is hit (there when the guest came), late (on its
// way) or wasted (never used).
struct VmStats {
  std::string name;
  double uptime_seconds = 0;
  uint64_t reads = 0, writes = 0, read_bytes = 0, written_bytes = 0;
  bool stalled_now = false;  // a guest read is outstanding on the link
  double stall_seconds = 0;  // time during which at least one was
  double stall_bin_seconds = 0.1;
  std::vector<uint16_t> stall_bin_ms;  // stalled milliseconds in each bin since the start; bounded,
                                       // later bins are cut
  uint64_t demand_reads = 0;           // reads that waited for the link
  double demand_p50_seconds = 0, demand_p99_seconds = 0;
  uint64_t issued_chunks = 0, hit_chunks = 0, late_chunks = 0, wasted_chunks = 0;
  uint64_t demand_fetched_bytes = 0, prefetch_fetched_bytes = 0, wasted_bytes = 0;
  uint64_t undecided_chunks = 0;       // fetched ahead or under way, not yet used
  uint64_t prefetch_budget_bytes = 0;  // may be fetched ahead now; earned by usefulness
  uint64_t prefetch_earned_bytes = 0;  // may be fetched and not decided at a time
  double prefetch_useful_ratio = 1;    // of decided bytes, recent ones first
  std::string phase;                   // "boot" or "work"; empty: nobody watches
  double phase_seconds = 0;
  uint64_t observations_dropped = 0;
  std::vector<ModelStats> models;
};

// ---- what a guest's agent reports of it

// A value of the behaviour vector (docs/format_profile.md) over the window.
struct ProfileValue {
  std::string name;
  double last = 0, mean = 0, min = 0, max = 0;
  uint64_t count = 0;  // profiles that know it
};

struct ProfileRefusal {
  std::string reason;
  uint64_t lines = 0;
};

// Since the VM's last start, or the daemon's.
struct VmProfile {
  std::string name;
  telemetry::Control asked;   // of the agent, by the host; nothing: as the agent likes
  bool is_connected = false;  // to the port; whether an agent is behind it shows in the age
  double age_seconds = -1;    // of the newest profile; below 0: none came
  uint64_t taken = 0, lost = 0, instances = 0;
  std::vector<ProfileRefusal> refused;
  std::string last_refusal;
  double window_seconds = 0;
  uint64_t window_profiles = 0;
  std::vector<ProfileValue> window;
  std::string profile_json;  // the newest, as checked; empty: none came
};

struct SchedulerClassStats {
  std::string name;  // critical, prefetch, background
  uint64_t queued = 0, in_flight = 0, done = 0, done_bytes = 0, cancelled = 0, promoted = 0;
  double waited_seconds = 0;
};

struct HostStats {
  std::string version;
  double uptime_seconds = 0;
  std::string accelerator;  // "kvm" or "tcg"
  uint64_t vms_running = 0;
  // tier
  uint64_t tier_memory_bytes = 0, tier_memory_bytes_max = 0, tier_file_bytes = 0,
           tier_file_bytes_max = 0;
  uint64_t tier_probation_bytes = 0;
  uint64_t tier_memory_bytes_limit = 0;  // what memory may be used now: less if the host needs it
  // Of the memory: held by reads or foreseen for soon; fetched ahead and not used yet; the rest.
  uint64_t tier_reserved_bytes = 0, tier_prefetched_bytes = 0, tier_used_bytes = 0;
  uint64_t tier_in_use_bytes = 0;  // of the reserved: held by reads
  // Of the memory: used by two disks or more; and what all disks would hold with a copy each.
  uint64_t tier_shared_bytes = 0, tier_copies_bytes = 0;
  uint64_t tier_memory_hits = 0, tier_file_hits = 0, tier_misses = 0;
  uint64_t tier_evicted = 0, tier_evicted_unused = 0, tier_corrupt = 0;
  // memory of the host, or of the cgroup that limits it; 0: unknown
  uint64_t host_memory_bytes = 0, host_memory_available_bytes = 0;
  double host_memory_stall_ratio = 0;  // of the last 10 s: share in which a task waited for memory
  // link to the repository
  std::string repository;            // its address
  double link_rate_bytes_per_s = 0;  // 0: not known yet
  double link_round_trip_seconds = 0;
  std::vector<SchedulerClassStats> classes;
};

enum class CheckStatus : uint8_t { kPass, kWarn, kFail };

struct Check {
  std::string name;  // "repository"
  CheckStatus status = CheckStatus::kPass;
  std::string detail;  // what was found
  std::string fix;     // what to do; empty if kPass
};

// Thread-safe: called from the HTTP server's worker threads. A call may block for as long as its
// work takes (a stop: its timeout); anything longer is an operation.
class Service {
 public:
  virtual ~Service() = default;

  // Starts to import a disk and returns the operation. ERRORS: kInvalid, kNotFound (no such file),
  // kExists (an import of that name runs, or the name holds other content).
  virtual Result<OperationInfo> import_image(const ImportRequest& request) = 0;
  virtual Result<std::vector<ImageInfo>> list_images() = 0;  // by name
  virtual Result<ImageInfo> get_image(const std::string& name) = 0;

  // Starts to import a component and returns the operation. ERRORS: as import_image.
  virtual Result<OperationInfo> import_component(const ComponentImportRequest& request) = 0;
  virtual Result<std::vector<ComponentInfo>> list_components() = 0;  // by name
  virtual Result<ComponentDetails> get_component(const std::string& name) = 0;
  // Marks a component, or else the image of this name, as shareable among tenants or private to
  // each. ERRORS: kNotFound.
  virtual Status mark_component(const std::string& name, bool is_shareable) = 0;
  // Removes the name; data that nothing else names is garbage collection's.
  virtual Status remove_component(const std::string& name) = 0;
  // Starts to compose an image and returns the operation. ERRORS: kInvalid: the manifest, with file
  // and line.
  virtual Result<OperationInfo> compose_image(const ComposeRequest& request) = 0;

  // Forgets a name. VMs of the image keep it, others of its names too. ERRORS: kNotFound.
  virtual Status remove_image(const std::string& name) = 0;

  // Start to look for what is missing or damaged in the repository, and to remove what nothing
  // leads to. ERRORS: kExists if work on the whole repository runs; kUnsupported without a folder.
  virtual Result<OperationInfo> verify_repository(const VerifyRequest& request) = 0;
  virtual Result<OperationInfo> collect_garbage(const GcRequest& request) = 0;

  // Starts to copy what names lead to into a folder or archive. ERRORS: also kNotFound: a name.
  virtual Result<OperationInfo> export_repository(const ExportRequest& request) = 0;
  // Returns the tags of the folder repository, by path.
  virtual Result<std::vector<TagInfo>> list_tags() = 0;
  // Gives a tag a signature, replacing one it has. ERRORS: kDenied: it is not right; kExists: the
  // name means something else by now; kNotFound.
  virtual Result<TagInfo> sign_tag(const SignRequest& request) = 0;

  virtual std::vector<OperationInfo> list_operations() = 0;  // newest first
  virtual Result<OperationInfo> get_operation(const std::string& id) = 0;

  // Creates and starts a VM. A stopped VM of that name and image is started again with these
  // settings and its own writes. ERRORS: kExists (it runs, or belongs to another image), kNotFound
  // (image), kInvalid, kUnavailable.
  virtual Result<VmInfo> run_vm(const RunRequest& request) = 0;
  virtual std::vector<VmInfo> list_vms() = 0;  // by name
  virtual Result<VmInfo> get_vm(const std::string& name) = 0;
  // Returns once it is stopped; stopping a stopped VM is no error.
  virtual Result<VmInfo> stop_vm(const std::string& name, const StopRequest& request) = 0;
  // Starts to move a running VM to another host and returns the operation. Until the VM is the
  // other host's, whatever fails leaves it running here. ERRORS: kNotFound (VM, host), kInvalid,
  // kUnsupported, kExists: it is being migrated.
  virtual Result<OperationInfo> migrate_vm(const std::string& name,
                                           const MigrateRequest& request) = 0;
  // Asks a migration to end with the VM where it was. ERRORS: kNotFound: there is none; kExists: it
  // is too late.
  virtual Status cancel_migration(const std::string& name) = 0;
  // Returns what such a migration would take; the VM runs on here, slowed for a second or a few.
  // ERRORS: as of migrate_vm; kUnavailable: the other host does not answer.
  virtual Result<MigrationForecast> forecast_migration(const std::string& name,
                                                       const MigrateRequest& request) = 0;
  // Returns the last migrations from here, and how well they were foreseen.
  virtual MigrationReport migrations() = 0;
  // Returns the hosts of the configuration and of the cluster, by name; asks each of the former
  // whether it answers.
  virtual std::vector<PeerInfo> list_peers() = 0;
  // Forgets a host of the cluster that is gone for good. ERRORS: kNotFound; kExists: its lease is
  // there; those of the cluster's store.
  virtual Status forget_host(const std::string& name) = 0;
  virtual ClusterInfo cluster() = 0;
  // Forgets a stopped VM and deletes its own writes. ERRORS: kExists if it runs.
  virtual Status remove_vm(const std::string& name) = 0;
  virtual Result<VmStats> vm_stats(const std::string& name) = 0;

  // Gives the VM another share of each link, now and whenever it runs. ERRORS: kNotFound; kInvalid:
  // what iosched::check() says; kIo, kNoSpace: nothing is changed then.
  virtual Result<VmInfo> set_vm_share(const std::string& name, const ShareRequest& asked) = 0;

  // Returns the names of all series of the history.
  virtual std::vector<telemetry::SeriesName> usage_series() = 0;
  // ERRORS: kNotFound: no such series; kCorrupt, kIo.
  virtual Result<UsageInfo> usage(const UsageRequest& asked) = 0;
  // Starts to add what a Prometheus knows to the history, and returns the operation. ERRORS:
  // kInvalid: there is none, or its URL is none; kExists: it is being done.
  virtual Result<OperationInfo> import_usage(const UsageImportRequest& asked) = 0;
  // Takes values of a VM's own metrics for the history. ERRORS: kNotFound: no such VM; kInvalid,
  // kTooLarge: none of them is taken.
  virtual Status push_metrics(const std::string& vm, const PushRequest& values) = 0;

  // Returns what the VM's agent said last. ERRORS: kNotFound: no VM that has run here.
  virtual Result<VmProfile> vm_profile(const std::string& name) = 0;
  // Asks the VM's agent, now and whenever one begins, for another period or other metrics; what
  // `asked` does not say stays. ERRORS: kNotFound, kIo, kNoSpace: nothing is changed then.
  virtual Result<VmProfile> set_vm_profile(const std::string& name,
                                           const telemetry::Control& asked) = 0;

  // Begins to record what a running VM asks of its disk. ERRORS: kNotFound: no such VM, or it does
  // not run; kExists: it is being recorded; kTooLarge: too many are.
  virtual Result<RecordingInfo> start_recording(const std::string& vm) = 0;
  // Returns what it asked since the last call. One who does not call for 20 s has left: the
  // recording ends. ERRORS: kNotFound: the VM has no recording of that id.
  virtual Result<RecordedRequests> collect_recording(const std::string& vm,
                                                     const CollectRequest& request) = 0;

  // Keeps the state of a running VM, memory and disk; it runs on. ERRORS: kNotFound, kInvalid (it
  // does not run), kUnavailable, kUnsupported, kNoSpace, kIo.
  virtual Result<CheckpointInfo> checkpoint_vm(const std::string& vm) = 0;
  virtual Result<std::vector<CheckpointInfo>> list_checkpoints(const std::string& vm) = 0;
  virtual Status remove_checkpoint(const std::string& vm, uint64_t number) = 0;
  // ERRORS: kNotFound, kInvalid: a budget or a number out of range; of saving the VM's record.
  virtual Result<CheckpointPolicy> set_checkpoint_policy(
      const std::string& vm, const CheckpointPolicyRequest& request) = 0;
  virtual Result<CheckpointPolicy> checkpoint_policy(const std::string& vm) = 0;
  // Has another host keep a copy; 0: of the newest one. Its operation's kind is "checkpoint_copy".
  // ERRORS: kNotFound: no such VM, checkpoint or host.
  virtual Result<OperationInfo> copy_checkpoint(const std::string& vm, uint64_t number,
                                                const CheckpointCopyRequest& request) = 0;
  // Starts a stopped VM as it was at a checkpoint. ERRORS: kNotFound, kExists (it runs), kCorrupt,
  // as run_vm.
  virtual Result<VmInfo> restore_vm(const std::string& vm, const RestoreRequest& request) = 0;

  // Writes what was learned of a VM to a file, for another host. ERRORS: kNotFound (VM), kInvalid
  // (path), kExists: there is such a file; kIo.
  virtual Result<HistoryExportInfo> export_history(const std::string& vm,
                                                   const HistoryExportRequest& request) = 0;
  // Takes up such a file for a VM that does not run, or is not known yet. ERRORS: kExists: it runs;
  // kCorrupt, kUnsupported, kTooLarge, kInvalid: nothing of it was taken up; kNotFound (file), kIo.
  virtual Result<HistoryImportInfo> import_history(const std::string& vm,
                                                   const HistoryImportRequest& request) = 0;

  // Returns which launches are expected on this host, and how earlier ones were foreseen.
  virtual LaunchReport launches() = 0;
  // Learns from a file of past launches. ERRORS: kInvalid with the line, kNotFound, kUnsupported if
  // launches are not foreseen here.
  virtual Result<LaunchImportInfo> import_launches(const LaunchImportRequest& request) = 0;

  virtual HostStats host_stats() = 0;
  // Returns what only the daemon can know: repository reachable, state folder writable, space left.
  virtual std::vector<Check> run_checks() = 0;
  // Returns the Prometheus text of /metrics.
  virtual std::string metrics_text() = 0;
};

}  // namespace forerun::api
