// What an ELF program or library asks the loader for. SOURCE: System V ABI, gABI 4.1 chapters 4-5.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::image {

struct ElfNeeds {
  std::string interpreter;               // PT_INTERP; empty: none
  std::vector<std::string> libraries;    // DT_NEEDED, in order
  std::vector<std::string> search_path;  // DT_RUNPATH or DT_RPATH, $ORIGIN not yet replaced
};

// Returns up to `size` bytes of the file from `offset`, fewer at its end.
using ReadAt = std::function<Result<Buffer>(uint64_t offset, size_t size)>;

inline constexpr size_t kElfLibrariesMax = 256;

// Returns what a 64-bit little-endian ELF file needs; nothing for a static one. Nothing in the file
// is trusted. ERRORS: kUnsupported (no such file), kCorrupt, kTooLarge, those of `read`.
Result<ElfNeeds> read_elf_needs(const ReadAt& read);

}  // namespace forerun::image
