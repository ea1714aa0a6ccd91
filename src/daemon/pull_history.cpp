#include "daemon/pull_history.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace forerun::daemon {
namespace {

using disk::LoggedRequest;

// Requests that the guest may leave out, or do in another order, and still do the same again.
constexpr uint32_t kWindow = 16;
// Requests over which is averaged whether it does, and what it uses again.
constexpr double kPrior = 8;  // requests, half of them of what was used before
constexpr double kFollowMemory = 1.0 / 16, kReuseMemory = 1.0 / 256;

}  // namespace

PullHistory::PullHistory(std::vector<LoggedRequest> before, uint64_t remote_blocks,
                         const std::function<bool(const LoggedRequest&)>& is_remote)
    : before_(std::move(before)), newest_left_(static_cast<uint32_t>(before_.size())) {
  for (uint32_t i = 0; i < before_.size(); ++i) last_place_[before_[i].first_block] = i;
  measure(remote_blocks, is_remote);
}

// The later half of the requests against the earlier one, as if the guest had moved in between.
void PullHistory::measure(uint64_t remote_blocks,
                          const std::function<bool(const LoggedRequest&)>& is_remote) {
  std::unordered_set<uint64_t> begins;
  uint64_t covered = 0, again = 0, looked_at = 0;
  const size_t half = before_.size() / 2;
  const auto cover = [&](const LoggedRequest& request) {
    if (begins.insert(request.first_block).second) covered += request.block_count;
  };
  for (size_t i = 0; i < half; ++i)
    if (is_remote(before_[i])) cover(before_[i]);
  std::vector<const LoggedRequest*> later;
  for (size_t i = half; i < before_.size(); ++i)
    if (is_remote(before_[i])) later.push_back(&before_[i]);
  for (const LoggedRequest* request : later) {
    ++looked_at;
    again += begins.contains(request->first_block) ? 1 : 0;
  }
  for (const LoggedRequest* request : later) cover(*request);
  // Of few requests nothing can be told: guests do use things again.
  reuse_ = (static_cast<double>(again) + kPrior / 2) / (static_cast<double>(looked_at) + kPrior);
  if (remote_blocks > 0)
    covered_ = std::min(1.0, static_cast<double>(covered) / static_cast<double>(remote_blocks));
}

void PullHistory::anchor(uint32_t place) {
  anchor_ = place;
  ahead_ = std::max(ahead_, anchor_);
}

void PullHistory::see(const LoggedRequest& request, bool is_remote) {
  const auto found = last_place_.find(request.first_block);
  const bool is_known = found != last_place_.end();
  if (!is_known && !is_remote)
    return;  // of the image, mostly: it tells nothing of what is not here
  reuse_ += ((is_known ? 1 : 0) - reuse_) * kReuseMemory;
  const uint32_t window_end = std::min(anchor_ + kWindow, static_cast<uint32_t>(before_.size()));
  for (uint32_t place = anchor_; place < window_end; ++place) {
    if (before_[place].first_block != request.first_block) continue;
    follows_ += (1 - follows_) * kFollowMemory;
    return anchor(place + 1);
  }
  follows_ -= follows_ * kFollowMemory;
  if (!is_known) return;
  // Its last time here: what followed then is the newest that is known to follow.
  anchor_ = ahead_ = found->second + 1;
}

std::optional<LoggedRequest> PullHistory::next() {
  if (!is_useful()) return std::nullopt;
  if (is_following() && ahead_ < before_.size()) return before_[ahead_];
  if (newest_left_ > 0) return before_[newest_left_ - 1];
  return std::nullopt;
}

void PullHistory::pop() {
  if (is_following() && ahead_ < before_.size())
    ++ahead_;
  else if (newest_left_ > 0)
    --newest_left_;
}

}  // namespace forerun::daemon
