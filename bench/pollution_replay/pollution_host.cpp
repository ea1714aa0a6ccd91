#include <algorithm>
#include <deque>
#include <list>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "core/codec.h"
#include "host.h"
#include "predict/arbiter.h"
#include "predict/registry.h"
#include "prefetch/prefetcher.h"
#include "tier/tier.h"

namespace forerun::pollution {
namespace {

constexpr uint32_t kStoredBytes = 23'000;  // of a chunk, on the link
constexpr uint32_t kChargeBytes = 4096;    // what the tier charges for a small chunk

struct Event {
  double at = 0;
  uint32_t vm = 0;
  uint32_t index = 0;  // of its accesses
  auto operator<=>(const Event&) const = default;
};

// Each VM's accesses spread evenly over its time.
std::vector<Event> schedule(const std::vector<Vm>& vms, double seconds) {
  std::vector<Event> events;
  for (uint32_t vm = 0; vm < vms.size(); ++vm) {
    const auto count = static_cast<double>(vms[vm].accesses.size());
    for (uint32_t i = 0; i < vms[vm].accesses.size(); ++i)
      events.push_back({seconds * (vms[vm].begins + (1 - vms[vm].begins) * i / count), vm, i});
  }
  std::sort(events.begin(), events.end());
  return events;
}

// Chunks are small: what a chunk holds matters to nobody here.
class Chunks {
 public:
  // VMs of one image share its chunks.
  const repository::ChunkPtr& at(ComponentId image, uint64_t block) {
    repository::ChunkPtr& chunk = chunks_[uint64_t{image.value} << 32 | block];
    if (!chunk) {
      ByteWriter writer;
      writer.u64(uint64_t{image.value} << 32 | block);
      Buffer content = writer.take();
      const ChunkId id = sha256(content);
      chunk = std::make_shared<const repository::Chunk>(repository::Chunk{id, std::move(content)});
    }
    return chunk;
  }
  repository::ChunkRef ref(ComponentId image, uint64_t block) {
    repository::ChunkRef ref;
    ref.id = at(image, block)->id;
    ref.size = repository::kChunkSize;
    ref.stored_size = kStoredBytes;
    by_id_.try_emplace(ref.id, at(image, block));
    return ref;
  }
  const repository::ChunkPtr& of(const ChunkId& id) const { return by_id_.at(id); }

 private:
  std::unordered_map<uint64_t, repository::ChunkPtr> chunks_;
  std::unordered_map<ChunkId, repository::ChunkPtr> by_id_;
};

std::unique_ptr<tier::Tier> open_tier(uint64_t chunks, bool has_shares) {
  tier::TierOptions options;
  options.memory_bytes_max = chunks * kChargeBytes;
  options.file_bytes_max = 0;
  options.has_shares = has_shares;
  auto opened = tier::Tier::open(options, nullptr, nullptr);
  FR_ASSERT(opened.has_value());
  return std::move(*opened);
}

class Host {
 public:
  Host(const std::vector<Vm>& vms, Policy policy, const HostOptions& options)
      : vms_(vms),
        options_(options),
        prefetcher_(
            {}, [this](ComponentId image, uint64_t block) { return chunks_.ref(image, block); },
            [this](const ChunkId& id) { return is_here(id); }) {
    const bool is_parted = policy == Policy::kPartition;
    const size_t tiers = is_parted ? vms.size() : 1;
    for (size_t i = 0; i < tiers; ++i) {
      const uint64_t chunks = is_parted ? part_of(vms[i]) : options.tier_chunks;
      tiers_.push_back(open_tier(chunks, policy == Policy::kShares));
      tiers_.back()->on_evicted_unused([this](const ChunkId& id) { unused_.push_back(id); });
    }
    prefetcher_.on_need([this](const ChunkId& id, float probability, Time until) {
      bool is_in_one = false;
      for (const auto& tier : tiers_) is_in_one |= tier->need(id, probability, until);
      return is_in_one;
    });
    for (size_t i = 0; i < vms.size(); ++i) start(i);
  }

  std::map<std::string, VmOutcome> run() {
    for (const Event& event : schedule(vms_, options_.seconds)) {
      now_ = kTimeZero + 1s + Nanos(static_cast<int64_t>(event.at * 1e9));
      arrive();
      access(event.vm, vms_[event.vm].accesses[event.index]);
      work();
    }
    std::map<std::string, VmOutcome> outcomes;
    for (size_t i = 0; i < vms_.size(); ++i) {
      const auto stats = prefetcher_.stats(id_of(i));
      outcomes_[i].prefetched = stats.issued;
      outcomes_[i].wasted = stats.wasted;
      outcomes[vms_[i].name] = outcomes_[i];
    }
    return outcomes;
  }

 private:
  static VmId id_of(size_t vm) { return VmId{static_cast<uint32_t>(vm + 1)}; }
  tier::Tier& tier_of(size_t vm) { return *tiers_[tiers_.size() == 1 ? 0 : vm]; }
  // A tenant's part, cut into its VMs'.
  uint64_t part_of(const Vm& vm) const {
    const auto of_tenant = std::ranges::count_if(vms_, [&](const Vm& other) {
      return !vm.tenant.empty() ? other.tenant == vm.tenant : other.name == vm.name;
    });
    return std::max<uint64_t>(
        1, options_.tier_chunks / options_.parts / static_cast<uint64_t>(of_tenant));
  }
  bool is_here(const ChunkId& id) const {
    return std::ranges::any_of(
        tiers_, [&](const auto& tier) { return tier->where(id) != tier::Level::kNone; });
  }

