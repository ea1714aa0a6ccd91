#include "export/worker_pool.h"

#include <system_error>

#include "core/log.h"
#include "core/result.h"

namespace forerun::nbd {

// The first thread is started here, so that a later lack of threads makes the pool slow but never
// stuck.
WorkerPool::WorkerPool(WorkerPoolOptions options) : options_(options) {
  threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    FR_ASSERT(turns_.empty(), "a worker pool ends with jobs queued");
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::submit(const void* key, Job* job) {
  {
    const std::lock_guard lock(mutex_);
    Queue& queue = queues_[key];
    if (queue.jobs.empty()) turns_.push_back(key);
    queue.jobs.push_back(job);
    ++queued_;
    const bool may_run = queue.running + queue.jobs.size() <= options_.threads_per_key_max;
    if (may_run && queued_ > idle_ && threads_.size() < options_.threads_max) add_thread();
  }
  wake_.notify_one();
}

// REQUIRES: mutex_ is held.
void WorkerPool::add_thread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    log::warn("cannot start a worker thread: {}", error.what());
  }
}

std::vector<WorkerPool::Job*> WorkerPool::withdraw(const void* key, const void* owner) {
  std::vector<Job*> taken;
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(key);
  if (found == queues_.end()) return taken;
  std::deque<Job*>& jobs = found->second.jobs;
  if (jobs.empty()) return taken;
  for (Job* job : jobs)
    if (job->owner == owner) taken.push_back(job);
  std::erase_if(jobs, [owner](const Job* job) { return job->owner == owner; });
  queued_ -= taken.size();
  if (jobs.empty()) {
    turns_.remove(key);
    if (found->second.running == 0) queues_.erase(found);
  }
  return taken;
}

size_t WorkerPool::thread_count() const {
  const std::lock_guard lock(mutex_);
  return threads_.size();
}

std::list<const void*>::iterator WorkerPool::next_turn() {
  return std::ranges::find_if(turns_, [this](const void* key) {
    return queues_.at(key).running < options_.threads_per_key_max;
  });
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto turn = next_turn();
    if (turn == turns_.end()) {
      if (stopping_) return;
      ++idle_;
      wake_.wait(lock);
      --idle_;
      continue;
    }
    const void* key = *turn;
    Queue& queue = queues_.at(key);
    Job* job = queue.jobs.front();
    queue.jobs.pop_front();
    --queued_;
    ++queue.running;
    turns_.erase(turn);
    if (!queue.jobs.empty()) turns_.push_back(key);

    lock.unlock();
    job->run();
    lock.lock();

    const auto found = queues_.find(key);
    --found->second.running;
    if (found->second.running == 0 && found->second.jobs.empty()) queues_.erase(found);
  }
}

}  // namespace forerun::nbd
