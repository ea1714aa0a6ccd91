#include "daemon/foresight.h"

#include <algorithm>
#include <utility>

namespace forerun::daemon {

using prefetch::PrefetchCommand;

namespace {

constexpr size_t kHeldMax = 4096;  // accesses: a tenth of a boot's
constexpr size_t kEndedMax = 256;  // sessions whose figures stay readable

}  // namespace

Foresight::Foresight(Options options, const Clock& clock, prefetch::Prefetcher::Resolve resolve,
                     prefetch::Prefetcher::IsHere is_here, SessionModels models,
                     OnLearned on_learned)
    : options_(options),
      clock_(clock),
      models_(std::move(models)),
      on_learned_(std::move(on_learned)),
      ring_(options.ring_accesses),
      prefetcher_(options.prefetcher, std::move(resolve), std::move(is_here)),
      accesses_(options.accesses_per_round_max) {}

Foresight::~Foresight() { stop(); }

void Foresight::start(FetchService& fetches) {
  fetches_ = &fetches;
  thread_ = std::jthread([this] { run(); });
}

void Foresight::stop() {
  {
    const std::lock_guard lock(sleep_mutex_);
    is_stopping_ = true;
  }
  wake_up_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Foresight::start_vm(VmId vm, std::vector<ComponentId> components,
                         const predict::Priors& priors, Mode mode, bool is_boot,
                         const std::string& tenant) {
  const std::lock_guard lock(mutex_);
  Session& session = sessions_[vm];
  session.mode = mode;
  session.components = std::move(components);
  session.tenant = tenant;
  session.started = clock_.now();
  begin(vm, session, priors, is_boot);
}

void Foresight::start_vm_without_priors(VmId vm, std::vector<ComponentId> components, Mode mode,
                                        const std::string& tenant) {
  const std::lock_guard lock(mutex_);
  Session& session = sessions_[vm];
  session.mode = mode;
  session.components = std::move(components);
  session.tenant = tenant;
  session.started = clock_.now();
  session.awaits_priors = true;
}

void Foresight::give_priors(VmId vm, const predict::Priors& priors) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(vm);
  if (found == sessions_.end() || !found->second.awaits_priors) return;
  begin(vm, found->second, priors, true);
}

void Foresight::begin(VmId vm, Session& session, const predict::Priors& priors, bool is_boot) {
  const Time now = clock_.now();
  session.has_learned = !is_boot;  // a VM found running shows no boot
  session.awaits_priors = false;
  session.phase_began = now;
  session.boot_end = BootEnd(options_.boot_end);
  prefetcher_.start_vm(vm, {}, now, session.tenant);
  if (!is_boot) begin_work(vm, session, now);
  if (!session.work.arbiter)
    give(vm, session.boot, options_.boot,
         models_.for_boot(session.components, priors, is_boot, session.tenant));
  if (is_boot) {
    proposals_.clear();
    session.boot.arbiter->on_start(now, proposals_);
    session.boot_end.on_foreseen(proposals_, *session.boot.arbiter);
    offer(vm, session, session.boot);
  }
  for (const trace::Access& access : std::exchange(session.held, {}))
    show(vm, session, access, now);
  wake();
}

void Foresight::begin_work(VmId vm, Session& session, Time now) {
  if (!models_.for_work) return;
  auto models = models_.for_work(vm, session.components, session.tenant);
  if (models.empty()) return;
  give(vm, session.work, options_.work, std::move(models));
  session.phase = Phase::kWork;
  session.phase_began = now;
}

void Foresight::give(VmId vm, Voice& voice, const predict::Arbiter::Options& options,
                     SessionModels::Models models) {
  voice.arbiter = std::make_unique<predict::Arbiter>(options, std::move(models));
  std::vector<std::string> names;
  for (const auto& model : voice.arbiter->models()) names.emplace_back(model->name());
  voice.first_model = prefetcher_.add_models(vm, std::move(names));
}

void Foresight::show(VmId vm, Session& session, const trace::Access& access, Time now) {
  prefetcher_.on_access(access, now);
  const bool is_read = access.op == trace::Op::kRead;
  if (session.boot.arbiter && is_read) {
    proposals_.clear();
    session.boot.arbiter->on_access(access, proposals_);
    if (session.phase == Phase::kBoot) {
      session.boot_end.on_read(access, now);
      session.boot_end.on_foreseen(proposals_, *session.boot.arbiter);
      offer(vm, session, session.boot);
    }
  }
  if (session.work.arbiter) {
    proposals_.clear();
    session.work.arbiter->on_access(access, proposals_);
    offer(vm, session, session.work);
  } else if (is_read && !session.has_learned && session.boot_end.is_over(now)) {
    begin_work(vm, session, now);
  }
}

void Foresight::tell_behaviour(VmId vm, std::span<const float> inputs, size_t category) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(vm);
  if (found == sessions_.end()) return;
  for (Voice* voice : {&found->second.boot, &found->second.work})
    if (voice->arbiter) voice->arbiter->on_behaviour(inputs, category);
}

