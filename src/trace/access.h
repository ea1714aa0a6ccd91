// One observed read or write of a virtual disk, as the export reports it and models and the
// prefetcher consume it.
#pragma once

#include <cstdint>

#include "core/id.h"
#include "core/time.h"

namespace forerun::trace {

enum class Op : uint8_t { kRead, kWrite, kTrim };

// Where a read found its data. Of several chunks in one read, the slowest counts.
enum class ServedFrom : uint8_t {
  kLocal,       // overlay or zeroes: needs no shared data
  kMemory,      // the tier's memory
  kTierFile,    // the tier's file
  kRepository,  // the guest waited for a fetch
};

// Blocks are of the model's unit (the daemon uses the chunk size, `forerun replay` 4 KiB) and count
// from the start of the component, so an access means the same on every disk that holds the
// component.
struct Access {
  Time at{};
  VmId vm{};
  ComponentId component{};
  uint64_t first_block = 0;
  uint32_t block_count = 0;
  Op op = Op::kRead;
  ServedFrom served_from = ServedFrom::kLocal;
  uint32_t waited_us = 0;  // how long the guest waited for a fetch
};

}  // namespace forerun::trace
