#include "predict/association.h"

#include <algorithm>
#include <bit>

namespace forerun::predict {
namespace {

constexpr float kPaceKeep = 0.9f;
constexpr uint32_t kTogetherMin = 2;

}  // namespace

AssociationModel::AssociationModel(Options options)
    : options_(options),
      requests_(options_.requests_max),
      recent_(std::bit_ceil(size_t{options.recent_max} * 8)) {
  window_.reserve(options.window);
}

void AssociationModel::on_start(Time, std::vector<Candidate>&) {}
void AssociationModel::on_end(Time) {}

size_t AssociationModel::state_bytes() const {
  return sizeof(*this) + requests_.state_bytes() + window_.capacity() * sizeof(Touch) +
         recent_.capacity() * sizeof(Recent);
}

bool AssociationModel::is_first_touch(uint32_t hash) {
  Recent& recent = recent_[hash >> 1 & (recent_.size() - 1)];
  const bool is_first = recent.hash != hash || reads_ - recent.read > options_.recent_max;
  recent = {hash, reads_};
  return is_first;
}

void AssociationModel::count(Request& request, const trace::Access& partner) {
  PackedRun* least = request.partners.data();
  for (PackedRun& one : request.partners) {
    if (one.is(partner.first_block)) {
      one = {partner.first_block, std::max(one.block_count(), partner.block_count),
             std::min(one.count() + 1, PackedRun::kCountMax)};
      return;
    }
    if (one.count() < least->count()) least = &one;
  }
  if (least->count() < kTogetherMin) *least = {partner.first_block, partner.block_count, 1};
}

void AssociationModel::learn(const trace::Access& access, uint32_t hash) {
  for (const Touch& before : window_) {
    if (before.component != access.component || before.block == access.first_block) continue;
    if (Request* known = requests_.find(before.hash)) count(*known, access);
  }
  Request& request = requests_.insert(hash, clock());
  request.used_at = clock();
  if (++request.seen == PackedRun::kCountMax) {
    request.seen /= 2;
    for (PackedRun& one : request.partners) one.set_count(one.count() / 2);
  }
  const Touch touch{hash, access.component, access.first_block};
  if (window_.size() < options_.window)
    window_.push_back(touch);
  else
    window_[window_next_] = touch;
  window_next_ = (window_next_ + 1) % options_.window;
  const auto gap = static_cast<float>(to_seconds(access.at - last_at_));
  pace_s_ = pace_s_ * kPaceKeep + gap * (1 - kPaceKeep);
  last_at_ = access.at;
}

void AssociationModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  if (access.first_block > PackedRun::kBlockMax) return;
  ++reads_;
  const uint32_t hash = hash_of({ComponentId{numbers_.of(access.component)}, access.first_block});
  if (is_first_touch(hash)) learn(access, hash);
  if (const Request* known = requests_.find(hash)) say(*known, access, out);
}

void AssociationModel::prepare(const trace::Access& access) const {
  const uint32_t hash = hash_of({access.component, access.first_block});
  requests_.prefetch(hash);
  __builtin_prefetch(&recent_[hash >> 1 & (recent_.size() - 1)]);
}

void AssociationModel::say(const Request& request, const trace::Access& access,
                           std::vector<Candidate>& out) const {
  std::array<PackedRun, kPartners> best;
  size_t count = 0;
  for (const PackedRun& one : request.partners) {
    if (one.count() < kTogetherMin) continue;
    size_t at = count++;
    for (; at > 0 && (best[at - 1].count() < one.count() ||
                      (best[at - 1].count() == one.count() && best[at - 1].block() > one.block()));
         --at)
      best[at] = best[at - 1];
    best[at] = one;
  }
  const Time due = access.at + from_seconds(static_cast<double>(pace_s_) * 4);
  for (size_t rank = 0; rank < std::min<size_t>(count, options_.said_max); ++rank) {
    const PackedRun& one = best[rank];
    const float share =
        static_cast<float>(one.count()) / static_cast<float>(std::max<uint32_t>(1, request.seen));
    const auto context =
        static_cast<uint16_t>(std::min<size_t>(rank, 7) * 8 + std::min<uint32_t>(one.count(), 7));
    out.push_back({access.component, one.block(), one.block_count(),
                   std::clamp(share, 0.01f, 0.99f), context, due});
  }
}

}  // namespace forerun::predict
