#include "sim/sim_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace forerun::sim {

SimLink::SimLink(uint64_t seed, EventLoop& loop, repository::MemoryStore& objects,
                 LinkOptions options)
    : rng_(seed), loop_(loop), objects_(objects), options_(options) {}

void SimLink::fetch(const std::string& path, size_t size_max, Done done) {
  const uint64_t id = next_id_++;
  ++stats_.requests;
  ++stats_.outstanding;
  requests_[id] = {{}, path, loop_.now(), std::move(done)};
  const auto timed_out = [&] {
    return fail(ErrorCode::kTimedOut, fmt::format("no answer for {} in time", path));
  };
  if (is_parted_ || rng_.chance(options_.silent)) {
    answer_after(id, options_.timeout, timed_out());
    return;
  }
  const Nanos jitter{
      static_cast<int64_t>(rng_.below(static_cast<uint64_t>(options_.jitter.count()) + 1))};
  if (rng_.chance(options_.broken)) {
    answer_after(id, options_.round_trip / 2 + jitter,
                 fail(ErrorCode::kUnavailable, fmt::format("connection broke fetching {}", path)));
    return;
  }
  Result<Buffer> answer = take_from_store(path, size_max);
  const uint64_t size = answer ? answer->size() + 200 : 200;  // headers travel too
  const Time starts = std::max(loop_.now() + options_.round_trip / 2, free_at_);
  free_at_ = starts + from_seconds(static_cast<double>(size) / options_.rate_bytes_per_s);
  const Nanos delay = free_at_ + options_.round_trip / 2 + jitter - loop_.now();
  if (delay >= options_.timeout) {
    answer_after(id, options_.timeout, timed_out());
  } else {
    answer_after(id, delay, std::move(answer));
  }
}

Result<Buffer> SimLink::take_from_store(const std::string& path, size_t size_max) {
  if (rng_.chance(options_.missing)) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no {}", path));
  }
  Result<Buffer> answer = objects_.fetch(path, size_max);
  if (!answer) return answer;
  if (rng_.chance(options_.swapped)) {
    const auto others = objects_.objects();
    auto other = others.begin();
    std::advance(other, static_cast<ptrdiff_t>(rng_.below(others.size())));
    if (other->second != *answer) ++stats_.corrupted;
    answer = other->second;
  }
  if (!answer->empty() && rng_.chance(options_.flipped)) {
    (*answer)[rng_.below(answer->size())] ^= static_cast<std::byte>(1u << rng_.below(8));
    ++stats_.corrupted;
  }
  if (!answer->empty() && rng_.chance(options_.truncated)) {
    answer->resize(rng_.below(answer->size()));
    ++stats_.corrupted;
  }
  return answer;
}

void SimLink::answer_after(uint64_t id, Nanos delay, Result<Buffer> answer) {
  auto held = std::make_shared<Result<Buffer>>(std::move(answer));
  requests_.at(id).ticket =
      loop_.after(delay, EventKind::kLink, id, [this, id, held] { finish(id, std::move(*held)); });
}

void SimLink::finish(uint64_t id, Result<Buffer> answer) {
  const auto found = requests_.find(id);
  Request request = std::move(found->second);
  requests_.erase(found);
  --stats_.outstanding;
  if (answer) {
    ++stats_.answers;
    stats_.bytes += answer->size();
    loop_.note(answer->size());
  } else {
    ++stats_.errors;
    loop_.note(static_cast<uint64_t>(answer.error().code) + 1000);
  }
  request.done(std::move(answer));
}

void SimLink::part() {
  if (std::exchange(is_parted_, true)) return;
  free_at_ = loop_.now();
  for (auto& [id, request] : requests_) {
    loop_.cancel(request.ticket);
    const Nanos left = options_.timeout - (loop_.now() - request.asked_at);
    answer_after(id, std::max<Nanos>(left, 0ns),
                 fail(ErrorCode::kTimedOut, fmt::format("no answer for {} in time", request.path)));
  }
}

void SimLink::forget() {
  for (const auto& [id, request] : requests_) loop_.cancel(request.ticket);
  requests_.clear();
  stats_.outstanding = 0;
  free_at_ = loop_.now();
}

}  // namespace forerun::sim
