// What all that is saved of components has in common: mark, version, checksum at the end.
#pragma once

#include <cstring>
#include <string_view>

#include "core/codec.h"
#include "core/result.h"

namespace forerun::predict {

inline constexpr size_t kSavedHeadBytes = 8 + 4;  // mark and version
inline constexpr size_t kSavedDigestBytes = 32;

// Saved as IEEE bits, so that a saved history merges exactly as the live one.
uint32_t to_bits(float value);
float from_bits(uint32_t bits);
// Returns false for NaN.
inline bool in_range(float value, float low, float high) { return value >= low && value <= high; }

enum class SavedKind : uint8_t {
  kHistory,
  kSuccessors,
  kNetwork,
  kRnn,
  kMarkov,
  kAssociation,
  kVmModels,
  kVmHistory,
};

// Begins a saved form.
ByteWriter begin_saved(SavedKind kind, uint32_t version);
// Returns it with its checksum.
Buffer seal(ByteWriter out);

struct OpenedForm {
  uint32_t version = 0;
  ByteView body;  // between version and checksum
};
// ERRORS: kTooLarge: more than `bytes_max`; kUnsupported: a version above `version_max`; kCorrupt.
Result<OpenedForm> open_saved(ByteView saved, SavedKind kind, uint64_t bytes_max,
                              uint32_t version_max);

}  // namespace forerun::predict
