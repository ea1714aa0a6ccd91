#include "daemon/rnn_training.h"

#include <utility>

namespace forerun::daemon {

RnnTraining::RnnTraining(Options options, const Clock& clock, predict::RnnNetPtr begin)
    : options_(options), clock_(clock), begin_(std::move(begin)), thread_([this] { run(); }) {}

RnnTraining::~RnnTraining() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stop_.notify_all();
}

std::shared_ptr<predict::RnnTrainer> RnnTraining::make_trainer() {
  auto trainer = std::make_shared<predict::RnnTrainer>(predict::RnnTrainer::Options{}, begin_);
  const std::lock_guard lock(mutex_);
  trainers_.push_back(trainer);
  return trainer;
}

bool RnnTraining::train_all() {
  std::vector<std::shared_ptr<predict::RnnTrainer>> alive;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(trainers_, [](const auto& trainer) { return trainer.expired(); });
    for (const auto& trainer : trainers_)
      if (auto held = trainer.lock()) alive.push_back(std::move(held));
  }
  bool has_learned = false;
  for (const auto& trainer : alive) has_learned = trainer->train(1) > 0 || has_learned;
  return has_learned;
}

void RnnTraining::run() {
  Nanos rest = options_.look_every;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (stop_.wait_for(lock, rest, [this] { return is_stopping_; })) return;
    }
    const Time begin = clock_.now();
    const bool has_learned = train_all();
    rest = has_learned ? options_.rest_per_work * (clock_.now() - begin) : options_.look_every;
  }
}

}  // namespace forerun::daemon
