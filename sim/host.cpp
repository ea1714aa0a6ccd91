#include "sim/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "repository/source.h"

namespace forerun::sim {

using iosched::IoClass;
using prefetch::PrefetchCommand;

// One fiber inside get().
struct Host::Wait {
  std::span<const repository::ChunkRef> wanted;
  std::vector<repository::ChunkPtr> got;
  size_t missing = 0;
  std::optional<Error> error;
  Fiber* fiber = nullptr;
  bool is_woken = false;
};

namespace {

prefetch::FetchQueueOptions with_sources(const HostOptions& options, size_t count) {
  prefetch::FetchQueueOptions queue = options.queue;
  queue.source_count = static_cast<uint32_t>(count);
  queue.scheduler.in_flight_max = options.fetches_per_source_max;
  return queue;
}

}  // namespace

Result<std::unique_ptr<Host>> Host::start(HostOptions options, World world) {
  FR_TRY(auto data, world.tier_disk.open("tier.data", true));
  FR_TRY(auto index, world.tier_disk.open("tier.index", true));
  FR_TRY(auto tier, tier::Tier::open(options.tier, std::move(data), std::move(index)));
  auto host =
      std::unique_ptr<Host>(new Host(std::move(options), std::move(world), std::move(tier)));
  Host* self = host.get();
  self->prefetcher_.on_need([tier = self->tier_.get()](const ChunkId& id, float said, Time until) {
    return tier->need(id, said, until);
  });
  self->tier_->on_evicted_unused(
      [self](const ChunkId& id) { self->inbox_.push_back({id, Event::Kind::kEvicted}); });
  self->tick();
  return host;
}

Host::Host(HostOptions options, World world, std::unique_ptr<tier::Tier> tier)
    : options_(options),
      world_(std::move(world)),
      tier_(std::move(tier)),
      queue_(with_sources(options_, world_.links.size())),
      prefetcher_(
          options_.prefetcher,
          [this](ComponentId component, uint64_t block) { return resolve(component, block); },
          [this](const ChunkId& id) { return tier_->where(id) != tier::Level::kNone; }),
      ring_(4096),
      fetching_(world_.links.size()),
      critical_bytes_(world_.links.size()),
      overtaking_bytes_(world_.links.size()) {}

Host::~Host() {
  FR_ASSERT(is_stopped_ && waiters_ == 0, "a host is torn down while guests wait in it");
  for (const auto& [number, ticket] : timers_) world_.loop.cancel(ticket);
}

void Host::violate(std::string what) {
  if (violation_.empty()) violation_ = std::move(what);
}

repository::ChunkRef Host::resolve(ComponentId component, uint64_t block) const {
  for (const image::ComponentPtr& each : world_.components) {
    if (each->id == component && block < each->index.chunks.size()) {
      return each->index.chunks[block];
    }
  }
  return {};
}

Result<std::vector<repository::ChunkPtr>> Host::get(std::span<const repository::ChunkRef> chunks,
                                                    VmId vm) {
  if (is_stopped_) return fail(ErrorCode::kUnavailable, "the daemon is gone");
  Wait wait;
  wait.wanted = chunks;
  wait.got.resize(chunks.size());
  wait.fiber = Fiber::current();
  const Time now = world_.loop.now();
  for (size_t i = 0; i < chunks.size(); ++i) {
    if ((wait.got[i] = tier_->find_in_memory(chunks[i].id)) != nullptr) continue;
    auto& waiters = waits_[chunks[i].id];
    if (std::ranges::find(waiters, &wait) != waiters.end()) continue;
    const auto wanted = queue_.want(chunks[i], IoClass::kCritical, vm, now, now);
    FR_ASSERT(wanted != prefetch::Wanted::kFull);
    totals_.joined += wanted == prefetch::Wanted::kJoined;
    waiters.push_back(&wait);
    ++wait.missing;
  }
  pump();
  if (wait.missing > 0 && !wait.error) {
    ++waiters_;
    Fiber::suspend();
    --waiters_;
  }
  for (auto entry = waits_.begin(); entry != waits_.end();) {
    std::erase(entry->second, &wait);
    entry = entry->second.empty() ? waits_.erase(entry) : std::next(entry);
  }
  if (wait.error) return std::unexpected(*wait.error);
  return std::move(wait.got);
}

void Host::wake_later(Wait& wait) {
  if (std::exchange(wait.is_woken, true) || wait.fiber == nullptr) return;
  // Not one of timers_: a fiber that waits is woken even if this host is torn down meanwhile.
  world_.loop.after(0ns, EventKind::kGuest, 1, [fiber = wait.fiber] { fiber->resume(); });
}

void Host::stop() {
  if (std::exchange(is_stopped_, true)) return;
  for (auto& [id, waiters] : waits_) {
    for (Wait* wait : waiters) {
      wait->error = Error{ErrorCode::kUnavailable, "the daemon is gone", 0};
      wake_later(*wait);
    }
  }
  for (SimLink* link : world_.links) link->forget();
  for (const auto& [number, ticket] : timers_) world_.loop.cancel(ticket);
  timers_.clear();
}

void Host::deliver(const prefetch::FetchEnd& end) {
  const auto found = waits_.find(end.ref.id);
  if (found == waits_.end()) return;
  for (Wait* wait : found->second) {
    if (!end.chunk) wait->error = end.chunk.error();
    for (size_t i = 0; i < wait->wanted.size() && end.chunk; ++i) {
      if (wait->wanted[i].id == end.ref.id) wait->got[i] = *end.chunk;
    }
    --wait->missing;
    if (wait->missing == 0 || wait->error) wake_later(*wait);
  }
  waits_.erase(found);
}

// What the daemon's fetch threads do together: hand out whatever may go now.
void Host::pump() {
  if (is_stopped_ || std::exchange(is_pumping_, true)) return;
  const Time now = world_.loop.now();
  queue_.tick(now);
  for (uint32_t source = 0; source < world_.links.size(); ++source) {
    while (fetching_[source] < options_.fetches_per_source_max) {
      const auto task = queue_.pull(source, now);
      if (!task) break;
      check_overtaking(*task);
      send(*task);
    }
  }
  is_pumping_ = false;
  schedule_retry();
}

void Host::schedule_retry() {
  const Time at = queue_.next_retry_at();
  if (at == kTimeNever || (at >= retry_at_ && retry_at_ > world_.loop.now())) return;
  retry_at_ = at;
  const uint64_t number = next_timer_++;
  timers_[number] = world_.loop.after(std::max<Nanos>(at - world_.loop.now(), 0ns),
                                      EventKind::kControl, 2, [this, number] {
                                        timers_.erase(number);
                                        retry_at_ = kTimeNever;
                                        pump();
                                      });
}

// A class below critical has its floor, a small share of what goes out while others wait; beyond
// it, nothing goes before a critical request that could go.
void Host::check_overtaking(const prefetch::FetchTask& task) {
  const auto& scheduler = queue_.scheduler(task.source);
  const uint32_t bytes = task.chunk.stored_size;
  if (task.io_class == IoClass::kCritical) {
    critical_bytes_[task.source] += bytes;
  } else if (scheduler.stats(IoClass::kCritical).queued > 0) {
    overtaking_bytes_[task.source] += bytes;
    const double floor =
        options_.queue.scheduler.floor_ratio[1] + options_.queue.scheduler.floor_ratio[2];
    const double allowed =
        floor * static_cast<double>(critical_bytes_[task.source] + overtaking_bytes_[task.source]) +
        2.0 * repository::kStoredSizeMax;
    if (static_cast<double>(overtaking_bytes_[task.source]) > allowed) {
      violate(fmt::format("prefetches overtook queued critical requests: {} bytes, {:.0f} allowed",
                          overtaking_bytes_[task.source], allowed));
    }
  }
}

void Host::send(const prefetch::FetchTask& task) {
  if (!in_flight_.insert(task.chunk.id).second) {
    violate(fmt::format("chunk {} is fetched twice at once", task.chunk.id.short_hex()));
  }
  ++fetching_[task.source];
  ++(task.io_class == IoClass::kCritical ? totals_.demand_fetches : totals_.prefetches);
  world_.links[task.source]->fetch(
      repository::chunk_path(task.chunk.id), repository::kStoredSizeMax,
      [this, task](Result<Buffer> answer) { on_answer(task, std::move(answer)); });
}

void Host::on_answer(const prefetch::FetchTask& task, Result<Buffer> answer) {
  --fetching_[task.source];
  in_flight_.erase(task.chunk.id);
  Result<repository::ChunkPtr> chunk = fail(ErrorCode::kInternal, "");
  if (!answer) {
    chunk = std::unexpected(answer.error());
  } else {
    chunk = repository::decode_chunk(task.chunk, *answer);
    if (!chunk) ++totals_.corrupt_answers;
    if (!chunk && options_.serve_unverified) {
      auto unverified = std::make_shared<repository::Chunk>();
      unverified->id = task.chunk.id;
      unverified->content.resize(task.chunk.size);
      chunk = repository::ChunkPtr(std::move(unverified));
    }
  }
  const auto end = queue_.on_complete(task, std::move(chunk), world_.loop.now());
  if (end) {
    if (end->chunk) {
      tier_->insert(*end->chunk, end->ended_as == IoClass::kCritical ? tier::Admission::kDemand
                                                                     : tier::Admission::kPrefetch);
    } else {
      ++totals_.fetch_failures;
    }
    deliver(*end);
    inbox_.push_back({end->ref.id, end->chunk ? Event::Kind::kArrived : Event::Kind::kFailed});
    schedule_round(options_.round);
    check_limits();
  }
  pump();
}

void Host::start_vm(VmId vm, ComponentId component, bool is_boot) {
  predict::ModelNeeds needs;
  needs.components = {component};
  needs.history = world_.history;
  auto models = predict::make_models({}, needs);
  FR_ASSERT(models.has_value());
  Session& session = sessions_[vm];
  session = {};
  session.component = component;
  session.arbiter =
      std::make_unique<predict::Arbiter>(predict::Arbiter::Options{}, std::move(*models));
  std::vector<std::string> names;
  for (const auto& model : session.arbiter->models()) names.emplace_back(model->name());
  const Time now = world_.loop.now();
  prefetcher_.start_vm(vm, std::move(names), now);
  if (!is_boot) return;
  std::vector<predict::Proposal> proposals;
  session.arbiter->on_start(now, proposals);
  offer(vm, proposals);
  schedule_round(0ns);
}

void Host::end_vm(VmId vm) {
  const auto found = sessions_.find(vm);
  if (found == sessions_.end() || !found->second.arbiter) return;
  round();  // what was observed before the end counts
  const Time now = world_.loop.now();
  found->second.arbiter->on_end(now);
  found->second.arbiter.reset();
  prefetcher_.end_vm(vm, now);
  schedule_round(0ns);
}

void Host::observe(const trace::Access& access) {
  ring_.push(access);
  schedule_round(options_.round);
}

void Host::offer(VmId vm, const std::vector<predict::Proposal>& proposals) {
  for (const predict::Proposal& proposal : proposals) {
    if (!(proposal.probability >= 0 && proposal.probability <= 1)) {
      violate(fmt::format("a proposal of probability {}", proposal.probability));
    }
  }
  prefetcher_.offer(vm, proposals, world_.loop.now());
}

void Host::schedule_round(Nanos delay) {
  if (is_stopped_ || std::exchange(round_is_due_, true)) return;
  const uint64_t number = next_timer_++;
  timers_[number] = world_.loop.after(delay, EventKind::kControl, 3, [this, number] {
    timers_.erase(number);
    round_is_due_ = false;
    round();
  });
}

void Host::tick() {
  const uint64_t number = next_timer_++;
  timers_[number] = world_.loop.after(options_.tick, EventKind::kTick, 4, [this, number] {
    timers_.erase(number);
    prefetcher_.set_link_rate(queue_.scheduler(0).link().rate_bytes_per_s, world_.loop.now());
    tier_->tick(world_.loop.now());
    (void)tier_->write_back(16);  // its disk may fail: that is the tier's own affair
    round();
    check_limits();
    tick();
  });
}

// One turn of the thread that learns.
void Host::round() {
  if (is_stopped_) return;
  const Time now = world_.loop.now();
  std::array<trace::Access, 128> accesses;
  const size_t count = ring_.drain(accesses);
  for (size_t i = 0; i < count; ++i) {
    const auto session = sessions_.find(accesses[i].vm);
    if (session == sessions_.end() || !session->second.arbiter) continue;
    prefetcher_.on_access(accesses[i], now);
    std::vector<predict::Proposal> proposals;
    session->second.arbiter->on_access(accesses[i], proposals);
    offer(accesses[i].vm, proposals);
  }
  for (const Event& event : std::exchange(inbox_, {})) {
    if (event.kind == Event::Kind::kEvicted) {
      prefetcher_.on_evicted_unused(event.chunk, now);
    } else {
      prefetcher_.on_fetched(event.chunk, event.kind == Event::Kind::kArrived, now);
    }
  }
  pull_prefetches();
  pump();
  check_accounts();
}

void Host::pull_prefetches() {
  const Time now = world_.loop.now();
  std::map<VmId, uint64_t> before, ordered;
  for (const auto& [vm, session] : sessions_) before[vm] = prefetcher_.stats(vm).budget_bytes;
  std::vector<PrefetchCommand> commands;
  prefetcher_.pull(now, commands);
  for (const PrefetchCommand& command : commands) {
    const ChunkId& id = command.chunk.id;
    if (command.kind == PrefetchCommand::Kind::kCancel) {
      if (queue_.cancel(id)) prefetcher_.on_cancelled(id, now);
      continue;
    }
    ordered[command.vm] += command.chunk.stored_size;
    ++sessions_[command.vm].wanted;
    if (queue_.want(command.chunk, IoClass::kPrefetch, command.vm, command.due, now) ==
        prefetch::Wanted::kFull) {
      prefetcher_.on_cancelled(id, now);
    }
  }
  for (const auto& [vm, bytes] : ordered) {
    if (bytes > before[vm] + options_.prefetcher.budget.probe_bytes) {
      violate(fmt::format("vm {}: prefetched {} bytes with a budget of {}", vm.value, bytes,
                          before[vm]));
    }
  }
}

void Host::check_limits() {
  const tier::TierStats stats = tier_->stats();
  const auto& limits = options_.tier;
  if (stats.memory_bytes > limits.memory_bytes_max || stats.file_bytes > limits.file_bytes_max) {
    violate(fmt::format("the tier holds {} of {} bytes in memory and {} of {} in its file",
                        stats.memory_bytes, limits.memory_bytes_max, stats.file_bytes,
                        limits.file_bytes_max));
  }
  const tier::PoolStats pool = tier_->pool();
  if (const uint64_t sum = pool.reserved_bytes + pool.prefetched_bytes + pool.used_bytes;
      sum != stats.memory_bytes || pool.in_use_bytes > pool.reserved_bytes) {
    violate(fmt::format("the tier holds {} bytes in memory and accounts for {}, {} of them in use",
                        stats.memory_bytes, sum, pool.in_use_bytes));
  }
  if (queue_.pending_count() > options_.queue.scheduler.queued_max) {
    violate(fmt::format("{} fetches pending", queue_.pending_count()));
  }
}

// Each prefetch that was ordered has one end: hit, late, wasted or cancelled, or none yet.
void Host::check_accounts() {
  for (const auto& [vm, session] : sessions_) {
    const auto stats = prefetcher_.stats(vm);
    const uint64_t ends = stats.hit + stats.late + stats.wasted + stats.cancelled;
    if (session.wanted != ends + stats.undecided) {
      violate(
          fmt::format("vm {}: {} prefetches ordered, but {} hit + {} late + {} wasted + {} "
                      "cancelled + {} undecided",
                      vm.value, session.wanted, stats.hit, stats.late, stats.wasted,
                      stats.cancelled, stats.undecided));
    }
    if (stats.issued != stats.hit + stats.late + stats.wasted + stats.undecided) {
      violate(fmt::format("vm {}: {} issued is not what became of them", vm.value, stats.issued));
    }
    if (stats.budget_bytes > options_.prefetcher.budget.max_bytes) {
      violate(fmt::format("vm {}: a budget of {} bytes", vm.value, stats.budget_bytes));
    }
    const score::Ledger* ledger = prefetcher_.ledger(vm);
    if (ledger == nullptr) continue;
    const score::ModelTally total = ledger->total();
    if (total.hit.chunks != stats.hit || total.late.chunks != stats.late ||
        total.wasted.chunks != stats.wasted || total.hit.bytes != stats.hit_bytes) {
      violate(fmt::format("vm {}: the ledger and the prefetcher disagree", vm.value));
    }
  }
}

uint64_t Host::undecided_of_ended() const {
  uint64_t count = 0;
  for (const auto& [vm, session] : sessions_) {
    if (!session.arbiter) count += prefetcher_.stats(vm).undecided;
  }
  return count;
}

void Host::close_books(HostTotals& totals) {
  check_accounts();
  for (const auto& [vm, session] : sessions_) {
    const auto stats = prefetcher_.stats(vm);
    totals_.hit += stats.hit;
    totals_.late += stats.late;
    totals_.wasted += stats.wasted;
    totals_.cancelled += stats.cancelled;
  }
  const tier::TierStats stats = tier_->stats();
  totals.demand_fetches += totals_.demand_fetches;
  totals.prefetches += totals_.prefetches;
  totals.fetch_failures += totals_.fetch_failures;
  totals.hit += totals_.hit;
  totals.late += totals_.late;
  totals.wasted += totals_.wasted;
  totals.cancelled += totals_.cancelled;
  totals.corrupt_answers += totals_.corrupt_answers;
  totals.tier_corrupt += stats.corrupt;
  totals.tier_file_hits += stats.file_hits;
  totals.tier_evicted += stats.evicted;
  totals.joined += totals_.joined;
}

}  // namespace forerun::sim
