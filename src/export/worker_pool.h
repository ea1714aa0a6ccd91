// The threads for requests that have to wait: reads of what is not here yet, flushes. Shared by all
// connections of a server; taken in turn from the exports that have work, so that one busy export
// does not starve the others.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace forerun::nbd {

struct WorkerPoolOptions {
  // Started as they are needed. Many, for they only wait: several disks whose source is away must
  // not keep the threads from others whose chunks are on this host.
  size_t threads_max = 512;
  size_t threads_per_key_max = 32;  // of those, at one time for one export
};

// Thread-safe.
class WorkerPool {
 public:
  class Job {
   public:
    virtual ~Job() = default;
    virtual void run() = 0;  // afterwards the pool does not touch the job
    const void* owner = nullptr;
  };

  explicit WorkerPool(WorkerPoolOptions options);
  // REQUIRES: no job is queued or running.
  ~WorkerPool();

  // Queues a job; `key` stands for the export. The job belongs to the caller.
  void submit(const void* key, Job* job);
  // Takes back the jobs of `owner` that have not begun.
  std::vector<Job*> withdraw(const void* key, const void* owner);
  size_t thread_count() const;

 private:
  struct Queue {
    std::deque<Job*> jobs;
    size_t running = 0;
  };

  void add_thread();
  void work();
  // Returns the next export whose turn it is, or the end.
  std::list<const void*>::iterator next_turn();

  const WorkerPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<const void*, Queue> queues_;  // of exports with jobs queued or running
  std::list<const void*> turns_;         // exports with jobs queued
  std::vector<std::thread> threads_;
  size_t queued_ = 0;
  size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace forerun::nbd
