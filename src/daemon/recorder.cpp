#include "daemon/recorder.h"

#include <fmt/core.h>

namespace forerun::daemon {

void Recording::note(Time now, trace::Op op, ByteRange range) noexcept {
  if (range.empty() || !is_on()) return;
  const uint64_t first = range.offset / trace::kSectorBytes;
  const uint64_t end = (range.end() + trace::kSectorBytes - 1) / trace::kSectorBytes;
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now - started_);
  ring_.push({static_cast<uint64_t>(std::max<int64_t>(since.count(), 0)), op, first,
              static_cast<uint32_t>(end - first)});
}

Result<std::shared_ptr<Recording>> Recorder::start(const std::string& vm) {
  const std::lock_guard lock(mutex_);
  if (const auto found = recordings_.find(vm); found != recordings_.end()) {
    if (found->second->is_on())
      return fail(ErrorCode::kExists, fmt::format("VM {} is being recorded already", vm));
    recordings_.erase(found);  // nobody came for the rest of it
  }
  if (recordings_.size() >= options_.recordings_max)
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} VMs are being recorded: no more at once", recordings_.size()));
  const Time now = clock_.now();
  auto recording =
      std::make_shared<Recording>(fmt::format("r-{}", next_id_++), now, options_.requests_max);
  recording->collected_ = now;
  recordings_[vm] = recording;
  return recording;
}

Result<api::RecordedRequests> Recorder::collect(const std::string& vm, const std::string& id,
                                                bool ends) {
  const std::lock_guard lock(mutex_);
  const auto found = recordings_.find(vm);
  if (found == recordings_.end() || found->second->id_ != id)
    return fail(ErrorCode::kNotFound, fmt::format("VM {} has no recording {}", vm, id));
  Recording& recording = *found->second;
  if (ends) recording.end("it was asked to");
  recording.collected_ = clock_.now();

  // Read before the ring: what is noted in between belongs to the next call.
  const char* const reason = recording.end_reason_.load(std::memory_order_acquire);
  std::vector<trace::BlockRequest> taken(options_.collected_max);
  taken.resize(recording.ring_.drain(taken));
  api::RecordedRequests result;
  result.id = id;
  result.has_more = taken.size() == options_.collected_max;
  result.has_ended = reason != nullptr;
  if (reason != nullptr) result.end_reason = reason;
  result.lost = recording.ring_.dropped();
  result.requests.reserve(taken.size());
  for (const trace::BlockRequest& request : taken)
    result.requests.push_back(
        {request.at_us, request.op == trace::Op::kWrite, request.first_sector, request.sectors});
  if (result.has_ended && !result.has_more) recordings_.erase(found);
  return result;
}

void Recorder::tick() {
  const Time now = clock_.now();
  const std::lock_guard lock(mutex_);
  std::erase_if(recordings_, [&](const auto& entry) {
    if (now - entry.second->collected_ < options_.patience) return false;
    entry.second->end("nobody collected it");
    return true;
  });
}

}  // namespace forerun::daemon
