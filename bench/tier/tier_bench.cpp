// What the tier costs a read: hits in memory, misses, and inserts that evict.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "core/codec.h"
#include "core/rng.h"
#include "tier/tier.h"

namespace {

using forerun::Buffer;
using forerun::ByteWriter;
using forerun::ChunkId;
using forerun::Rng;
using forerun::repository::Chunk;
using forerun::repository::ChunkPtr;
using forerun::repository::kChunkSize;
using forerun::tier::Admission;
using forerun::tier::Tier;
using forerun::tier::TierOptions;

// Chunks of real ids but small content: the tier counts them as 4 KiB, and memory holds many.
std::vector<ChunkPtr> chunks_of(size_t count) {
  std::vector<ChunkPtr> chunks;
  for (size_t i = 0; i < count; ++i) {
    ByteWriter writer;
    writer.u64(i);
    Buffer content = writer.take();
    const ChunkId id = forerun::sha256(content);
    chunks.push_back(std::make_shared<const Chunk>(Chunk{id, std::move(content)}));
  }
  return chunks;
}

std::unique_ptr<Tier> tier_of(size_t chunks_max) {
  return *Tier::open({.memory_bytes_max = chunks_max * 4096, .file_bytes_max = 0}, nullptr,
                     nullptr);
}

// Random hits on a warm tier of as many chunks as the argument says; 4096 are 256 MiB of data. With
// two threads the column is the time for one hit of either: a thread waits twice that for its own.
void find_in_memory_hit(benchmark::State& state) {
  static std::unique_ptr<Tier> tier;
  static std::vector<ChunkPtr> chunks;
  static std::vector<ChunkId> order;
  const auto count = static_cast<size_t>(state.range(0));
  if (state.thread_index() == 0) {
    chunks = chunks_of(count);
    tier = tier_of(2 * count);
    for (const auto& chunk : chunks) tier->insert(chunk, Admission::kDemand);
    Rng rng(1);
    order.clear();
    for (int i = 0; i < 1 << 16; ++i) order.push_back(chunks[rng.below(count)]->id);
  }
  size_t i = static_cast<size_t>(state.thread_index()) * 7919;
  uint64_t missed = 0;
  for (auto _ : state) {
    const ChunkPtr chunk = tier->find_in_memory(order[++i & (order.size() - 1)]);
    missed += chunk == nullptr ? 1 : 0;
  }
  if (missed > 0) state.SkipWithError("a hit was expected");
}
BENCHMARK(find_in_memory_hit)->Arg(256)->Arg(4096)->Arg(65536);
BENCHMARK(find_in_memory_hit)->Arg(4096)->Threads(2)->UseRealTime();

void find_in_memory_miss(benchmark::State& state) {
  const auto tier = tier_of(8192);
  const auto chunks = chunks_of(8192);
  for (size_t i = 0; i < 4096; ++i) tier->insert(chunks[i], Admission::kDemand);
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tier->find_in_memory(chunks[4096 + (++i & 4095)]->id));
  }
}
BENCHMARK(find_in_memory_miss);

// Each insert evicts one other chunk; every chunk comes again as a ghost or as new.
void insert_with_eviction(benchmark::State& state) {
  const auto tier = tier_of(4096);
  const auto chunks = chunks_of(32768);
  const Admission admission = state.range(0) == 0 ? Admission::kDemand : Admission::kPrefetch;
  for (const auto& chunk : chunks) tier->insert(chunk, admission);
  size_t i = 0;
  for (auto _ : state) tier->insert(chunks[++i & 32767], admission);
  if (tier->stats().evicted == 0) state.SkipWithError("evictions were expected");
}
BENCHMARK(insert_with_eviction)->ArgName("prefetch")->Arg(0)->Arg(1);

}  // namespace
