// The memory as a pool: how it is dealt out to shards, what an entry of it is worth, what it is
// used for, and how much of it there may be.
#include <algorithm>
#include <bit>

#include "tier/tier_impl.h"

namespace forerun::tier {
namespace {

constexpr uint64_t kChunksPerShardMin = 16;
// Probability that a chunk that was not used since it came, and of which nothing is foreseen, is
// used before it would leave. What counts is how much less it is than a good forecast's.
constexpr double kUseProbability = 0.1;
constexpr size_t kTenantsMax = 4096;  // whose numbers are remembered

// Returns part `index` of `total` units dealt out to `parts`.
uint64_t part_of(uint64_t total, uint64_t parts, uint64_t index) {
  return total / parts + (index < total % parts ? 1 : 0);
}

uint64_t memory_part(uint64_t bytes, uint64_t parts, uint64_t index) {
  return part_of(bytes / kChargeMin, parts, index) * kChargeMin +
         (index == 0 ? bytes % kChargeMin : 0);
}

S3FifoOptions level_options(const TierOptions& o, uint64_t bytes_max) {
  // Twice the chunks that fit: as many again are remembered.
  return {.bytes_max = bytes_max,
          .small_ratio = o.small_ratio,
          .probation_ratio = o.probation_ratio,
          .probation_ratio_min = o.probation_ratio_min,
          .probation_ratio_max = o.probation_ratio_max,
          .candidates_max = o.victim_candidates,
          .entries_expected = 2 * bytes_max / repository::kChunkSize,
          .has_shares = o.has_shares,
          .shares = {.guaranteed_ratio = o.guaranteed_ratio}};
}

double use_probability(const Need& need, uint8_t uses, Time now) {
  const double seen = kUseProbability * (1 + uses);
  const double foreseen = need.is_live(now) ? std::clamp<double>(need.probability, 0, 1) : 0;
  return seen + (1 - seen) * foreseen;
}

}  // namespace

Standing MemoryJudge::operator()(const ChunkId& id, const MemoryEntry& entry, uint64_t size,
                                 uint8_t uses) const {
  const FileEntry* const stored = shard->file.peek(id);
  const double cost = stored != nullptr ? outlook->file_seconds.load(std::memory_order_relaxed)
                                        : outlook->remote_cost(size);
  return {use_probability(entry.need, uses, outlook->time()) * cost / static_cast<double>(size),
          shard->is_in_use(id, entry)};
}

Standing FileJudge::operator()(const ChunkId& /*id*/, const FileEntry& entry, uint64_t size,
                               uint8_t uses) const {
  return {use_probability(entry.need, uses, outlook->time()) * outlook->remote_cost(entry.size) /
              static_cast<double>(size),
          entry.reads > 0};
}

Tier::Impl::Impl(const TierOptions& o, std::unique_ptr<SlotFile> slot_file, uint64_t slot_count)
    : file(std::move(slot_file)),
      memory_bytes_max(o.memory_bytes_max),
      memory_limit(o.memory_bytes_max),
      share_memory(o.share_memory),
      queue(o.write_back_chunks_max) {
  set_costs({});
  uint64_t chunks_min = std::max<uint64_t>(o.memory_bytes_max / repository::kChunkSize, 1);
  if (slot_count > 0) chunks_min = std::min(chunks_min, slot_count);
  const uint64_t count = std::clamp<uint64_t>(chunks_min / kChunksPerShardMin, 1, o.shards);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t memory_bytes = memory_part(o.memory_bytes_max, count, i);
    const uint64_t file_bytes = part_of(slot_count, count, i) * kSlotSize;
    shards.push_back(std::make_unique<Shard>(level_options(o, memory_bytes),
                                             level_options(o, file_bytes), outlook));
  }
}

void Tier::Impl::set_costs(const FetchCosts& costs) {
  outlook.remote_seconds = costs.remote_seconds;
  outlook.remote_seconds_per_byte = costs.remote_seconds_per_byte;
  outlook.file_seconds = costs.file_seconds;
}

bool Tier::need(const ChunkId& id, double probability, Time until) {
  Shard& s = impl_->shard(id);
  const std::scoped_lock lock(s.mutex);
  MemoryEntry* const in_memory = s.memory.peek(id);
  FileEntry* const in_file = s.file.peek(id);
  if (in_memory != nullptr) in_memory->need.add(probability, until);
  if (in_file != nullptr) in_file->need.add(probability, until);
  return in_memory != nullptr || in_file != nullptr;
}

