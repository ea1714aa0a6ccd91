#include "telemetry/behaviour.h"

#include <algorithm>
#include <cmath>

namespace forerun::telemetry {
namespace {

constexpr std::array<std::string_view, kBehaviourCount> kNames{"cpu_busy",
                                                               "cpu_steal",
                                                               "working_set",
                                                               "working_set_change",
                                                               "dirty_ratio",
                                                               "memory_used",
                                                               "minor_faults",
                                                               "major_faults",
                                                               "refaults",
                                                               "jaccard",
                                                               "run",
                                                               "gap_mode",
                                                               "gap_mode_ratio",
                                                               "delta_entropy",
                                                               "plus_one",
                                                               "delta_mode",
                                                               "delta_mode_ratio",
                                                               "scan",
                                                               "loop",
                                                               "stride",
                                                               "chase",
                                                               "random",
                                                               "reads",
                                                               "writes",
                                                               "read_latency",
                                                               "network",
                                                               "pressure_cpu",
                                                               "pressure_memory",
                                                               "pressure_io"};

double magnitude(double value) { return std::min(1.0, std::log2(1 + std::max(0.0, value)) / 40); }

double ratio_of(double part, double whole) { return whole > 0 ? part / whole : 0; }

struct Filler {
  BehaviourVector vector;
  void set(Behaviour which, double value) {
    const double bounded = std::isfinite(value) ? std::clamp(value, -1.0, 1.0) : 0;
    vector.values[static_cast<size_t>(which)] = static_cast<float>(bounded);
    vector.known |= 1u << static_cast<uint32_t>(which);
  }
};

void add_memory(const MemoryProfile& memory, Filler& fill) {
  fill.set(Behaviour::kMemoryUsed,
           std::max(0.0, 1 - ratio_of(static_cast<double>(memory.available_bytes),
                                      static_cast<double>(memory.total_bytes))));
  fill.set(Behaviour::kMinorFaults, magnitude(memory.minor_faults_per_s));
  fill.set(Behaviour::kMajorFaults, magnitude(memory.major_faults_per_s));
  fill.set(Behaviour::kRefaults, magnitude(memory.refaults_per_s));
}

void add_pattern(const PatternProfile& pattern, Filler& fill) {
  const AccessFeatures& features = pattern.features;
  fill.set(Behaviour::kJaccard, features.jaccard_ratio);
  fill.set(Behaviour::kRun, magnitude(features.run_pages));
  fill.set(Behaviour::kGapMode, magnitude(static_cast<double>(features.gap_mode_pages)));
  fill.set(Behaviour::kGapModeRatio, features.gap_mode_ratio);
  if (pattern.source != "faults") return;  // only a set: nothing is known of the order
  fill.set(Behaviour::kDeltaEntropy, features.delta_entropy_bits / 16);
  fill.set(Behaviour::kPlusOne, features.plus_one_ratio);
  const auto mode = static_cast<double>(features.delta_mode);
  fill.set(Behaviour::kDeltaMode, std::copysign(magnitude(std::abs(mode)), mode));
  fill.set(Behaviour::kDeltaModeRatio, features.delta_mode_ratio);
  fill.set(Behaviour::kScan, pattern.shares.scan);
  fill.set(Behaviour::kLoop, pattern.shares.loop);
  fill.set(Behaviour::kStride, pattern.shares.stride);
  fill.set(Behaviour::kChase, pattern.shares.chase);
  fill.set(Behaviour::kRandom, pattern.shares.random);
}

void add_disks(const std::vector<DiskProfile>& disks, Filler& fill) {
  double reads = 0, read_bytes = 0, write_bytes = 0, latency = 0;
  for (const DiskProfile& disk : disks) {
    reads += disk.reads_per_s;
    read_bytes += disk.read_bytes_per_s;
    write_bytes += disk.write_bytes_per_s;
    latency += disk.read_latency_us * disk.reads_per_s;
  }
  fill.set(Behaviour::kReads, magnitude(read_bytes));
  fill.set(Behaviour::kWrites, magnitude(write_bytes));
  if (reads > 0) fill.set(Behaviour::kReadLatency, magnitude(latency / reads));
}

}  // namespace

std::string_view category_name(Category category) {
  constexpr std::array<std::string_view, kCategoryCount + 1> kCategoryNames{
      "ordered", "scattered", "mixed", "idle", "unknown"};
  return kCategoryNames[static_cast<size_t>(category)];
}

Category category_of(const BehaviourVector& vector) {
  constexpr float kBusyMin = 0.02f;      // of all cores
  constexpr float kBytesMin = 0.3f;      // magnitude: 4 KiB a second
  constexpr float kDominant = 2.0f / 3;  // of what is told
  const bool is_idle =
      vector.knows(Behaviour::kCpuBusy) && vector.of(Behaviour::kCpuBusy) < kBusyMin &&
      vector.of(Behaviour::kReads) < kBytesMin && vector.of(Behaviour::kWrites) < kBytesMin;
  if (is_idle) return Category::kIdle;
  const float ordered =
      vector.of(Behaviour::kScan) + vector.of(Behaviour::kLoop) + vector.of(Behaviour::kStride);
  const float scattered = vector.of(Behaviour::kChase) + vector.of(Behaviour::kRandom);
  if (!(ordered + scattered > 0)) return Category::kUnknown;
  if (ordered >= kDominant * (ordered + scattered)) return Category::kOrdered;
  if (scattered >= kDominant * (ordered + scattered)) return Category::kScattered;
  return Category::kMixed;
}

std::array<float, kModelInputCount> model_inputs(const BehaviourVector& vector) {
  return {vector.of(Behaviour::kCpuBusy), vector.of(Behaviour::kWorkingSetChange),
          vector.of(Behaviour::kScan),    vector.of(Behaviour::kLoop),
          vector.of(Behaviour::kStride),  vector.of(Behaviour::kChase),
          vector.of(Behaviour::kRandom),  vector.of(Behaviour::kPressureIo)};
}

std::string_view behaviour_name(Behaviour which) { return kNames[static_cast<size_t>(which)]; }

BehaviourVector behaviour_of(const Profile& profile) {
  Filler fill;
  if (profile.cpu) {
    fill.set(Behaviour::kCpuBusy, profile.cpu->busy_ratio);
    fill.set(Behaviour::kCpuSteal, profile.cpu->steal_ratio);
  }
  if (profile.memory) add_memory(*profile.memory, fill);
  if (profile.working_set) {
    const WorkingSetProfile& set = *profile.working_set;
    fill.set(Behaviour::kWorkingSet, magnitude(static_cast<double>(set.referenced_bytes)));
    fill.set(Behaviour::kWorkingSetChange, set.change_ratio);
    fill.set(Behaviour::kDirtyRatio, ratio_of(static_cast<double>(set.dirty_bytes),
                                              static_cast<double>(set.referenced_bytes)));
  }
  if (profile.pattern) add_pattern(*profile.pattern, fill);
  if (!profile.disks.empty()) add_disks(profile.disks, fill);
  if (!profile.networks.empty()) {
    double bytes = 0;
    for (const NetworkProfile& network : profile.networks)
      bytes += network.rx_bytes_per_s + network.tx_bytes_per_s;
    fill.set(Behaviour::kNetwork, magnitude(bytes));
  }
  if (profile.pressure) {
    fill.set(Behaviour::kPressureCpu, profile.pressure->cpu_some);
    fill.set(Behaviour::kPressureMemory, profile.pressure->memory_some);
    fill.set(Behaviour::kPressureIo, profile.pressure->io_some);
  }
  return fill.vector;
}

}  // namespace forerun::telemetry
