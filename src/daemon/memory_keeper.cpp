#include "daemon/memory_keeper.h"

#include "core/log.h"
#include "os/memory_pressure.h"

namespace forerun::daemon {

namespace {
// Less that was freed is not worth walking the heap for.
constexpr uint64_t kReleaseBytesMin = 4ull << 20;
}  // namespace

MemoryKeeper::MemoryKeeper(Options options, const Clock& clock, tier::Tier& tier,
                           ReadLink read_link)
    : options_(std::move(options)),
      clock_(clock),
      tier_(tier),
      read_link_(std::move(read_link)),
      policy_(options_.policy) {}

MemoryKeeper::~MemoryKeeper() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stop_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MemoryKeeper::start() {
  thread_ = std::jthread([this] { run(); });
}

void MemoryKeeper::step() {
  const std::lock_guard lock(step_mutex_);
  tier_.tick(clock_.now());
  if (const iosched::LinkEstimate link = read_link_(); link.rate_bytes_per_s > 0) {
    tier::FetchCosts costs;
    costs.remote_seconds = to_seconds(link.round_trip);
    costs.remote_seconds_per_byte = 1 / link.rate_bytes_per_s;
    tier_.set_costs(costs);
  }
  const auto pressure = os::read_memory_pressure(options_.root);
  if (!pressure) {
    if (!is_blind_)
      log::warn("the tier keeps its size: what the host can spare is unknown: {}",
                pressure.error().message);
    is_blind_ = true;
    return;
  }
  is_blind_ = false;
  adjust({pressure->total_bytes, pressure->available_bytes, pressure->stall_ratio});
}

void MemoryKeeper::adjust(const tier::HostMemory& host) {
  const uint64_t before = policy_.target_bytes();
  const uint64_t used = tier_.stats().memory_bytes;
  const uint64_t target = policy_.update(host, used, clock_.now());
  {
    const std::lock_guard lock(mutex_);
    host_ = host;
  }
  // Said again each time while more is held: what was in use then may be free now.
  if (target == before && used <= target) return;
  tier_.set_memory_limit(target);
  if (target < before)
    log::info("the tier gives back memory: {} MiB instead of {}; the host has {} MiB available",
              target >> 20, before >> 20, host.available_bytes >> 20);
  if (used >= tier_.stats().memory_bytes + kReleaseBytesMin) os::release_freed_memory();
}

tier::HostMemory MemoryKeeper::host() const {
  const std::lock_guard lock(mutex_);
  return host_;
}

void MemoryKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    lock.unlock();
    step();
    lock.lock();
    stop_changed_.wait_for(lock, kRound, [&] { return is_stopping_; });
  }
}

}  // namespace forerun::daemon