void Tier::tick(Time now) {
  impl_->outlook.now.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  Time::rep aged_at = impl_->aged_at.load(std::memory_order_relaxed);
  if (aged_at == Impl::kNeverAged) {
    impl_->aged_at.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    return;
  }
  if (now - Time(Nanos(aged_at)) < impl_->share_memory) return;
  if (impl_->aged_at.compare_exchange_strong(aged_at, now.time_since_epoch().count()))
    impl_->age_shares();
}

void Tier::set_costs(const FetchCosts& costs) { impl_->set_costs(costs); }

void Tier::set_memory_limit(uint64_t bytes) {
  bytes = std::min(bytes, impl_->memory_bytes_max);
  impl_->memory_limit = bytes;
  std::vector<ChunkId> unused;
  for (size_t i = 0; i < impl_->shards.size(); ++i) {
    Shard& s = *impl_->shards[i];
    const std::scoped_lock lock(s.mutex);
    s.memory.set_bytes_max(memory_part(bytes, impl_->shards.size(), i), s.memory_evicted);
    impl_->left_memory(s, unused);
  }
  impl_->report(unused);
}

uint32_t Tier::Impl::tenant_number(std::string_view tenant) {
  if (tenant.empty()) return next_tenant++;
  const auto known = tenants.find(tenant);
  if (known != tenants.end()) return known->second;
  if (tenants.size() >= kTenantsMax) tenants.clear();  // a new number, for those who come now
  return tenants.emplace(tenant, next_tenant++).first->second;
}

Reader Tier::add_reader(std::string_view tenant) {
  const std::scoped_lock lock(impl_->readers_mutex);
  const auto& counts = impl_->reader_counts;
  const auto free = std::find(counts.begin(), counts.end() - 1, 0u);  // the last is shared
  const auto reader = static_cast<Reader>(free - counts.begin());
  if (impl_->reader_counts[reader]++ > 0) return reader;
  const uint32_t number = impl_->tenant_number(tenant);
  for (const auto& s : impl_->shards) {
    const std::scoped_lock shard_lock(s->mutex);
    s->memory.add_reader(reader, number);
    s->file.add_reader(reader, number);
  }
  return reader;
}

void Tier::remove_reader(Reader reader) {
  if (reader >= kReadersMax) return;
  const std::scoped_lock lock(impl_->readers_mutex);
  if (--impl_->reader_counts[reader] > 0) return;
  for (const auto& s : impl_->shards) {
    const std::scoped_lock shard_lock(s->mutex);
    s->memory.remove_reader(reader);
    s->file.remove_reader(reader);
  }
}

void Tier::note_reader(const ChunkId& id, Reader reader) {
  Shard& s = impl_->shard(id);
  const std::scoped_lock lock(s.mutex);
  s.memory.note(id, reader);
  s.file.note(id, reader);
}

TierShare Tier::share(Reader reader) const {
  TierShare total;
  if (reader >= kReadersMax) return total;
  for (const auto& s : impl_->shards) {
    const std::scoped_lock lock(s->mutex);
    const auto memory = s->memory.holds(reader);
    const auto file = s->file.holds(reader);
    total.memory_bytes += memory.bytes;
    total.memory_share_bytes += memory.share_bytes;
    total.memory_earned_bytes += memory.earned_bytes;
    total.file_bytes += file.bytes;
    total.file_share_bytes += file.share_bytes;
  }
  return total;
}

void Tier::Impl::age_shares() const {
  for (const auto& s : shards) {
    const std::scoped_lock lock(s->mutex);
    s->memory.age_shares();
    s->file.age_shares();
  }
}

PoolStats Tier::pool() const {
  PoolStats pool;
  pool.limit_bytes = impl_->memory_limit;
  const Time now = impl_->outlook.time();
  for (const auto& s : impl_->shards) {
    const std::scoped_lock lock(s->mutex);
    pool.probation_limit_bytes += s->memory.probation_bytes_max();
    s->memory.for_each([&](const ChunkId& id, const MemoryEntry& entry, uint64_t size,
                           bool on_probation, Readers users) {
      const bool in_use = s->is_in_use(id, entry);
      if (in_use) pool.in_use_bytes += size;
      const bool reserved = in_use || entry.need.is_live(now);
      (reserved       ? pool.reserved_bytes
       : on_probation ? pool.prefetched_bytes
                      : pool.used_bytes) += size;
      const auto readers = static_cast<uint64_t>(std::popcount(users));
      if (readers > 1) pool.shared_bytes += size;
      pool.copies_bytes += readers * size;
    });
  }
  return pool;
}

}  // namespace forerun::tier
