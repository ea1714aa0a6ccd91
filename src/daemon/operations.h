// Long work that a client starts and looks at later: imports, garbage collection, … Each runs on a
// thread of its own; ended ones are kept, failed ones too, up to a limit.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/service.h"

namespace forerun::daemon {

// Thread-safe.
class Operations {
 public:
  static constexpr size_t kKeptMax = 1000;
  static constexpr size_t kRunningMax = 8;

  // What the work reports; thread-safe.
  class Progress {
   public:
    void update(uint64_t done_bytes, uint64_t total_bytes, std::string message);
    // What is told of the operation once it has succeeded.
    void report(api::OperationResult result);
    // Returns whether the daemon is stopping: the work ends early, to be taken up again by a new
    // operation.
    bool should_stop() const { return should_stop_.load(std::memory_order_relaxed); }

   private:
    friend class Operations;
    std::mutex mutex_;  // guards info_
    api::OperationInfo info_;
    std::atomic<bool> should_stop_{false};
  };
  using Work =
      std::function<Result<std::string>(Progress&)>;  // returns what came of it, for people

  ~Operations();  // asks running ones to stop and waits

  // ERRORS: kExists if one of this kind and subject runs; kTooLarge if too many run.
  Result<api::OperationInfo> start(std::string kind, std::string subject, Work work);
  // The same, and kExists if any other of this subject runs.
  Result<api::OperationInfo> start_alone(std::string kind, std::string subject, Work work);
  // Returns for how long the oldest that runs has run, in whole seconds.
  Nanos oldest_running();
  std::vector<api::OperationInfo> list();  // newest first
  Result<api::OperationInfo> get(const std::string& id);

 private:
  struct Operation {
    std::shared_ptr<Progress> progress;
    std::jthread thread;
  };
  static api::OperationInfo read(Progress& progress);
  void drop_old();
  // REQUIRES: mutex_ is held.
  Result<api::OperationInfo> start_one(std::string kind, std::string subject, Work work);

  std::mutex mutex_;                 // guards all below
  std::list<Operation> operations_;  // newest first
  uint64_t next_id_ = 1;
};

}  // namespace forerun::daemon
