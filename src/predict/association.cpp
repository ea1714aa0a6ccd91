#include "predict/association.h"

#include <algorithm>
#include <tuple>

namespace forerun::predict {
namespace {

constexpr float kPaceKeep = 0.9f;
constexpr uint16_t kTogetherMin = 2, kTogetherMax = 1 << 15;

}  // namespace

AssociationModel::AssociationModel(Options options)
    : options_(options), requests_(options.requests_max), recent_(options.recent_max + 1) {
  window_.reserve(options.window);
  recent_ring_.reserve(options.recent_max);
}

void AssociationModel::on_start(Time, std::vector<Candidate>&) {}
void AssociationModel::on_end(Time) {}

size_t AssociationModel::state_bytes() const {
  return requests_.state_bytes() + recent_.state_bytes() +
         (made_.capacity() + window_.capacity() + recent_ring_.capacity()) * sizeof(BlockKey);
}

bool AssociationModel::is_first_touch(const BlockKey& key) {
  uint32_t& times = recent_.insert(key);
  const bool is_first = times == 0;
  ++times;
  if (recent_ring_.size() < options_.recent_max) {
    recent_ring_.push_back(key);
    return is_first;
  }
  const BlockKey left = std::exchange(recent_ring_[recent_next_], key);
  recent_next_ = (recent_next_ + 1) % recent_ring_.size();
  if (--*recent_.find(left) == 0) recent_.erase(left);
  return is_first;
}

AssociationModel::Request& AssociationModel::request_of(const BlockKey& key) {
  if (Request* known = requests_.find(key)) {
    known->came_again = true;
    return *known;
  }
  if (!requests_.full()) {
    made_.push_back(key);
    return requests_.insert(key);
  }
  for (;; oldest_ = (oldest_ + 1) % made_.size()) {
    Request* oldest = requests_.find(made_[oldest_]);
    if (!oldest->came_again) break;
    oldest->came_again = false;
  }
  requests_.erase(made_[oldest_]);
  made_[oldest_] = key;
  oldest_ = (oldest_ + 1) % made_.size();
  return requests_.insert(key);
}

void AssociationModel::count(Request& request, const trace::Access& partner) {
  Partner* least = request.partners.data();
  for (Partner& one : request.partners) {
    if (one.together > 0 && one.block == partner.first_block) {
      if (one.together < kTogetherMax) ++one.together;
      one.block_count = std::max(one.block_count, partner.block_count);
      return;
    }
    if (one.together < least->together) least = &one;
  }
  if (least->together < kTogetherMin) *least = {partner.first_block, partner.block_count, 1};
}

void AssociationModel::learn(const trace::Access& access) {
  const BlockKey key{access.component, access.first_block};
  for (const BlockKey& before : window_) {
    if (before.component != key.component || before.block == key.block) continue;
    if (Request* known = requests_.find(before)) count(*known, access);
  }
  ++request_of(key).seen;
  if (window_.size() < options_.window)
    window_.push_back(key);
  else
    window_[window_next_] = key;
  window_next_ = (window_next_ + 1) % options_.window;
  const auto gap = static_cast<float>(to_seconds(access.at - last_at_));
  pace_s_ = pace_s_ * kPaceKeep + gap * (1 - kPaceKeep);
  last_at_ = access.at;
}

void AssociationModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  const BlockKey key{access.component, access.first_block};
  if (is_first_touch(key)) learn(access);
  if (const Request* known = requests_.find(key)) say(*known, access, out);
}

void AssociationModel::say(const Request& request, const trace::Access& access,
                           std::vector<Candidate>& out) const {
  std::array<const Partner*, std::tuple_size_v<decltype(request.partners)>> best{};
  size_t count = 0;
  for (const Partner& one : request.partners)
    if (one.together >= kTogetherMin) best[count++] = &one;
  std::sort(best.begin(), best.begin() + static_cast<ptrdiff_t>(count),
            [](const Partner* a, const Partner* b) {
              return a->together != b->together ? a->together > b->together : a->block < b->block;
            });
  for (size_t rank = 0; rank < std::min<size_t>(count, options_.said_max); ++rank) {
    const Partner& one = *best[rank];
    const float share = std::min(
        1.0f, static_cast<float>(one.together) / static_cast<float>(std::max(1U, request.seen)));
    const auto context =
        static_cast<uint16_t>(std::min<size_t>(rank, 7) * 8 + std::min<uint16_t>(one.together, 7));
    out.push_back({access.component, one.block, one.block_count, std::clamp(share, 0.01f, 0.99f),
                   context, access.at + from_seconds(static_cast<double>(pace_s_) * 4)});
  }
}

}  // namespace forerun::predict
