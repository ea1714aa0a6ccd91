// The behaviour vector: the compact signature of a guest's memory and I/O behaviour, which models
// and clustering take as input. Fixed size, every value finite and in 0 … 1 or −1 … 1, so that no
// guest can say anything that a model cannot bear.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "telemetry/profile.h"

namespace forerun::telemetry {

// A magnitude is said as log2(1 + x) / 40: 0 is none, 1 is 2^40.
enum class Behaviour : uint8_t {
  kCpuBusy,           // ratio of all cores
  kCpuSteal,          // ratio
  kWorkingSet,        // magnitude, bytes referenced
  kWorkingSetChange,  // −1 … 1
  kDirtyRatio,        // dirty over referenced bytes
  kMemoryUsed,        // ratio: 1 − available / total
  kMinorFaults,       // magnitude, per second
  kMajorFaults,       // magnitude, per second
  kRefaults,          // magnitude, per second
  kJaccard,           // ratio
  kRun,               // magnitude, pages
  kGapMode,           // magnitude, pages
  kGapModeRatio,
  kDeltaEntropy,  // bits / 16, at most 1
  kPlusOne,       // ratio
  kDeltaMode,     // magnitude with its sign, pages
  kDeltaModeRatio,
  kScan,  // shares of the accesses
  kLoop,
  kStride,
  kChase,
  kRandom,
  kReads,        // magnitude, bytes per second, of all disks
  kWrites,       // likewise
  kReadLatency,  // magnitude, µs, mean over all disks' reads
  kNetwork,      // magnitude, bytes per second, both ways
  kPressureCpu,  // some, ratio
  kPressureMemory,
  kPressureIo,
};
inline constexpr size_t kBehaviourCount = 29;
std::string_view behaviour_name(Behaviour which);

struct BehaviourVector {
  std::array<float, kBehaviourCount> values{};
  uint32_t known = 0;  // a bit for each value; what is not known is 0

  float of(Behaviour which) const { return values[static_cast<size_t>(which)]; }
  bool knows(Behaviour which) const { return (known >> static_cast<uint32_t>(which) & 1) != 0; }
  bool operator==(const BehaviourVector&) const = default;
};
static_assert(sizeof(BehaviourVector) <= 128);

BehaviourVector behaviour_of(const Profile& profile);

// What a guest does at large, by rule: of the accesses of which an order is told, two thirds are in
// order (scan, loop, stride), or two thirds are scattered (chase, random), or neither; or it does
// nothing. kUnknown: nothing is told, though it works.
enum class Category : uint8_t { kOrdered, kScattered, kMixed, kIdle, kUnknown };
inline constexpr size_t kCategoryCount = 4;  // without kUnknown
std::string_view category_name(Category category);
Category category_of(const BehaviourVector& vector);

// The part of the vector that models of the next reads take as input, in this order: cpu_busy,
// working_set_change, scan, loop, stride, chase, random, pressure_io. What is not known is 0.
inline constexpr size_t kModelInputCount = 8;
std::array<float, kModelInputCount> model_inputs(const BehaviourVector& vector);

}  // namespace forerun::telemetry
