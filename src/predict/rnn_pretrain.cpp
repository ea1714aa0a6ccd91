#include "predict/rnn_pretrain.h"

#include <algorithm>

#include "predict/rnn_pretrained.h"

namespace forerun::predict {
namespace {

constexpr uint64_t kDiskBlocks = 1 << 22;  // 16 GiB of 4 KiB
constexpr uint64_t kGuestRequests = 4096;  // then another guest: what a token stands for is new
constexpr size_t kProgressEvery = 1 << 12;

}  // namespace

uint64_t MadeUpWork::place() { return rng_.below(kDiskBlocks); }

// Small ones mostly, as on disks.
uint32_t MadeUpWork::size() {
  return rng_.chance(0.5) ? 1 + static_cast<uint32_t>(rng_.below(2)) : 1U << rng_.below(6);
}

void MadeUpWork::begin() {
  kind_ = static_cast<Kind>(rng_.below(static_cast<uint64_t>(Kind::kKinds)));
  left_ = static_cast<uint32_t>(rng_.between(20, 400));
  size_ = size();
  at_ = place();
  turn_ = 0;
  write_share_ = rng_.chance(0.3) ? 0.4 : 0;
  places_.clear();
  gaps_.clear();
  stride_ = static_cast<int64_t>(rng_.between(1, 64)) * (rng_.chance(0.3) ? -1 : 1);
  const uint64_t count = kind_ == Kind::kStreams ? rng_.between(1, 3) : rng_.between(3, 24);
  for (uint64_t i = 0; i < count; ++i) places_.push_back(place());
  for (uint64_t i = 0; i < rng_.between(1, 4); ++i)
    gaps_.push_back(static_cast<int64_t>(rng_.below(4096)) - 2048);
}

trace::Access MadeUpWork::next() {
  if (left_ == 0) begin();
  --left_;
  now_ += std::chrono::microseconds(rng_.between(20, 2000));
  trace::Access access{.at = now_, .component = ComponentId{1}};
  if (rng_.chance(write_share_)) {
    access.op = trace::Op::kWrite;
    access.first_block = place();
    access.block_count = 1;
    return access;
  }
  access.block_count = size_;
  access.served_from =
      rng_.chance(0.5) ? trace::ServedFrom::kMemory : trace::ServedFrom::kRepository;
  switch (kind_) {
    case Kind::kStreams: {
      uint64_t& stream = places_[turn_++ % places_.size()];
      access.first_block = stream;
      stream += size_;
      break;
    }
    case Kind::kStride:
      access.first_block = at_;
      at_ += static_cast<uint64_t>(stride_ + size_);
      break;
    case Kind::kLoop:
      access.first_block = places_[turn_++ % places_.size()];
      break;
    case Kind::kGaps:
      access.first_block = at_;
      at_ += static_cast<uint64_t>(gaps_[turn_++ % gaps_.size()] + size_);
      break;
    case Kind::kRandom:
    case Kind::kKinds:
      access.first_block = place();
      access.block_count = size();
      break;
  }
  return access;
}

RnnNetPtr pretrain_rnn(uint64_t seed, uint64_t requests,
                       const std::function<void(double share, double loss)>& progress) {
  const auto trainer = std::make_shared<RnnTrainer>(RnnTrainer::Options{}, nullptr);
  MadeUpWork work(seed);
  std::unique_ptr<RnnModel> guest;
  std::vector<Candidate> unused;
  for (uint64_t i = 0; i < requests; ++i) {
    if (i % kGuestRequests == 0) guest = std::make_unique<RnnModel>(RnnModel::Options{}, trainer);
    unused.clear();
    guest->on_access(work.next(), unused);
    trainer->train(1);
    if (progress && i % kProgressEvery == 0)
      progress(static_cast<double>(i) / static_cast<double>(requests), trainer->loss());
  }
  auto net = std::make_shared<RnnNet>(*trainer->net());
  forget_behaviour(*net);
  return net;
}

double cost_of_rnn(const RnnNetPtr& net, uint64_t seed, uint64_t requests) {
  // A rate of 0: it only counts what it would have learned from.
  const auto trainer =
      std::make_shared<RnnTrainer>(RnnTrainer::Options{.descent = {.rate = 0}}, net);
  MadeUpWork work(seed);
  RnnModel guest({}, trainer);
  std::vector<Candidate> unused;
  double sum = 0;
  size_t steps = 0;
  for (uint64_t i = 0; i < requests; ++i) {
    unused.clear();
    guest.on_access(work.next(), unused);
    if (trainer->train(1) == 0) continue;
    sum += trainer->step_loss();
    ++steps;
  }
  return steps == 0 ? 0 : sum / static_cast<double>(steps);
}

RnnNetPtr pretrained_rnn() {
  static const RnnNetPtr net = [] {
    auto parsed = parse_rnn(kRnnPretrained);
    FR_ASSERT(parsed.has_value(), "the network that is built in was made by this version");
    forget_behaviour(**parsed);
    return RnnNetPtr(std::move(*parsed));
  }();
  return net;
}

}  // namespace forerun::predict
