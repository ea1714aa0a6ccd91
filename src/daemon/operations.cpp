#include "daemon/operations.h"

#include "core/log.h"
#include "os/clock.h"

namespace forerun::daemon {

void Operations::Progress::update(uint64_t done_bytes, uint64_t total_bytes, std::string message) {
  const std::lock_guard lock(mutex_);
  info_.done_bytes = done_bytes;
  info_.total_bytes = total_bytes;
  info_.message = std::move(message);
}

void Operations::Progress::report(api::OperationResult result) {
  const std::lock_guard lock(mutex_);
  info_.result = std::move(result);
}

Operations::~Operations() {
  std::list<Operation> ending;
  {
    const std::lock_guard lock(mutex_);
    ending.swap(operations_);
  }
  for (const Operation& operation : ending)
    operation.progress->should_stop_.store(true, std::memory_order_relaxed);
}

api::OperationInfo Operations::read(Progress& progress) {
  const std::lock_guard lock(progress.mutex_);
  return progress.info_;
}

Result<api::OperationInfo> Operations::start(std::string kind, std::string subject, Work work) {
  const std::lock_guard lock(mutex_);
  return start_one(std::move(kind), std::move(subject), std::move(work));
}

Result<api::OperationInfo> Operations::start_alone(std::string kind, std::string subject,
                                                   Work work) {
  const std::lock_guard lock(mutex_);
  for (const Operation& operation : operations_) {
    const api::OperationInfo info = read(*operation.progress);
    if (info.state == api::OperationState::kRunning && info.subject == subject)
      return fail(ErrorCode::kExists,
                  fmt::format("operation {} runs on the {}: {}", info.id, subject, info.kind));
  }
  return start_one(std::move(kind), std::move(subject), std::move(work));
}

Nanos Operations::oldest_running() {
  const std::lock_guard lock(mutex_);
  int64_t seconds = 0;
  const int64_t now = os::unix_seconds();
  for (const Operation& operation : operations_) {
    const api::OperationInfo info = read(*operation.progress);
    if (info.state == api::OperationState::kRunning)
      seconds = std::max(seconds, now - info.started_unix_seconds);
  }
  return std::chrono::seconds(seconds);
}

Result<api::OperationInfo> Operations::start_one(std::string kind, std::string subject, Work work) {
  size_t running = 0;
  for (const Operation& operation : operations_) {
    const api::OperationInfo info = read(*operation.progress);
    if (info.state != api::OperationState::kRunning) continue;
    ++running;
    if (info.kind == kind && info.subject == subject)
      return fail(ErrorCode::kExists,
                  fmt::format("operation {} already does {} of {}", info.id, kind, subject));
  }
  if (running >= kRunningMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} operations run already; try again later", running));
  drop_old();
  auto progress = std::make_shared<Progress>();
  progress->info_.id = fmt::format("o-{}", next_id_++);
  progress->info_.kind = std::move(kind);
  progress->info_.subject = std::move(subject);
  progress->info_.started_unix_seconds = os::unix_seconds();
  const api::OperationInfo first = progress->info_;
  Operation operation;
  operation.progress = progress;
  operation.thread = std::jthread([progress, work = std::move(work)] {
    auto outcome = work(*progress);
    const std::lock_guard guard(progress->mutex_);
    api::OperationInfo& info = progress->info_;
    info.ended_unix_seconds = os::unix_seconds();
    info.state = outcome ? api::OperationState::kSucceeded : api::OperationState::kFailed;
    if (outcome)
      info.message = *outcome;
    else
      info.error = outcome.error();
    if (!outcome)
      log::error("{} of {} failed: {}", info.kind, info.subject, outcome.error().message);
  });
  operations_.push_front(std::move(operation));
  return first;
}

void Operations::drop_old() {
  for (auto entry = operations_.end();
       operations_.size() >= kKeptMax && entry != operations_.begin();) {
    --entry;
    if (read(*entry->progress).state != api::OperationState::kRunning)
      entry = operations_.erase(entry);
  }
}

std::vector<api::OperationInfo> Operations::list() {
  const std::lock_guard lock(mutex_);
  std::vector<api::OperationInfo> infos;
  for (const Operation& operation : operations_) infos.push_back(read(*operation.progress));
  return infos;
}

Result<api::OperationInfo> Operations::get(const std::string& id) {
  const std::lock_guard lock(mutex_);
  for (const Operation& operation : operations_)
    if (auto info = read(*operation.progress); info.id == id) return info;
  return fail(ErrorCode::kNotFound, fmt::format("no operation {}", id));
}

}  // namespace forerun::daemon
