#include "prefetch/launch_fetcher.h"

#include <algorithm>

namespace forerun::prefetch {

using score::Outcome;

LaunchFetcher::LaunchFetcher(Options options, Prefetcher::IsHere is_here)
    : options_(options),
      is_here_(std::move(is_here)),
      budget_(options.budget),
      ledger_({}, {"launches"}) {}

uint32_t LaunchFetcher::index_of(const std::string& image) {
  const auto [at, is_new] = numbers_.try_emplace(image, static_cast<uint32_t>(names_.size()));
  if (is_new) names_.push_back(image);
  return at->second;
}

void LaunchFetcher::wish(std::vector<LaunchWish> wishes, LinkCost link, Time now) {
  wishes_ = std::move(wishes);
  if (issued_.empty()) {  // nothing refers to old names
    numbers_.clear();
    names_.clear();
  }
  std::unordered_map<ChunkId, Wanted> wanted;
  for (const LaunchWish& wish : wishes_) {
    const uint32_t image = index_of(wish.image);
    uint32_t position = 0;
    for (const LaunchWish::Chunk& one : wish.chunks) {
      ++position;
      if (one.support < options_.support_min || one.chunk.is_zero()) continue;
      const float chance = wish.probability * one.support;
      const auto [at, is_new] = wanted.try_emplace(one.chunk.id);
      Wanted& entry = at->second;
      if (is_new) {
        entry.chunk = one.chunk;
        entry.component = one.component;
        entry.block = one.block;
        entry.position = position;
        entry.due = wish.due;
      }
      entry.none *= 1 - static_cast<double>(chance);
      entry.due = std::min(entry.due, wish.due);
      if (std::find(entry.images.begin(), entry.images.end(), image) == entry.images.end())
        entry.images.insert(chance > entry.most ? entry.images.begin() : entry.images.end(), image);
      entry.most = std::max(entry.most, chance);
    }
  }
  queue_.clear();
  next_ = 0;
  for (auto& [id, entry] : wanted) {
    if (issued_.contains(id) || is_here_(id)) continue;
    const auto bytes = static_cast<double>(std::max<uint32_t>(entry.chunk.stored_size, 1));
    const bool is_known = link.rate_bytes_per_s > 0;
    const double wait =
        is_known ? to_seconds(link.round_trip) + bytes / link.rate_bytes_per_s : bytes;
    entry.value_per_byte = (1 - entry.none) * wait / bytes;
    queue_.push_back(std::move(entry));
  }
  std::sort(queue_.begin(), queue_.end(), [](const Wanted& a, const Wanted& b) {
    if (a.value_per_byte != b.value_per_byte) return a.value_per_byte > b.value_per_byte;
    return std::tie(a.position, a.chunk.id) < std::tie(b.position, b.chunk.id);
  });
  tick(now);
}

void LaunchFetcher::pull(Time now, std::vector<PrefetchCommand>& out) {
  while (next_ < queue_.size() && under_way_ < options_.handed_over_max) {
    Wanted& best = queue_[next_];
    if (issued_.contains(best.chunk.id) || is_here_(best.chunk.id)) {
      ++next_;
      continue;
    }
    if (!budget_.take(best.chunk.stored_size)) return;
    ++next_;
    ++under_way_;
    ledger_.on_issued(0, best.chunk.stored_size);
    out.push_back({PrefetchCommand::Kind::kWant, best.chunk, VmId{}, best.due});
    const ChunkId id = best.chunk.id;
    issued_.emplace(id, Issued{std::move(best), now, now + options_.horizon, true});
  }
}

void LaunchFetcher::decide(std::unordered_map<ChunkId, Issued>::iterator issued, Outcome outcome,
                           Time now) {
  const Issued record = std::move(issued->second);
  issued_.erase(issued);
  if (record.is_under_way) --under_way_;
  const uint64_t bytes = record.wanted.chunk.stored_size;
  const std::string& image = names_[record.wanted.images.front()];
  switch (outcome) {
    case Outcome::kHit:
    case Outcome::kLate:
      budget_.on_used(bytes);
      events_.push_back({Came::kUsed, image, bytes});
      break;
    case Outcome::kWasted:
      budget_.on_wasted(bytes);
      events_.push_back({Came::kWasted, image, bytes});
      break;
    case Outcome::kCancelled:
      budget_.on_cancelled(bytes);
      break;
  }
  score::Record line;
  line.issued_at = record.at;
  line.decided_at = now;
  line.component = record.wanted.component;
  line.block = record.wanted.block;
  line.bytes = static_cast<uint32_t>(bytes);
  line.probability = static_cast<float>(1 - record.wanted.none);
  line.outcome = outcome;
  ledger_.on_outcome(line);
}

void LaunchFetcher::on_launch(std::string_view image, Time now) {
  const auto found = numbers_.find(image);
  if (found == numbers_.end()) return;
  for (auto& [id, record] : issued_) {
    const auto& images = record.wanted.images;
    if (std::find(images.begin(), images.end(), found->second) != images.end())
      record.deadline = std::max(record.deadline, now + options_.boot_window);
  }
}

void LaunchFetcher::on_read(const ChunkId& id, bool has_waited, Time now) {
  const auto found = issued_.find(id);
  if (found == issued_.end()) return;
  const bool is_late = found->second.is_under_way && has_waited;
  // Its bytes travel for the guest now; they were asked for here all the same.
  if (found->second.is_under_way)
    events_.push_back({Came::kFetched, names_[found->second.wanted.images.front()],
                       found->second.wanted.chunk.stored_size});
  decide(found, is_late ? Outcome::kLate : Outcome::kHit, now);
}

void LaunchFetcher::on_fetched(const ChunkId& id, bool is_here, Time now) {
  const auto found = issued_.find(id);
  if (found == issued_.end() || !found->second.is_under_way) return;
  if (!is_here) return decide(found, Outcome::kCancelled, now);
  found->second.is_under_way = false;
  --under_way_;
  events_.push_back({Came::kFetched, names_[found->second.wanted.images.front()],
                     found->second.wanted.chunk.stored_size});
}

void LaunchFetcher::on_cancelled(const ChunkId& id, Time now) {
  if (const auto found = issued_.find(id); found != issued_.end())
    decide(found, Outcome::kCancelled, now);
}

void LaunchFetcher::on_evicted_unused(const ChunkId& id, Time now) {
  const auto found = issued_.find(id);
  if (found != issued_.end() && !found->second.is_under_way) decide(found, Outcome::kWasted, now);
}

void LaunchFetcher::tick(Time now) {
  budget_.tick(now);
  std::vector<ChunkId> overdue;
  for (const auto& [id, record] : issued_)
    if (!record.is_under_way && record.deadline <= now) overdue.push_back(id);
  std::sort(overdue.begin(), overdue.end());
  for (const ChunkId& id : overdue) decide(issued_.find(id), Outcome::kWasted, now);
}

LaunchFetcher::Readiness LaunchFetcher::readiness(std::string_view image) const {
  Readiness ready;
  for (const LaunchWish& wish : wishes_) {
    if (wish.image != image) continue;
    for (const LaunchWish::Chunk& one : wish.chunks) {
      if (one.support < options_.support_min || one.chunk.is_zero()) continue;
      const bool is_here = is_here_(one.chunk.id);
      ++ready.foreseen_chunks;
      ready.foreseen_bytes += one.chunk.stored_size;
      if (!is_here) continue;
      ++ready.here_chunks;
      ready.here_bytes += one.chunk.stored_size;
    }
  }
  ready.is_ready = ready.foreseen_bytes > 0 &&
                   static_cast<double>(ready.here_bytes) >=
                       options_.ready_ratio * static_cast<double>(ready.foreseen_bytes);
  return ready;
}

}  // namespace forerun::prefetch
