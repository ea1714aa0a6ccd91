#include <algorithm>
#include <cmath>
#include <set>

#include "core/rng.h"
#include "os/file.h"
#include "repository/chunk.h"
#include "trace/block_trace.h"
#include "traces.h"

namespace forerun::pollution {
namespace {

constexpr uint64_t kSeed = 20261121;

// A scan that never comes back.
std::vector<ChunkAccess> scan(size_t count) {
  std::vector<ChunkAccess> out(count);
  for (size_t i = 0; i < count; ++i) out[i].chunk = static_cast<uint32_t>(i);
  return out;
}

std::vector<ChunkAccess> uniform(size_t count, uint32_t chunks, bool is_write, uint64_t seed) {
  Rng rng(seed);
  std::vector<ChunkAccess> out;
  for (size_t i = 0; i < count; ++i)
    out.push_back({static_cast<uint32_t>(rng.below(chunks)), is_write});
  return out;
}

// Each chunk four times, too far apart to count as one burst: it looks re-used and never is again.
std::vector<ChunkAccess> rereads(size_t count) {
  constexpr size_t kGap = 150, kTimes = 4;
  std::vector<ChunkAccess> out;
  for (size_t i = 0; out.size() < count; ++i) {
    for (size_t k = 0; k < kTimes; ++k)
      if (i >= k * kGap) out.push_back({static_cast<uint32_t>(i - k * kGap)});
  }
  out.resize(count);
  return out;
}

// Runs that begin like a file read from its start and end where models are sure of what follows.
std::vector<ChunkAccess> liar(size_t count, uint32_t chunks, uint64_t seed) {
  Rng rng(seed);
  std::vector<ChunkAccess> out;
  while (out.size() < count) {
    const auto first = static_cast<uint32_t>(rng.below(chunks));
    const uint32_t stride = rng.chance(0.5) ? 1 : static_cast<uint32_t>(rng.between(2, 9));
    const uint64_t length = rng.between(4, 7);
    for (uint32_t i = 0; i < length; ++i) out.push_back({first + i * stride});
  }
  out.resize(count);
  return out;
}

}  // namespace

Result<std::vector<ChunkAccess>> load_trace(const std::string& path, size_t accesses_max) {
  constexpr uint64_t kSectorsPerChunk = repository::kChunkSize / trace::kSectorBytes;
  FR_TRY(auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  trace::BlockTraceReader reader(*file, path);
  std::vector<ChunkAccess> out;
  for (trace::BlockRequest request; out.size() < accesses_max;) {
    FR_TRY(const bool more, reader.next(request));
    if (!more) break;
    const uint64_t last = (request.first_sector + request.sectors - 1) / kSectorsPerChunk;
    for (uint64_t chunk = request.first_sector / kSectorsPerChunk; chunk <= last; ++chunk) {
      const ChunkAccess access{static_cast<uint32_t>(chunk), request.op == trace::Op::kWrite};
      if (out.empty() || out.back().chunk != access.chunk) out.push_back(access);
    }
  }
  if (out.empty()) return fail(ErrorCode::kInvalid, fmt::format("{} holds no request", path));
  return out;
}

std::vector<ChunkAccess> zipf(uint32_t chunks, double exponent, size_t count, uint64_t seed) {
  std::vector<double> sums;
  double sum = 0;
  for (uint32_t i = 0; i < chunks; ++i)
    sums.push_back(sum += 1 / std::pow(static_cast<double>(i + 1), exponent));
  Rng rng(seed);
  std::vector<ChunkAccess> out;
  for (size_t i = 0; i < count; ++i) {
    const auto rank = static_cast<uint32_t>(
        std::lower_bound(sums.begin(), sums.end(), rng.unit() * sum) - sums.begin());
    // Scattered over the image, so that neighbours tell nothing.
    out.push_back({static_cast<uint32_t>(uint64_t{rank} * 2654435761u % (chunks * 4))});
  }
  return out;
}

Result<std::vector<Vm>> hostile(const std::string& behaviour, uint32_t first_image, size_t count,
                                uint32_t tier_chunks) {
  Vm vm{.name = behaviour, .tenant = "hostile", .image = ComponentId{first_image}};
  vm.is_honest = false;
  if (behaviour == "scan") {
    vm.accesses = scan(count);
  } else if (behaviour == "random_scan") {
    vm.accesses = uniform(count, 10 * tier_chunks, false, kSeed);
  } else if (behaviour == "rereads") {
    vm.accesses = rereads(count);
  } else if (behaviour == "prefetch_liar") {
    vm.accesses = liar(count, 50 * tier_chunks, kSeed);
  } else if (behaviour == "writes") {
    vm.accesses = uniform(count, 10 * tier_chunks, true, kSeed);
  } else if (behaviour == "many_vms") {
    // Each loops over a set of its own that would fill an eighth of the tier, and lies.
    constexpr uint32_t kVms = 16;
    std::vector<Vm> vms(kVms, vm);
    for (uint32_t i = 0; i < kVms; ++i) {
      vms[i].name = fmt::format("many_vms_{}", i);
      vms[i].image = ComponentId{first_image + i};
      vms[i].accesses = i % 2 == 0 ? uniform(count / kVms, tier_chunks / 8, false, kSeed + i)
                                   : liar(count / kVms, 50 * tier_chunks, kSeed + i);
    }
    return vms;
  } else {
    return fail(ErrorCode::kNotFound, fmt::format("no hostile behaviour '{}'", behaviour));
  }
  return std::vector<Vm>{vm};
}

}  // namespace forerun::pollution
