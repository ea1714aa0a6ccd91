#include "daemon/first_boots.h"

#include <algorithm>

#include "core/log.h"

namespace forerun::daemon {
namespace {

// The next VM of the same disk is usually asked for at once, and shall not share the processors
// with what nobody waits for.
constexpr Nanos kPause = 250ms;

}  // namespace

FirstBoots::FirstBoots(repository::Store& store, ImageCatalog& catalog)
    : store_(store), catalog_(catalog), thread_([this] { run(); }) {}

FirstBoots::~FirstBoots() { stop(); }

void FirstBoots::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FirstBoots::add(std::shared_ptr<const image::FirstBoot> boot) {
  const std::lock_guard lock(mutex_);
  if (is_stopping_ || !pending_.try_emplace(boot->image()).second) return;
  for (const image::ResolvedComponent& found : boot->components())
    catalog_.add_component(*found.wish.digest, found.index.data, found.index.info.function);
  catalog_.expect_priors(boot->image());
  waiting_.push_back(std::move(boot));
  changed_.notify_all();
}

bool FirstBoots::is_pending(const Digest& image) const {
  const std::lock_guard lock(mutex_);
  return pending_.contains(image);
}

bool FirstBoots::when_foreseen(const Digest& image, std::function<void()> then) {
  const std::lock_guard lock(mutex_);
  const auto found = pending_.find(image);
  if (found == pending_.end()) return false;
  found->second.push_back(std::move(then));
  changed_.notify_all();
  return true;
}

void FirstBoots::foresee(const image::FirstBoot& boot) {
  if (const auto blocks = boot.foresee(store_); !blocks)
    log::warn("the first boot of {} is not foreseen: {}", boot.image().short_hex(),
              blocks.error().message);
  catalog_.load_priors(boot.image());
  std::vector<std::function<void()>> after;
  {
    const std::lock_guard lock(mutex_);
    after = std::move(pending_.extract(boot.image()).mapped());
  }
  for (const auto& then : after) then();
  for (const image::ResolvedComponent& found : boot.components())
    catalog_.keep_component(*found.wish.digest);
}

FirstBoots::Waiting::iterator FirstBoots::find_wanted() {
  return std::ranges::find_if(
      waiting_, [&](const auto& boot) { return !pending_.at(boot->image()).empty(); });
}

void FirstBoots::run() {
  for (;;) {
    std::shared_ptr<const image::FirstBoot> boot;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return is_stopping_ || !waiting_.empty(); });
      changed_.wait_for(lock, kPause,
                        [&] { return is_stopping_ || find_wanted() != waiting_.end(); });
      if (is_stopping_) return;
      auto next = find_wanted();
      if (next == waiting_.end()) next = waiting_.begin();
      boot = std::move(*next);
      waiting_.erase(next);
    }
    foresee(*boot);
  }
}

}  // namespace forerun::daemon
