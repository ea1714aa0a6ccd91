#include "daemon/fetch_service.h"

#include "core/log.h"
#include "core/metrics.h"
#include "repository/fetch.h"

namespace forerun::daemon {

using iosched::IoClass;

// One caller of get(), on its stack.
struct FetchService::Wait {
  std::span<const repository::ChunkRef> wanted;
  VmId vm{};
  std::vector<repository::ChunkPtr> got;
  size_t missing = 0;
  std::optional<Error> error;
  std::condition_variable done;
};

namespace {

using Sources = std::vector<repository::Source*>;

uint32_t first_not_local(const Sources& sources, const repository::Store* local) {
  const auto found =
      std::find_if(sources.begin(), sources.end(),
                   [&](const repository::Source* source) { return source != local; });
  return found == sources.end() ? 0 : static_cast<uint32_t>(found - sources.begin());
}

prefetch::FetchQueueOptions with_sources(const FetchService::Options& with,
                                         const Sources& sources) {
  prefetch::FetchQueueOptions options = with.queue;
  options.source_count = static_cast<uint32_t>(sources.size());
  options.scheduler.in_flight_max = with.threads_per_source;
  const auto local = std::find(sources.begin(), sources.end(), with.local);
  if (sources.size() == 1 || local == sources.end()) return options;
  options.first_source = [store = with.local, at = static_cast<uint32_t>(local - sources.begin()),
                          other = first_not_local(sources, with.local)](
                             const repository::ChunkRef& chunk) {
    const bool is_local = (chunk.is_delta && store->contains(repository::delta_path(chunk.id))) ||
                          store->contains(repository::chunk_path(chunk.id));
    return is_local ? at : other;
  };
  return options;
}

void count(const prefetch::FetchEnd& end) {
  static metrics::Counter& demand =
      metrics::counter("forerun_fetched_bytes_total", "Bytes fetched from repositories, as stored.",
                       "class=\"critical\"");
  static metrics::Counter& ahead =
      metrics::counter("forerun_fetched_bytes_total", "Bytes fetched from repositories, as stored.",
                       "class=\"prefetch\"");
  static metrics::Counter& background =
      metrics::counter("forerun_fetched_bytes_total", "Bytes fetched from repositories, as stored.",
                       "class=\"background\"");
  static metrics::Counter& failed = metrics::counter(
      "forerun_fetch_failures_total", "Fetches given up: no repository had the right chunk.");
  if (!end.chunk)
    failed.add();
  else
    (end.asked_as == IoClass::kCritical     ? demand
     : end.asked_as == IoClass::kBackground ? background
                                            : ahead)
        .add(end.fetched_bytes);
}

}  // namespace

FetchService::FetchService(Options options, const Clock& clock, tier::Tier& tier,
                           std::vector<repository::Source*> sources, OnEnd on_end)
    : options_(options),
      clock_(clock),
      tier_(tier),
      sources_(std::move(sources)),
      bases_(tier_, sources_),
      link_source_(first_not_local(sources_, options_.local)),
      on_end_(std::move(on_end)),
      queue_(with_sources(options_, sources_)) {
  for (uint32_t source = 0; source < sources_.size(); ++source)
    for (uint32_t i = 0; i < options_.threads_per_source; ++i)
      threads_.emplace_back([this, source] { work(source); });
}

FetchService::~FetchService() { stop(); }

void FetchService::stop() {
  const std::lock_guard lock(mutex_);
  is_stopping_ = true;
  work_changed_.notify_all();
  for (auto& [id, waiters] : waits_)
    for (Wait* wait : waiters) {
      wait->error = Error{ErrorCode::kUnavailable, "the daemon is stopping", 0};
      wait->done.notify_all();
    }
  waits_.clear();
}

void FetchService::abandon(VmId vm) {
  const std::lock_guard lock(mutex_);
  abandoned_.insert(vm);
  readers_.erase(vm);
  queue_.forget_share(vm, clock_.now());
  if (abandoned_.size() > options_.abandoned_vms_max) abandoned_.erase(abandoned_.begin());
  for (auto& [id, waiters] : waits_)
    for (Wait* wait : waiters) {
      if (wait->vm != vm) continue;
      wait->error = Error{ErrorCode::kUnavailable, "the VM is stopping", 0};
      wait->done.notify_all();
    }
}

Result<std::vector<repository::ChunkPtr>> FetchService::get(
    std::span<const repository::ChunkRef> chunks, VmId vm) {
  Wait wait;
  wait.wanted = chunks;
  wait.vm = vm;
  wait.got.resize(chunks.size());
  std::unique_lock lock(mutex_);
  if (is_stopping_) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
  if (abandoned_.contains(vm)) return fail(ErrorCode::kUnavailable, "the VM is stopping");
  const Time now = clock_.now();
  for (size_t i = 0; i < chunks.size(); ++i) {
    // It may have arrived since the caller looked.
    if ((wait.got[i] = tier_.find_in_memory(chunks[i].id)) != nullptr) continue;
    auto& waiters = waits_[chunks[i].id];
    if (std::find(waiters.begin(), waiters.end(), &wait) != waiters.end())
      continue;  // twice in one read
    if (queue_.want(chunks[i], IoClass::kCritical, vm, now, now) == prefetch::Wanted::kFull) {
      wait.error = Error{ErrorCode::kTooLarge, "the fetch queue is full", 0};
      if (waiters.empty()) waits_.erase(chunks[i].id);
      break;
    }
    waiters.push_back(&wait);
    ++wait.missing;
    wake();
  }
  wait.done.wait(lock, [&] { return wait.missing == 0 || wait.error; });
  if (wait.error) {
    for (auto entry = waits_.begin(); entry != waits_.end();) {
      std::erase(entry->second, &wait);
      entry = entry->second.empty() ? waits_.erase(entry) : std::next(entry);
    }
    return std::unexpected(*wait.error);
  }
  return std::move(wait.got);
}

bool FetchService::prefetch(const repository::ChunkRef& chunk, VmId vm, Time due) {
  const std::lock_guard lock(mutex_);
  const auto wanted = queue_.want(chunk, IoClass::kPrefetch, vm, due, clock_.now());
  if (wanted == prefetch::Wanted::kQueued) wake();
  return wanted != prefetch::Wanted::kFull;
}

bool FetchService::fetch_in_background(const repository::ChunkRef& chunk, Time due) {
  const std::lock_guard lock(mutex_);
  const auto wanted = queue_.want(chunk, IoClass::kBackground, VmId{}, due, clock_.now());
  if (wanted == prefetch::Wanted::kQueued) wake();
  return wanted != prefetch::Wanted::kFull;
}

void FetchService::wake() {
  // With one source any idle thread will do; with several the one that wakes might be another
  // source's.
  if (sources_.size() == 1)
    work_changed_.notify_one();
  else
    work_changed_.notify_all();
}

bool FetchService::cancel(const ChunkId& id) {
  const std::lock_guard lock(mutex_);
  return queue_.cancel(id);
}

FetchService::SourceReading FetchService::read_link() const {
  const std::lock_guard lock(mutex_);
  SourceReading reading;
  const iosched::Scheduler& scheduler = queue_.scheduler(link_source_);
  reading.name = sources_[link_source_]->name();
  reading.link = scheduler.link();
  for (size_t i = 0; i < iosched::kIoClassCount; ++i)
    reading.classes[i] = scheduler.stats(static_cast<IoClass>(i));
  return reading;
}

void FetchService::set_share(VmId vm, const iosched::Share& share) {
  const std::lock_guard lock(mutex_);
  queue_.set_share(vm, share, clock_.now());
  work_changed_.notify_all();
}

void FetchService::set_reader(VmId vm, tier::Reader reader) {
  const std::lock_guard lock(mutex_);
  readers_[vm] = reader;
}

tier::Reader FetchService::reader_of(const prefetch::FetchEnd& end) const {
  const auto waits = waits_.find(end.ref.id);
  const VmId vm = waits != waits_.end() && !waits->second.empty() ? waits->second[0]->vm : end.vm;
  const auto reader = readers_.find(vm);
  return reader == readers_.end() ? tier::kNoReader : reader->second;
}

void FetchService::deliver(const prefetch::FetchEnd& end) {
  const auto found = waits_.find(end.ref.id);
  if (found == waits_.end()) return;
  for (Wait* wait : found->second) {
    if (!end.chunk) wait->error = end.chunk.error();
    for (size_t i = 0; i < wait->wanted.size() && end.chunk; ++i)
      if (wait->wanted[i].id == end.ref.id) wait->got[i] = *end.chunk;
    --wait->missing;
    if (wait->missing == 0 || wait->error) wait->done.notify_all();
  }
  waits_.erase(found);
}

void FetchService::work(uint32_t source) {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    queue_.tick(clock_.now());
    const auto task = queue_.pull(source, clock_.now());
    if (!task) {
      const Time now = clock_.now();
      const Time ready_at = queue_.ready_at(source, now);
      const Nanos pause = ready_at == kTimeNever ? 1s : ready_at - now;
      work_changed_.wait_for(lock, std::clamp<Nanos>(pause, 1ms, 1s));
      continue;
    }
    lock.unlock();
    uint64_t fetched_bytes = 0;
    const auto basis = [&](const repository::ChunkRef& ref) {
      return bases_.get(ref, source,
                        task->io_class == IoClass::kCritical ? tier::Admission::kDemand
                                                             : tier::Admission::kPrefetch,
                        fetched_bytes);
    };
    auto chunk = repository::fetch_chunk(*sources_[source], task->chunk, basis, &fetched_bytes);
    lock.lock();
    const auto end = queue_.on_complete(*task, std::move(chunk), fetched_bytes, clock_.now());
    wake();  // the window has room, or a retry waits
    if (!end) continue;
    if (end->chunk)
      tier_.insert(*end->chunk,
                   end->ended_as == IoClass::kCritical ? tier::Admission::kDemand
                                                       : tier::Admission::kPrefetch,
                   reader_of(*end));
    deliver(*end);
    lock.unlock();
    count(*end);
    on_end_(*end);
    lock.lock();
  }
}

}  // namespace forerun::daemon
