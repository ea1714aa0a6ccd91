#include "telemetry/profile_window.h"

#include <algorithm>

namespace forerun::telemetry {

bool ProfileWindow::may_read(Time now) {
  if (!filled_at_)
    tokens_ = options_.burst_lines_max;
  else if (now > *filled_at_)
    tokens_ = std::min(options_.burst_lines_max,
                       tokens_ + to_seconds(now - *filled_at_) * options_.lines_per_s_max);
  filled_at_ = std::max(filled_at_.value_or(now), now);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

void ProfileWindow::refuse(Refused refused) {
  ++refused_[static_cast<size_t>(refused.why)];
  last_refusal_ = std::move(refused.detail);
}

void ProfileWindow::note_too_long(uint64_t lines) {
  if (lines == 0) return;
  refused_[static_cast<size_t>(Refusal::kTooLong)] += lines;
  last_refusal_ = fmt::format("it has over {} bytes", kProfileBytesMax);
}

bool ProfileWindow::take_line(std::string_view line, Time now) {
  if (!may_read(now)) {
    refuse({Refusal::kTooOften, fmt::format("over {} lines a second", options_.lines_per_s_max)});
    return false;
  }
  auto parsed = parse_profile(line);
  if (!parsed) {
    refuse(std::move(parsed.error()));
    return false;
  }
  const bool is_same = newest_ && newest_->instance == parsed->instance;
  if (is_same &&
      (parsed->monotonic_ns <= newest_->monotonic_ns || parsed->sequence <= newest_->sequence)) {
    refuse({Refusal::kTimeBackwards, "its clock or its count did not go on"});
    return false;
  }
  if (is_same) lost_ += parsed->sequence - newest_->sequence - 1;
  if (!is_same) ++instances_;
  ++taken_;
  const uint64_t pid = parsed->pattern ? parsed->pattern->pid : 0;  // at most kPidMax
  points_.push_back({now, behaviour_of(*parsed), static_cast<uint32_t>(pid)});
  if (points_.size() > options_.profiles_max) points_.pop_front();
  newest_ = std::move(*parsed);
  newest_at_ = now;
  return true;
}

Nanos ProfileWindow::span() const {
  return points_.empty() ? Nanos{} : points_.back().at - points_.front().at;
}

BehaviourVector ProfileWindow::settled() const {
  BehaviourVector settled;
  std::vector<const Point*> watched;  // the newest of each process
  for (auto point = points_.rbegin(); point != points_.rend(); ++point) {
    if (points_.back().at - point->at > kSettled) break;
    for (size_t i = 0; i < kBehaviourCount; ++i) {
      const auto which = static_cast<Behaviour>(i);
      if (settled.knows(which) || !point->vector.knows(which)) continue;
      settled.values[i] = point->vector.values[i];
      settled.known |= 1u << i;
    }
    const bool is_new = std::ranges::none_of(
        watched, [&](const Point* one) { return one->watched_pid == point->watched_pid; });
    if (point->vector.knows(Behaviour::kScan) && is_new && watched.size() < kWatchedMax)
      watched.push_back(&*point);
  }
  for (const Behaviour which : {Behaviour::kScan, Behaviour::kLoop, Behaviour::kStride,
                                Behaviour::kChase, Behaviour::kRandom}) {
    float sum = 0;
    for (const Point* one : watched) sum += one->vector.of(which);
    if (!watched.empty())
      settled.values[static_cast<size_t>(which)] = sum / static_cast<float>(watched.size());
  }
  return settled;
}

ValueSummary ProfileWindow::summary(Behaviour which) const {
  ValueSummary summary;
  double sum = 0;
  for (const Point& point : points_) {
    if (!point.vector.knows(which)) continue;
    const double value = point.vector.of(which);
    summary.min = summary.count == 0 ? value : std::min(summary.min, value);
    summary.max = summary.count == 0 ? value : std::max(summary.max, value);
    summary.last = value;
    sum += value;
    ++summary.count;
  }
  if (summary.count != 0) summary.mean = sum / static_cast<double>(summary.count);
  return summary;
}

}  // namespace forerun::telemetry
