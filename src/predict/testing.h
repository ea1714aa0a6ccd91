// Short ways to write accesses and to read what models say. For tests only.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "predict/model.h"
#include "trace/access.h"

namespace forerun::predict {

inline constexpr ComponentId kComponent{1};

inline trace::Access read_of(uint64_t first, uint32_t count = 1, Nanos at = Nanos{0},
                             trace::ServedFrom from = trace::ServedFrom::kMemory) {
  trace::Access access;
  access.at = kTimeZero + at;
  access.component = kComponent;
  access.first_block = first;
  access.block_count = count;
  access.served_from = from;
  return access;
}

inline trace::Access write_of(uint64_t first, uint32_t count = 1) {
  trace::Access access = read_of(first, count);
  access.op = trace::Op::kWrite;
  return access;
}

// Returns what `model` says of one access.
inline std::vector<Candidate> said_of(Model& model, const trace::Access& access) {
  std::vector<Candidate> out;
  model.on_access(access, out);
  return out;
}

// Returns every block of candidates or proposals.
template <typename Runs>
std::set<uint64_t> blocks_of(const Runs& runs) {
  std::set<uint64_t> blocks;
  for (const auto& run : runs)
    for (uint32_t i = 0; i < run.block_count; ++i) blocks.insert(run.first_block + i);
  return blocks;
}

}  // namespace forerun::predict
