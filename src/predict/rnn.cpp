#include "predict/rnn.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace forerun::predict {
namespace {

constexpr uint64_t kFirstSeed = 20261121;
constexpr float kPaceKeep = 0.9f;
constexpr double kLossKeep = 0.99;
// Where each feature stands.
constexpr size_t kSizes = 8, kWrites = 8, kWaited = 9, kLongPause = 10, kShortPause = 11,
                 kBehaviourAt = 12, kCategoryAt = 20;
static_assert(kCategoryAt + RnnModel::kCategories == kGruFeatures);

constexpr size_t kSaidFirst = 3;  // of the next request

// Returns the tokens of the highest odds, those first; of equal ones the lower first.
std::array<uint32_t, kSaidFirst> likeliest(const RnnNet::Odds& odds) {
  std::array<uint32_t, kSaidFirst> order{};
  std::array<float, kSaidFirst> best;
  best.fill(-1);
  for (uint32_t t = 0; t < kGruTokens; ++t) {
    if (odds[t] <= best.back()) continue;
    size_t at = kSaidFirst - 1;
    for (; at > 0 && odds[t] > best[at - 1]; --at) {
      best[at] = best[at - 1];
      order[at] = order[at - 1];
    }
    best[at] = odds[t];
    order[at] = t;
  }
  return order;
}

}  // namespace

RnnTrainer::RnnTrainer(Options options, RnnNetPtr net)
    : options_(options), trainer_(options.descent), gradient_(RnnNet::size()) {
  if (net)
    training_ = *net;
  else
    training_.randomize(kFirstSeed);
  published_ = std::make_shared<const RnnNet>(training_);
}

void RnnTrainer::offer(RnnWindow window) {
  const std::lock_guard lock(mutex_);
  windows_.push_back(std::move(window));
  if (windows_.size() > options_.windows_max) windows_.pop_front();
}

size_t RnnTrainer::train(size_t steps) {
  size_t done = 0;
  for (; done < steps; ++done) {
    std::vector<RnnWindow> batch;
    {
      const std::lock_guard lock(mutex_);
      if (resumed_) {
        training_ = *std::exchange(resumed_, nullptr);
        trainer_ = GruTrainer(options_.descent);
        std::fill(gradient_.begin(), gradient_.end(), 0.0f);
      }
      if (windows_.size() < options_.windows_per_step) return done;
      for (uint32_t i = 0; i < options_.windows_per_step; ++i) {
        batch.push_back(std::move(windows_.front()));
        windows_.pop_front();
      }
    }
    float loss = 0;
    for (RnnWindow& window : batch)
      loss += training_.learn(window.inputs, window.targets, window.state, gradient_);
    trainer_.descend(training_, gradient_);
    const bool publishes = ++steps_ % options_.publish_every == 0;
    auto net = publishes ? std::make_shared<const RnnNet>(training_) : nullptr;
    const std::lock_guard lock(mutex_);
    if (publishes) published_ = std::move(net);
    const double mean = static_cast<double>(loss) / options_.windows_per_step;
    step_loss_ = mean;
    loss_ = steps_ == 1 ? mean : kLossKeep * loss_ + (1 - kLossKeep) * mean;
  }
  return done;
}

void RnnTrainer::resume(RnnNetPtr net) {
  const std::lock_guard lock(mutex_);
  published_ = net;
  resumed_ = std::move(net);
  windows_.clear();
}

RnnNetPtr RnnTrainer::net() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

double RnnTrainer::loss() const {
  const std::lock_guard lock(mutex_);
  return loss_;
}

double RnnTrainer::step_loss() const {
  const std::lock_guard lock(mutex_);
  return step_loss_;
}

size_t RnnTrainer::state_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = 3 * RnnNet::size() * sizeof(float) + trainer_.state_bytes();
  for (const RnnWindow& window : windows_)
    bytes += sizeof(window) + window.inputs.capacity() * sizeof(RnnInput) +
             window.targets.capacity() * sizeof(uint32_t);
  return bytes;
}

RnnModel::RnnModel(Options options, std::shared_ptr<RnnTrainer> trainer)
    : options_(options), trainer_(std::move(trainer)), net_(trainer_->net()) {}

void forget_behaviour(RnnNet& net) {
  for (size_t feature = kBehaviourAt; feature < kGruFeatures; ++feature)
    net.forget_feature(feature);
}

