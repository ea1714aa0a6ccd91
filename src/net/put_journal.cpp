#include "net/put_journal.h"

#include <fmt/format.h>

#include "core/log.h"

namespace forerun::net {
namespace {

constexpr size_t kDurablePathsMax = 4096;
constexpr uint64_t kUrgentBytes = kJournalBytesMax / 2;

}  // namespace

void PutJournal::put(const std::string& path, Nanos modified, ByteView data) {
  if (put_kind(path) == PutKind::kTag) return touch(path);
  const bool fits = data.size() <= options_.batch_bytes_max;
  // Outside of the lock: it takes the digest.
  Buffer entry = fits ? encode({path, modified, data}) : Buffer();
  const std::lock_guard lock(mutex_);
  if (unflushed_.is_all) return;
  unflushed_bytes_ += entry.size();
  if (!fits || unflushed_bytes_ > options_.batch_bytes_max) return forget_each();
  unflushed_.entries.push_back(std::move(entry));
  unflushed_.paths.insert(path);
}

void PutJournal::touch(const std::string& path) {
  const std::lock_guard lock(mutex_);
  durable_.erase(path);
  if (unflushed_.is_all) return;
  unflushed_.touched.insert(path);
  count_each();
}

void PutJournal::rely(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (unflushed_.is_all || durable_.contains(path) || unflushed_.paths.contains(path)) return;
  unflushed_.relied.insert(path);
  count_each();
}

void PutJournal::touch_all() {
  const std::lock_guard lock(mutex_);
  durable_.clear();
  forget_each();
}

void PutJournal::count_each() {
  if (unflushed_.touched.size() + unflushed_.relied.size() > options_.synced_each_max)
    forget_each();
}

// From here to the next flush nothing is known one by one.
void PutJournal::forget_each() {
  unflushed_ = {};
  unflushed_.is_all = true;
  unflushed_bytes_ = 0;
}

void PutJournal::become_busy(Lock& lock) {
  changed_.wait(lock, [&] { return !is_busy_; });
  is_busy_ = true;
}

void PutJournal::become_idle(Lock& lock) {
  held_bytes_ = 0;
  for (const Held& file : held()) held_bytes_ += file.bytes;
  is_busy_ = false;
  if (held_bytes_ > 0) start_thread();
  lock.unlock();
  changed_.notify_all();
}

Status PutJournal::flush() {
  Lock lock(mutex_);
  become_busy(lock);
  Work work = std::exchange(unflushed_, {});
  unflushed_bytes_ = 0;
  lock.unlock();
  Status status = make_durable(work);
  lock.lock();
  if (status) {
    durable_.merge(work.paths);
    durable_.merge(work.relied);
    if (durable_.size() > kDurablePathsMax) durable_.clear();
  } else {
    forget_each();  // nobody knows what is durable
  }
  become_idle(lock);
  return status;
}

Status PutJournal::make_durable(Work& work) {
  if (!work.is_all && !work.entries.empty() && !append(work)) work.is_all = true;
  if (work.is_all) {
    const auto before = held();
    FR_CHECK(hooks_.sync_all());
    return clear_unchanged(before);
  }
  std::set<std::string> each = work.touched;
  each.insert(work.relied.begin(), work.relied.end());
  return each.empty() ? Status() : hooks_.sync_each(each);
}

// Returns whether the entries are durable. If not, there is another way.
bool PutJournal::append(const Work& work) {
  auto& file = files_[current_];
  if (!file) {
    auto made = hooks_.make_file(current_, ++epoch_);
    if (!made) {
      log::debug("no journal: {}", made.error().message);
      return false;
    }
    file.emplace(std::move(*made), std::set<std::string>());
  }
  const Status appended = file->file.append(work.entries);
  if (!appended) {
    log::debug("not into the journal: {}", appended.error().message);
    return false;
  }
  file->paths.insert(work.paths.begin(), work.paths.end());
  return true;
}

std::array<PutJournal::Held, 2> PutJournal::held() const {
  std::array<Held, 2> held;
  for (size_t i = 0; i < files_.size(); ++i)
    if (files_[i]) held[i] = {files_[i]->file.epoch(), files_[i]->file.held_bytes()};
  return held;
}

Status PutJournal::clear_unchanged(const std::array<Held, 2>& since) {
  const auto now = held();
  for (size_t i = 0; i < files_.size(); ++i) {
    if (now[i].bytes > 0 && now[i] == since[i]) {
      FR_CHECK(files_[i]->file.clear(++epoch_));
      files_[i]->paths.clear();
    }
  }
  return {};
}

Status PutJournal::settle() {
  Lock lock(mutex_);
  become_busy(lock);
  const auto before = held();
  // Flushes meanwhile go into the other file, so that this one can be emptied.
  if (before[current_].bytes > 0 && before[1 - current_].bytes == 0) current_ = 1 - current_;
  std::set<std::string> paths;
  for (const auto& file : files_)
    if (file) paths.insert(file->paths.begin(), file->paths.end());
  become_idle(lock);
  if (paths.empty()) return {};
  Status status = hooks_.sync_each(paths);
  lock.lock();
  become_busy(lock);
  lock.unlock();
  if (status) status = clear_unchanged(before);
  lock.lock();
  become_idle(lock);
  return status;
}

bool PutJournal::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  const Status settled = settle();
  if (!settled) log::warn("{}", settled.error().message);
  return settled.has_value();
}

void PutJournal::start_thread() {
  if (!thread_.joinable() && !is_stopping_) thread_ = std::jthread([this] { run(); });
}

void PutJournal::run() {
  Lock lock(mutex_);
  bool has_failed = false;
  for (;;) {
    changed_.wait(lock, [&] { return is_stopping_ || held_bytes_ > 0; });
    // What failed is not tried again at once.
    changed_.wait_for(lock, options_.settle_after,
                      [&] { return is_stopping_ || (held_bytes_ > kUrgentBytes && !has_failed); });
    if (is_stopping_) return;
    lock.unlock();
    const Status settled = settle();
    if (!settled) log::warn("{}", settled.error().message);
    has_failed = !settled;
    lock.lock();
  }
}

}  // namespace forerun::net