  void start(size_t vm) {
    readers_.push_back(tier_of(vm).add_reader(vms_[vm].tenant));
    predict::ModelNeeds needs;
    needs.components = {vms_[vm].image};
    needs.successors = successors_;
    auto models = predict::make_models({}, needs);
    FR_ASSERT(models.has_value());
    predict::Arbiter::Options options;
    options.bytes_of = [](ComponentId, uint64_t) { return kStoredBytes; };
    arbiters_.push_back(std::make_unique<predict::Arbiter>(options, std::move(*models)));
    std::vector<std::string> names;
    for (const auto& model : arbiters_.back()->models()) names.emplace_back(model->name());
    prefetcher_.start_vm(id_of(vm), std::move(names), kTimeZero + 1s, vms_[vm].tenant);
    outcomes_.emplace_back();
  }

  void access(size_t vm, const ChunkAccess& access) {
    const repository::ChunkPtr& chunk = chunks_.at(vms_[vm].image, access.chunk);
    tier::Tier& tier = tier_of(vm);
    const bool is_hit = tier.find_in_memory(chunk->id, readers_[vm]) != nullptr;
    if (!is_hit)
      tier.insert(std::make_shared<const repository::Chunk>(*chunk), tier::Admission::kDemand,
                  readers_[vm]);
    if (access.is_write) return;
    ++outcomes_[vm].reads;
    outcomes_[vm].hits += is_hit;
    trace::Access seen;
    seen.at = now_;
    seen.vm = id_of(vm);
    seen.component = vms_[vm].image;
    seen.first_block = access.chunk;
    seen.block_count = 1;
    seen.served_from = is_hit ? trace::ServedFrom::kMemory : trace::ServedFrom::kRepository;
    prefetcher_.on_access(seen, now_);
    proposals_.clear();
    arbiters_[vm]->on_access(seen, proposals_);
    if (!proposals_.empty()) prefetcher_.offer(id_of(vm), proposals_, now_);
  }

  void work() {
    for (const ChunkId& id : std::exchange(unused_, {})) prefetcher_.on_evicted_unused(id, now_);
    for (const auto& tier : tiers_) tier->tick(now_);
    commands_.clear();
    prefetcher_.pull(now_, commands_);
    for (const auto& command : commands_) {
      if (command.kind == prefetch::PrefetchCommand::Kind::kCancel) continue;  // under way already
      const auto seconds = [](double s) { return Nanos(static_cast<int64_t>(s * 1e9)); };
      link_free_ = std::max(link_free_, now_) + seconds(kStoredBytes / options_.link_bytes_per_s);
      coming_.push_back(
          {link_free_ + seconds(options_.round_trip_s), command.chunk.id, command.vm});
    }
  }

  void arrive() {
    while (!coming_.empty() && coming_.front().at <= now_) {
      const Coming next = coming_.front();
      coming_.pop_front();
      const size_t vm = next.vm.value - 1;
      const repository::ChunkPtr& chunk = chunks_.of(next.id);
      tier_of(vm).insert(std::make_shared<const repository::Chunk>(*chunk),
                         tier::Admission::kPrefetch, readers_[vm]);
      prefetcher_.on_fetched(next.id, true, next.at);
    }
  }

  struct Coming {
    Time at{};
    ChunkId id;
    VmId vm;
  };
  const std::vector<Vm>& vms_;
  const HostOptions options_;
  Chunks chunks_;
  std::vector<std::unique_ptr<tier::Tier>> tiers_;
  prefetch::Prefetcher prefetcher_;
  std::shared_ptr<predict::SuccessorStatistics> successors_ =
      std::make_shared<predict::SuccessorStatistics>();
  std::vector<tier::Reader> readers_;
  std::vector<std::unique_ptr<predict::Arbiter>> arbiters_;
  std::vector<VmOutcome> outcomes_;
  std::vector<predict::Proposal> proposals_;
  std::vector<prefetch::PrefetchCommand> commands_;
  std::vector<ChunkId> unused_;
  std::deque<Coming> coming_;
  Time now_ = kTimeZero, link_free_ = kTimeZero;
};

std::map<std::string, VmOutcome> replay_lru(const std::vector<Vm>& vms,
                                            const HostOptions& options) {
  std::list<uint64_t> order;
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> index;
  std::map<std::string, VmOutcome> outcomes;
  for (const Event& event : schedule(vms, options.seconds)) {
    const Vm& vm = vms[event.vm];
    const ChunkAccess& access = vm.accesses[event.index];
    const uint64_t key = uint64_t{vm.image.value} << 32 | access.chunk;
    const auto found = index.find(key);
    VmOutcome& outcome = outcomes[vm.name];
    outcome.reads += !access.is_write;
    outcome.hits += !access.is_write && found != index.end();
    if (found != index.end()) {
      order.splice(order.begin(), order, found->second);
      continue;
    }
    order.push_front(key);
    index[key] = order.begin();
    if (index.size() <= options.tier_chunks) continue;
    index.erase(order.back());
    order.pop_back();
  }
  return outcomes;
}

}  // namespace

std::map<std::string, VmOutcome> replay(const std::vector<Vm>& vms, Policy policy,
                                        const HostOptions& options) {
  if (policy == Policy::kLru) return replay_lru(vms, options);
  return Host(vms, policy, options).run();
}

}  // namespace forerun::pollution