void RnnModel::on_start(Time, std::vector<Candidate>&) {}
void RnnModel::on_end(Time) {}

size_t RnnModel::state_bytes() const { return sizeof(*this) + trainer_->state_bytes(); }

void RnnModel::on_behaviour(std::span<const float> inputs, size_t category) {
  behaviour_.fill(0);
  std::copy_n(inputs.begin(), std::min(inputs.size(), kBehaviour), behaviour_.begin());
  for (float& one : behaviour_) one = std::isfinite(one) ? std::clamp(one, -1.0f, 1.0f) : 0.0f;
  category_ = category;
}

RnnInput RnnModel::input_of(uint32_t token, const trace::Access& access, float wait_s) const {
  RnnInput input{.token = token};
  const auto size = static_cast<size_t>(std::bit_width(access.block_count) - 1);
  input.features[std::min(size, kSizes - 1)] = 1;
  input.features[kWrites] = static_cast<float>(std::min(writes_, 4u)) / 4;
  input.features[kWaited] = access.served_from == trace::ServedFrom::kRepository ? 1 : 0;
  input.features[kLongPause] = wait_s > 4 * pace_s_ ? 1 : 0;
  input.features[kShortPause] = wait_s < pace_s_ / 4 ? 1 : 0;
  std::copy(behaviour_.begin(), behaviour_.end(), input.features.begin() + kBehaviourAt);
  if (category_ < kCategories) input.features[kCategoryAt + category_] = 1;
  return input;
}

void RnnModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.block_count == 0) return;
  if (access.op != trace::Op::kRead) {
    ++writes_;
    return;
  }
  const bool follows = has_last_ && last_.component == access.component;
  const auto wait_s = static_cast<float>(to_seconds(access.at - last_.at));
  const uint32_t token =
      tokens_.token_of(follows ? static_cast<int64_t>(access.first_block - last_.end) : INT64_MAX);
  if (!window_.inputs.empty()) window_.targets.push_back(follows ? token : RnnNet::kIgnored);
  if (window_.targets.size() == options_.window) {
    trainer_->offer(std::move(window_));
    window_ = {.inputs = {}, .targets = {}, .state = state_};
  }
  if (++reads_ % options_.ask_every == 0) net_ = trainer_->net();
  const RnnInput input = input_of(token, access, wait_s);
  window_.inputs.push_back(input);
  net_->step(input, state_);
  if (has_last_) pace_s_ = pace_s_ * kPaceKeep + wait_s * (1 - kPaceKeep);
  last_ = {access.component, access.first_block + access.block_count, access.at};
  has_last_ = true;
  writes_ = 0;
  say(access, input, out);
}

// The next request is thought to be of the size of this one.
void RnnModel::say(const trace::Access& access, const RnnInput& input,
                   std::vector<Candidate>& out) const {
  RnnNet::State state = state_;
  auto end = static_cast<int64_t>(last_.end);
  float said = 1;
  for (uint32_t step = 0; step < options_.steps_max; ++step) {
    const RnnNet::Odds odds = net_->odds(state);
    const auto order = likeliest(odds);
    const Time due = access.at + from_seconds(static_cast<double>(pace_s_) * (step + 1));
    for (uint32_t rank = 0; rank < (step == 0 ? kSaidFirst : 1); ++rank) {
      const auto gap = tokens_.gap_of(order[rank]);
      const float confidence = said * odds[order[rank]];
      if (!gap || confidence < options_.said_min || end + *gap < 0) continue;
      const auto context = static_cast<uint16_t>(step * 8 + std::min<uint32_t>(rank, 1) * 4 +
                                                 (*gap == 0                             ? 0
                                                  : std::abs(*gap) <= GapTokens::kSmall ? 1
                                                                                        : 2));
      out.push_back({access.component, static_cast<uint64_t>(end + *gap), access.block_count,
                     std::min(confidence, 0.99f), context, due});
    }
    const auto best = tokens_.gap_of(order[0]);
    said *= odds[order[0]];
    if (!best || said < options_.step_min || step + 1 == options_.steps_max) return;
    end += *best + access.block_count;
    if (end < 0) return;
    RnnInput next = input;
    next.token = order[0];
    net_->step(next, state);
  }
}

}  // namespace forerun::predict