void Foresight::end_vm(VmId vm) {
  const Time now = clock_.now();
  std::vector<ComponentId> learned;
  std::unique_ptr<predict::Arbiter> at_work;
  std::string tenant;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(vm);
    if (found == sessions_.end()) return;
    Session& session = found->second;
    const bool never_began = std::exchange(session.awaits_priors, false);  // it teaches nothing
    session.held.clear();
    if (std::exchange(session.has_ended, true) || never_began) return;
    for (Voice* voice : {&session.boot, &session.work})
      if (voice->arbiter) voice->arbiter->on_end(now);
    if (session.boot.arbiter) session.boot.end();
    if (session.work.arbiter) at_work = session.work.end();
    learned = session.components;
    tenant = session.tenant;
    prefetcher_.end_vm(vm, now);
    forget_ended();
  }
  wake();
  if (at_work && models_.on_work_end) models_.on_work_end(vm, std::move(at_work));
  for (const ComponentId component : learned) on_learned_(component, tenant);
}

void Foresight::forget_ended() {
  const auto has_ended = [](const auto& session) { return session.second.has_ended; };
  auto ended = static_cast<size_t>(std::ranges::count_if(sessions_, has_ended));
  for (auto session = sessions_.begin(); ended > kEndedMax;) {  // the oldest: numbers grow
    if (has_ended(*session)) {
      session = sessions_.erase(session);
      --ended;
    } else {
      ++session;
    }
  }
}

bool Foresight::is_booting(const Session& session, Time now) const {
  const Nanos since = now - session.started;
  if (since < options_.learning_window) return true;
  return since < options_.learning_window_max && session.phase == Phase::kBoot &&
         session.boot_end.goes_on(now);
}

void Foresight::close_learning_windows() {
  const Time now = clock_.now();
  std::vector<std::pair<ComponentId, std::string>> learned;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [vm, session] : sessions_) {
      if (!session.boot.arbiter || session.has_learned || is_booting(session, now)) continue;
      session.has_learned = true;
      for (const auto& model : session.boot.arbiter->models()) model->on_end(now);
      for (const ComponentId component : session.components)
        learned.emplace_back(component, session.tenant);
      if (!session.work.arbiter) begin_work(vm, session, now);
      if (session.work.arbiter) session.boot.end();
    }
  }
  for (const auto& [component, tenant] : learned) on_learned_(component, tenant);
}

void Foresight::show_models(VmId vm, const std::function<void(predict::ModelSpan)>& look) const {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(vm);
  if (found != sessions_.end() && found->second.work.arbiter)
    look(found->second.work.arbiter->models());
}

void Foresight::observe(const trace::Access& access) noexcept {
  ring_.push(access);
  // A guest that waits is worth waking for: what it reads next can travel right behind. Hits wait
  // for the round.
  if (access.served_from == trace::ServedFrom::kRepository) wake();
}

void Foresight::wake() noexcept {
  if (!is_wake_wanted_.exchange(true, std::memory_order_acq_rel)) wake_up_.notify_one();
}

void Foresight::on_fetch_end(const prefetch::FetchEnd& end) {
  {
    const std::lock_guard lock(inbox_mutex_);
    inbox_.push_back({end.ref.id, end.chunk ? Event::Kind::kArrived : Event::Kind::kFailed});
  }
  wake();
}

void Foresight::on_evicted_unused(const ChunkId& id) {
  const std::lock_guard lock(inbox_mutex_);
  inbox_.push_back({id, Event::Kind::kEvicted});
}

void Foresight::set_link_rate(double rate_bytes_per_s) {
  const std::lock_guard lock(mutex_);
  prefetcher_.set_link_rate(rate_bytes_per_s, clock_.now());
}

void Foresight::offer(VmId vm, const Session& session, const Voice& voice) {
  if (session.mode != Mode::kOn || proposals_.empty()) return;
  for (predict::Proposal& proposal : proposals_)
    proposal.model = static_cast<uint8_t>(proposal.model + voice.first_model);
  prefetcher_.offer(vm, proposals_, clock_.now());
}

size_t Foresight::round(std::vector<PrefetchCommand>& commands) {
  std::vector<Event> events;
  {
    const std::lock_guard lock(inbox_mutex_);
    events.swap(inbox_);
  }
  const std::lock_guard lock(mutex_);
  const Time now = clock_.now();
  const size_t count = ring_.drain(accesses_);
  for (size_t i = 0; i < count; ++i) {
    const trace::Access& access = accesses_[i];
    const auto session = sessions_.find(access.vm);
    if (session == sessions_.end()) continue;
    if (session->second.awaits_priors) {
      if (access.op != trace::Op::kRead) continue;
      session->second.held.push_back(access);
      if (session->second.held.size() >= kHeldMax) begin(access.vm, session->second, {}, true);
    } else if (!session->second.has_ended) {
      show(access.vm, session->second, access, now);
    }
  }
  for (const Event& event : events) {
    if (event.kind == Event::Kind::kEvicted)
      prefetcher_.on_evicted_unused(event.chunk, now);
    else
      prefetcher_.on_fetched(event.chunk, event.kind == Event::Kind::kArrived, now);
  }
  prefetcher_.pull(now, commands);
  return count;
}

void Foresight::act(const std::vector<PrefetchCommand>& commands) {
  for (const PrefetchCommand& command : commands) {
    if (command.kind == PrefetchCommand::Kind::kWant) {
      if (fetches_->prefetch(command.chunk, command.vm, command.due)) continue;
      const std::lock_guard lock(mutex_);
      prefetcher_.on_cancelled(command.chunk.id, clock_.now());
    } else if (fetches_->cancel(command.chunk.id)) {
      const std::lock_guard lock(mutex_);
      prefetcher_.on_cancelled(command.chunk.id, clock_.now());
    }
  }
}

void Foresight::run() {
  std::vector<PrefetchCommand> commands;
  Time rate_read_at = kTimeZero;
  for (;;) {
    {
      std::unique_lock lock(sleep_mutex_);
      wake_up_.wait_for(lock, kRound, [&] {
        return is_stopping_ || is_wake_wanted_.load(std::memory_order_acquire);
      });
      if (is_stopping_) return;
    }
    is_wake_wanted_.store(false, std::memory_order_release);
    if (const Time now = clock_.now(); now - rate_read_at > 100ms) {
      rate_read_at = now;
      set_link_rate(fetches_->read_link().link.rate_bytes_per_s);
      close_learning_windows();
    }
    commands.clear();
    const size_t looked_at = round(commands);
    act(commands);
    for (size_t i = 0; on_access_ && i < looked_at; ++i) on_access_(accesses_[i]);
  }
}

Foresight::Reading Foresight::read(VmId vm) const {
  const std::lock_guard lock(mutex_);
  Reading reading;
  reading.prefetch = prefetcher_.stats(vm);
  const auto found = sessions_.find(vm);
  if (found == sessions_.end()) return reading;
  const Session& session = found->second;
  reading.at = clock_.now();
  reading.phase = session.phase;
  reading.in_phase = reading.at - session.phase_began;
  const auto* ledger = prefetcher_.ledger(vm);
  for (const Voice* voice : {&session.boot, &session.work}) {
    auto reports = voice->report();
    for (size_t i = 0; i < reports.size(); ++i) {
      ModelReading model{.phase = voice == &session.boot ? Phase::kBoot : Phase::kWork,
                         .report = std::move(reports[i])};
      if (ledger && i + 1 < reports.size())  // the last is the sum
        model.tally =
            ledger->models()[std::min(voice->first_model + i, ledger->models().size() - 1)];
      reading.models.push_back(std::move(model));
    }
  }
  return reading;
}

}  // namespace forerun::daemon
